"""Makes docs/examples/trackers anew: small files of each tracker, as their programs write them. Argument: that directory.

Times and ids differ from those before, and docs/import.md shows some of them: run its test afterwards. Names of the machine are not written.
"""
import getpass
import json
import os
import shutil
import subprocess
import sys

top = os.path.abspath(sys.argv[1])
if len(sys.argv) == 2:
    shutil.rmtree(top, ignore_errors=True)
    os.makedirs(top)
    for part in ("mlruns", "wandb", "optuna", "sacred", "tensorboard", "tables"):
        subprocess.run([sys.executable, __file__, top, part], check=True, cwd="/tmp", stdout=subprocess.DEVNULL)
    sys.exit()
part, sys.argv = sys.argv[2], sys.argv[:1]
os.chdir(top)


def loss(lr, i):
    return round(1 / (1 + lr * 100 * i), 6)


if part == "mlruns":
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    import mlflow
    from mlflow.tracking import MlflowClient

    os.environ["MLFLOW_TRACKING_USERNAME"] = "ann"
    mlflow.set_tracking_uri("file://" + top + "/mlruns")
    for experiment, lrs in (("churn_eu", (0.001, 0.01)), ("Churn (Asia)", (0.1,))):
        mlflow.set_experiment(experiment)
        for lr in lrs:
            with mlflow.start_run(run_name="lr %g" % lr, tags={"mlflow.user": "ann", "mlflow.source.name": "train.py"}):
                mlflow.log_params({"lr": lr, "opt": "adam"})
                for i in range(3):
                    mlflow.log_metric("val/loss", loss(lr, i), step=i)
                mlflow.log_metric("auc", 0.7 + lr)
    client = MlflowClient()
    gone = client.create_run(client.get_experiment_by_name("churn_eu").experiment_id, run_name="a mistake")
    client.delete_run(gone.info.run_id)
    for at, dirs, files in os.walk("mlruns"):
        for f in files:
            path = os.path.join(at, f)
            if f.startswith("mlflow.source.git"):
                os.remove(path)
                continue
            text = open(path).read().replace(top, "/lab").replace("user_id: " + getpass.getuser(), "user_id: ann")
            open(path, "w").write(text)
        if os.path.basename(at) == "artifacts":
            os.rmdir(at)
elif part == "wandb":
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=top, WANDB_CONSOLE="off", WANDB_DISABLE_GIT="true", WANDB__DISABLE_STATS="true", WANDB_HOST="lab-7",
                      WANDB_DISABLE_CODE="true", WANDB_PROGRAM="train.py")
    import wandb

    for n, lr in enumerate((0.001, 0.01)):
        run = wandb.init(project="churn_eu", id="w%07d" % (n + 1), name="lr %g" % lr, config={"lr": lr, "model": {"units": 64}}, tags=["baseline"], group="sweep",
                         settings=wandb.Settings(host="lab-7", x_disable_meta=True))
        for i in range(3):
            run.log({"loss": loss(lr, i)})
        run.finish()
    for name in os.listdir("wandb"):
        path = os.path.join("wandb", name)
        if os.path.islink(path) or os.path.isfile(path):
            os.remove(path)
            continue
        for rest in ("logs", "tmp", "files"):
            shutil.rmtree(os.path.join(path, rest), ignore_errors=True)
elif part == "optuna":
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend("journal.log"))
    study = optuna.create_study(study_name="sweep", storage=storage, sampler=optuna.samplers.RandomSampler(seed=1))

    def objective(trial):
        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        opt = trial.suggest_categorical("opt", ["adam", "sgd"])
        for i in range(3):
            trial.report(loss(lr, i), i)
            if trial.number == 2 and i == 1:
                raise optuna.TrialPruned()
        trial.set_user_attr("owner", "ann")
        return loss(lr, 3) + (opt == "sgd")

    study.optimize(objective, n_trials=4)
elif part == "sacred":
    from sacred import SETTINGS, Experiment
    from sacred.observers import FileStorageObserver

    SETTINGS.CAPTURE_MODE = "no"
    SETTINGS.HOST_INFO.INCLUDE_GPU_INFO = False
    SETTINGS.DISCOVER_SOURCES = "none"
    SETTINGS.DISCOVER_DEPENDENCIES = "none"
    ex = Experiment("churn", save_git_info=False, interactive=True)
    ex.observers.append(FileStorageObserver("sacred_runs"))

    @ex.config
    def config():
        lr = 0.001
        model = {"units": 64}

    @ex.main
    def main(_run, lr):
        for i in range(3):
            _run.log_scalar("loss", loss(lr, i), i)
        if lr > 0.5:
            raise ValueError("diverged")
        return 0.7 + lr

    for lr in (0.001, 0.01, 1.0):
        try:
            ex.run(config_updates={"lr": lr, "seed": 7})
        except ValueError:
            pass
    for n in os.listdir("sacred_runs"):
        path = os.path.join("sacred_runs", n, "run.json")
        if not os.path.exists(path):
            shutil.rmtree(os.path.join("sacred_runs", n))
            continue
        run = json.load(open(path))
        run["host"] = {"hostname": "lab-7", "os": ["Linux", "Linux"], "python_version": "3.11.7"}
        run["experiment"]["base_dir"] = "/lab"
        if "fail_trace" in run:
            run["fail_trace"] = run["fail_trace"][-1:]
        json.dump(run, open(path, "w"), sort_keys=True, indent=2)
elif part == "tensorboard":
    import socket

    socket.gethostname = lambda: "lab-7"
    from tensorboardX import SummaryWriter

    for lr in (0.001, 0.01):
        with SummaryWriter("logs/lr_%g" % lr) as w:
            for i in range(3):
                w.add_scalar("loss", loss(lr, i), i)
            w.add_text("note", "not taken", 0)
elif part == "tables":
    rows = [
        {"name": "t-1", "team": "EU team", "started": "2026-01-05 10:00:00", "AUC": 0.71, "lr": 0.001, "note": "first,\nwith a \"quote\""},
        {"name": "t-2", "team": "EU team", "started": "2026-01-06 10:00:00", "AUC": 0.74, "lr": 0.01, "note": ""},
        {"name": "t-3", "team": "asia", "started": "2026-01-07 10:00:00", "AUC": 0.69, "lr": 0.1, "note": "größer"},
    ]
    import csv

    with open("results.csv", "w", newline="", encoding="utf-8") as f:
        w = csv.DictWriter(f, rows[0])
        w.writeheader()
        w.writerows(rows)
    with open("results.ndjson", "w", encoding="utf-8") as f:
        for row in rows:
            f.write(json.dumps({"run_id": row["name"].replace("t", "n"), "stage": "TRAINING", "cohort_id": row["team"].replace(" ", "_"), "timestamp": row["started"].replace(" ", "T") + "Z",
                                "metrics": {"auc": row["AUC"]}, "params": {"lr": row["lr"]}}, ensure_ascii=False) + "\n")
