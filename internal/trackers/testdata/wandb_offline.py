"""Makes folders of wandb runs that were offline, and prints what was logged. wandb has no program that reads them back without its server."""
import os
import signal
import subprocess
import sys
import time

os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=sys.argv[1], WANDB_CONSOLE="off", WANDB_DISABLE_GIT="true", WANDB__DISABLE_STATS="true")

import wandb

from made import done, number

if len(sys.argv) > 2:  # the run that is killed
    run = wandb.init(project="killed", id="killed01", name="killed")
    for i in range(200):
        run.log({"loss": 1.0 / (i + 1)})
    time.sleep(3)  # until the process of wandb has written it
    os.kill(os.getpid(), signal.SIGKILL)

runs = []


def note(run_id, project, name, status, config, metrics, history, tags):
    runs.append({"run_id": run_id, "experiment": project, "name": name, "status": status, "params": config, "tags": tags,
                 "metrics": {k: number(v) for k, v in metrics.items()},
                 "history": {k: [[s, None, number(v)] for s, v in points] for k, points in history.items()}})


config = {"lr": 0.001, "opt": "adam", "depth": 3, "model": {"units": 64, "act": "relu"}, "flags": [1, 2], "none": None, "on": True, "big": 2**70, "unicode": "größe ☃"}
run = wandb.init(project="Churn EU (v2)", id="aaaa1111", name="first", config=config, tags=["baseline", "v2"], group="g1", job_type="train", notes="two\nlines")
history = {"loss": [], "train.acc": [], "sometimes": [], "nan": []}
for i in range(300):
    row = {"loss": 1.0 / (i + 1), "train": {"acc": i / 300}, "count": i}
    history["loss"].append((i, row["loss"]))
    history["train.acc"].append((i, row["train"]["acc"]))
    history.setdefault("count", []).append((i, i))
    if i % 100 == 50:
        row["sometimes"] = i
        history["sometimes"].append((i, i))
    if i == 7:
        row["nan"] = float("nan")
        row["text"] = "no number"
        history["nan"].append((i, float("nan")))
    run.log(row)
run.config.update({"later": "yes", "lr": 0.002}, allow_val_change=True)
run.summary["best"] = 0.99
run.summary["verdict"] = "good"
run.finish()
flat = {"lr": 0.002, "opt": "adam", "depth": 3, "model.units": 64, "model.act": "relu", "flags": [1, 2], "none": None, "on": True, "big": str(2**70), "unicode": "größe ☃", "later": "yes"}
note("aaaa1111", "Churn EU (v2)", "first", "FINISHED", flat,
     {"loss": 1 / 300, "train.acc": 299 / 300, "count": 299, "sometimes": 250, "nan": float("nan"), "best": 0.99}, history,
     {"group": "g1", "job_type": "train", "notes": "two\nlines", "tags": "baseline,v2"})

run = wandb.init(project="plain", id="bbbb2222", name="second")
run.define_metric("acc", summary="max")
for i, v in enumerate([0.1, 0.9, 0.5]):
    run.log({"acc": v}, step=10 * i)
run.finish(exit_code=3)
note("bbbb2222", "plain", "second", "FAILED", {}, {"acc.max": 0.9}, {"acc": [(0, 0.1), (10, 0.9), (20, 0.5)]}, {})

run = wandb.init(project="plain", id="cccc3333", name="nothing")
run.finish()
note("cccc3333", "plain", "nothing", "FINISHED", {}, {}, {}, {})

run = wandb.init(id="dddd4444", name="no project", config={"a": 1})
big = {"series %d" % k: [] for k in range(3)}
for i in range(2000):  # more than a block of the log
    row = {"series %d" % k: i * (k + 0.5) for k in range(3)}
    for k, v in row.items():
        big[k].append((i, v))
    run.log(row)
run.finish()
note("dddd4444", run.project or "uncategorized", "no project", "FINISHED", {"a": 1}, {k: v[-1][1] for k, v in big.items()}, big, {})

subprocess.run([sys.executable, __file__, sys.argv[1], "killed"], check=False)
done(runs)
