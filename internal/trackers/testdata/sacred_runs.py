"""Makes runs with Sacred's FileStorageObserver, and prints what was logged, and what the observer noted of it."""
import datetime
import json
import os
import sys

sys.argv, where = sys.argv[:1], sys.argv[1]

import numpy as np
from sacred import SETTINGS, Experiment
from sacred.observers import FileStorageObserver

from made import done, number

SETTINGS.CAPTURE_MODE = "sys"
SETTINGS.HOST_INFO.INCLUDE_GPU_INFO = False
SETTINGS.DISCOVER_SOURCES = "none"
SETTINGS.DISCOVER_DEPENDENCIES = "none"
STATUS = {"COMPLETED": "FINISHED", "FAILED": "FAILED", "INTERRUPTED": "KILLED"}
logged = {}


def experiment(name):
    ex = Experiment(name, save_git_info=False, interactive=True)
    ex.observers.append(FileStorageObserver(os.path.join(where, "lab", name)))

    @ex.config
    def config():
        lr = 0.001
        model = {"units": 64, "act": "relu"}
        layers = [1, 2]
        none = None
        on = True
        unicode = "größe"

    @ex.main
    def main(_run, _seed, lr, how="ends"):
        points = logged.setdefault(name, [])
        for i in range(20):
            v = lr * i
            _run.log_scalar("val.loss", v, i)
            points.append((i, v))
        _run.log_scalar("numpy", np.float64(0.1), 3)
        _run.log_scalar("nan", float("nan"), 3)
        _run.info["table"] = {"a": [1, 2]}
        print("prints ☃")
        if name == "fails":
            raise ValueError("broken")
        if name == "stops":
            raise KeyboardInterrupt
        return 0.75

    return ex


def ms(text):
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc).timestamp() * 1000


runs = []
for name, updates in (("my experiment", {"lr": 0.5}), ("my experiment", {}), ("fails", {}), ("stops", {})):
    logged.pop(name, None)
    run = None
    ex = experiment(name)
    try:
        run = ex.run(config_updates=dict(updates, seed=7))
    except (ValueError, KeyboardInterrupt):
        run = ex.current_run
    at = os.path.join(where, "lab", name, run._id)
    noted = json.load(open(os.path.join(at, "run.json")))
    lr = updates.get("lr", 0.001)
    runs.append({
        "run_id": "%s-%s" % (name, run._id), "name": "", "experiment": name, "status": STATUS[noted["status"]],
        "start": ms(noted["start_time"]), "end": ms(noted["stop_time"]),
        "params": {"lr": lr, "model.units": 64, "model.act": "relu", "layers": [1, 2], "none": None, "on": True, "unicode": "größe", "seed": 7},
        "tags": {"command": "main", "host": noted["host"]["hostname"]},
        "metrics": {"val.loss": number(logged[name][-1][1]), "numpy": "0.1", "nan": "null", **({"result": "0.75"} if name == "my experiment" else {})},
        "history": {"val.loss": [[s, None, number(v)] for s, v in logged[name]], "numpy": [[3, None, "0.1"]], "nan": [[3, None, "null"]]},
    })
done(runs)
