"""Makes a tree of MLflow's file store with odd things in it, and prints what MLflow's own client says of all its runs."""
import os
import sys
import time

os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # which MLflow 3 asks for
os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] = "false"

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType
from mlflow.tracking import MlflowClient

from made import done, number

where = os.path.join(os.path.abspath(sys.argv[1]), "deep", "down", "mlruns")
mlflow.set_tracking_uri("file://" + where)
client = MlflowClient()

first = client.create_experiment("My model (v2)", tags={"team": "credit", "note": "größe\nzwei"})
second = client.create_experiment("plain_name.v1")
gone = client.create_experiment("gone")

mlflow.set_experiment("My model (v2)")
with mlflow.start_run(run_name="parent", tags={"owner": "ann", "mlflow.note.content": "line one\nline two ✓"}, description=None) as parent:
    mlflow.log_params({"lr": 0.01, "tiny": 1e-07, "depth": 7, "opt": "adam", "flag": True, "none": None, "id": "007", "big": 12345678901234567890,
                       "text": "a: 'b' \"c\"\n# d", "empty": "", "nan": float("nan"), "block/units": 64, "unicode": "naïve ☃"})
    for step in range(30):
        mlflow.log_metric("val/loss", 1.0 / (step + 3), step=step)
    for step in (5, 3, 9, 9, 1):  # the last value is not the last line
        mlflow.log_metric("jump", step * 0.1, step=step)
    mlflow.log_metric("one", 1)
    mlflow.log_metric("tiny", 5e-324)
    mlflow.log_metric("huge", -1.7976931348623157e308, step=2)
    mlflow.log_metric("third", 0.1 + 0.2)
    mlflow.log_metric("not a number", float("nan"))
    mlflow.log_metric("inf", float("inf"), step=1)
    with mlflow.start_run(run_name="child", nested=True):
        mlflow.log_metric("acc", 0.5)
        with mlflow.start_run(run_name="grandchild", nested=True):
            mlflow.log_param("deep", "yes")

client.log_inputs(parent.info.run_id, [DatasetInput(Dataset("wine", "abc123", "local", "{}"), [InputTag("mlflow.data.context", "train")])])
for i, status in enumerate(["FINISHED", "FAILED", "KILLED", "RUNNING", "SCHEDULED"]):
    run = client.create_run(second, start_time=1700000000000 + i, run_name="s%d" % i)
    client.log_batch(run.info.run_id, metrics=[Metric("m", i + 0.25, 1700000000000 + 10 * j, j) for j in range(3)], params=[Param("i", str(i))], tags=[RunTag("k", "v%d" % i)])
    if status != "RUNNING":
        client.set_terminated(run.info.run_id, status, 1700000100000 + i)
run = client.create_run(second)  # nothing was logged
many = client.create_run(second, run_name="many")
client.log_batch(many.info.run_id, metrics=[Metric("steps", j / 7.0, 1700000000000 + j, j) for j in range(900)])
for j in range(900, 2500, 800):
    client.log_batch(many.info.run_id, metrics=[Metric("steps", k / 7.0, 1700000000000 + k, k) for k in range(j, j + 800)])
deleted = client.create_run(second, run_name="deleted")
client.delete_run(deleted.info.run_id)
run = client.create_run(gone, run_name="of a deleted experiment")
client.delete_experiment(gone)

if mlflow.__version__.startswith("3"):
    # what is no run: logged models, traces, registered models
    model = mlflow.initialize_logged_model(name="m", source_run_id=parent.info.run_id) if hasattr(mlflow, "initialize_logged_model") else None
    if model is not None:
        client.log_model_params(model.model_id, {"a": "b"})
        mlflow.log_metric("of model", 0.75, step=4, run_id=parent.info.run_id, model_id=model.model_id)
        client.finalize_logged_model(model.model_id, "READY")
client.create_registered_model("reg")

runs = []
for experiment in client.search_experiments(view_type=ViewType.ALL):
    for run in client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL, max_results=1000):
        info, data = run.info, run.data
        runs.append({
            "run_id": info.run_id, "name": info.run_name, "experiment": experiment.name, "status": info.status,
            "start": info.start_time, "end": info.end_time, "deleted": info.lifecycle_stage == "deleted", "artifact_uri": info.artifact_uri,
            "params": data.params, "tags": data.tags, "metrics": {k: number(v) for k, v in data.metrics.items()},
            "history": {k: [[m.step, m.timestamp, number(m.value)] for m in client.get_metric_history(info.run_id, k)] for k in data.metrics},
        })
done(runs)
