"""Clients that log runs from Python: see clients.go. Each job is a process, or some at once, and says what it measured as JSON."""
import contextlib
import json
import os
import subprocess
import sys
import time

METRICS = {f"metric_{n}": 0.5 + n / 7 for n in range(11)}
PARAMS = {"lr": 0.01, "opt": "adam", "layers": 3, "seed": 7}
TAGS = {"owner": "bench", "host": "here", "git_commit": "1234567"}
STEP = {"loss": 0.25, "acc": 0.75, "grad_norm": 1.5}


def quiet():
    for name in ("WANDB_SILENT", "WANDB_DISABLE_GIT", "WANDB_DISABLE_CODE"):
        os.environ[name] = "true"
    os.environ.update(WANDB_MODE="offline", WANDB_CONSOLE="off", MLFLOW_DISABLE_TELEMETRY="true", HF_HUB_OFFLINE="1", GRADIO_ANALYTICS_ENABLED="False")


# Appends of whole runs. Each function prepares, and returns what makes run number n; done when that has returned.


def runfold_append(folder, who):
    import runfold

    return lambda n: runfold.append(folder + "/runs", "bench", {"run_id": f"{who}-{n}", "stage": "RUN", "metrics": METRICS, "params": PARAMS, "tags": TAGS})


def runfold_run(folder, who):
    import runfold

    def one(n):
        with runfold.run(folder + "/runs", "bench", run_id=f"{who}-{n}", metrics=METRICS, params=PARAMS, tags=TAGS):
            pass

    return one


def mlflow_run(folder, who):
    import mlflow.entities as e
    from mlflow.tracking import MlflowClient

    client = MlflowClient("sqlite:///" + folder + "/mlflow.db")
    experiment = client.get_experiment_by_name("bench").experiment_id

    def one(n):
        run = client.create_run(experiment, run_name=f"{who}-{n}").info.run_id
        now = int(time.time() * 1000)
        metrics = [e.Metric(k, v, now, 0) for k, v in METRICS.items()]
        client.log_batch(run, metrics, [e.Param(k, str(v)) for k, v in PARAMS.items()], [e.RunTag(k, v) for k, v in TAGS.items()])
        client.set_terminated(run)

    return one


def wandb_run(folder, who):
    import wandb

    def one(n):
        with wandb.init(project="bench", id=f"{who}-{n}", dir=folder, config=PARAMS, reinit="finish_previous") as run:
            run.log(METRICS)

    return one


def trackio_run(folder, who):
    os.environ["TRACKIO_DIR"] = folder + "/trackio"
    import trackio

    def one(n):
        trackio.init(project="bench", name=f"{who}-{n}", config=PARAMS, embed=False)
        trackio.log(METRICS)
        trackio.finish()

    return one


# Logging at each step of one run. Each function prepares, and returns what logs a step, and what ends the run.


def runfold_log(folder, who):
    import runfold

    run = runfold.run(folder + "/runs", "bench", run_id=who, params=PARAMS)
    return (lambda n: run.log(STEP, step=n)), run.finish


def runfold_append_step(folder, who):
    import runfold

    return (lambda n: runfold.append(folder + "/runs", "bench", {"run_id": f"{who}-{n}", "stage": "STEP", "metrics": STEP})), (lambda: None)


def mlflow_log(folder, who):
    from mlflow.tracking import MlflowClient

    client = MlflowClient("sqlite:///" + folder + "/mlflow.db")
    run = client.create_run(client.get_experiment_by_name("bench").experiment_id, run_name=who).info.run_id

    def step(n):
        for name, value in STEP.items():
            client.log_metric(run, name, value, step=n)

    return step, lambda: client.set_terminated(run)


def wandb_log(folder, who):
    import wandb

    run = wandb.init(project="bench", id=who, dir=folder, config=PARAMS)
    return (lambda n: run.log(STEP, step=n)), run.finish


def trackio_log(folder, who):
    os.environ["TRACKIO_DIR"] = folder + "/trackio"
    import trackio

    trackio.init(project="bench", name=who, config=PARAMS, embed=False)
    return (lambda n: trackio.log(STEP, step=n)), trackio.finish


def work(kind, client, folder, who, count):
    """One process: says that it is ready, waits for a line, works, and says when it began and ended, and how long each call took."""
    quiet()
    out = os.fdopen(os.dup(1), "w")
    with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):  # what the clients say to people
        os.dup2(null.fileno(), 1)
        made = globals()[client](folder, who)
        call, end = made if kind == "steps" else (made, lambda: None)
        call(-1)
        print("ready", file=out, flush=True)
        sys.stdin.readline()
        took = []
        begin = time.time()
        for n in range(int(count)):
            at = time.perf_counter()
            call(n)
            took.append(time.perf_counter() - at)
        end()
        over = time.time()
    json.dump({"begin": begin, "end": over, "took": took}, out)
    out.flush()
    os._exit(0)  # some of them take long to leave


def measure(kind, client, folder, processes, count):
    """So many processes at once; they begin together. Calls per second of all, and the quantiles of a call."""
    quiet()
    if client.startswith("mlflow"):
        from mlflow.tracking import MlflowClient

        store = MlflowClient("sqlite:///" + folder + "/mlflow.db")
        if store.get_experiment_by_name("bench") is None:
            store.create_experiment("bench")
    all_of_them = [
        subprocess.Popen(
            [sys.executable, __file__, "work", kind, client, folder, f"w-{os.getpid()}-{p}", str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for p in range(int(processes))
    ]
    for p in all_of_them:
        if p.stdout.readline() != "ready\n":
            sys.exit(f"{client}: a process has ended before it was ready")
    for p in all_of_them:
        p.stdin.write("go\n")
        p.stdin.flush()
    done = [json.loads(p.stdout.read()) for p in all_of_them]
    took = sorted(t for d in done for t in d["took"])
    seconds = max(d["end"] for d in done) - min(d["begin"] for d in done)
    p50, p99 = took[len(took) // 2] * 1e6, took[len(took) * 99 // 100] * 1e6
    json.dump({"records/s": len(took) / seconds, "p50 us": p50, "p99 us": p99, "max ms": took[-1] * 1e3, "wall s": seconds}, sys.stdout)


if __name__ == "__main__":
    {"work": work, "measure": measure}[sys.argv[1]](*sys.argv[2:])
