"""Forks, other processes, and how they end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable

import pytest

import runfold
from runfold import _client

from .conftest import Root, child, python

RunPython = Callable[..., "tuple[int, str, str]"]


def in_a_process(root: str, n: int) -> None:
    with runfold.run(root, cohort="a", run_id=f"r-{n}") as run:
        run.metrics["n"] = n
    runfold.append(root, "b", {"run_id": f"s-{n}", "stage": "S"})


def open_at_the_end(root: str) -> None:
    runfold.run(root, cohort="a", run_id="open", every=1000).metrics["n"] = 7


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(root: Root, method: str) -> None:
    with runfold.run(root, cohort="a", run_id="parent") as run:
        ctx: Any = multiprocessing.get_context(method)
        processes = [ctx.Process(target=in_a_process, args=(str(root.path), n)) for n in range(4)]
        processes.append(ctx.Process(target=open_at_the_end, args=(str(root.path),)))
        for p in processes:
            p.start()
        for p in processes:
            p.join()
        assert [p.exitcode for p in processes] == [0] * 5
        run.metrics["n"] = 1
    rows = root.rows()
    assert len(rows) == 10
    assert rows["parent:RUN"]["metrics.n"] == 1
    assert (rows["open:RUN"]["metrics.n"], rows["open:RUN"]["status"]) == (7, "RUNNING")
    assert [rows[f"r-{n}:RUN"]["metrics.n"] for n in range(4)] == [0, 1, 2, 3]


def test_pool(root: Root) -> None:
    ctx: Any = multiprocessing.get_context("fork")
    with runfold.run(root, cohort="a", run_id="parent"), ctx.Pool(4) as pool:
        pool.starmap(in_a_process, [(str(root.path), n) for n in range(20)])
    assert len(root.rows()) == 41


FORK = """
root = sys.argv[1]
with runfold.run(root, cohort="a", run_id="parent") as run:
    ours = runfold._client.client().pipes.process.pid
    pid = os.fork()
    if pid == 0:
        run.metrics["child"] = 1
    else:
        assert os.waitpid(pid, 0)[1] == 0
        run.metrics["n"] = 1
        run.flush()
        assert runfold._client.client().pipes.process.pid == ours
if pid == 0:
    with runfold.run(root, cohort="a", run_id="child") as mine:
        assert runfold._client.client().pipes.process.pid != ours
    print("child", run._elsewhere, flush=True)
    sys.exit(0)
print("parent")
"""


def test_fork_with_an_open_run(root: Root, run_python: RunPython) -> None:
    """The run stays the parent's: the end of its block in the child appends nothing."""
    code, out, err = run_python(FORK, root.path)
    assert (code, out) == (0, "child True\nparent\n"), err
    assert err.count("belongs to the process that this one was forked from") == 1, err
    rows = root.rows()
    assert sorted(rows) == ["child:RUN", "parent:RUN"]
    assert rows["parent:RUN"].get("metrics.child") is None
    assert (rows["parent:RUN"]["metrics.n"], rows["parent:RUN"]["status"]) == (1, "FINISHED")
    assert len(root.writes("parent:RUN")) == 3


FORK_AMID_THREADS = """
root, stop = sys.argv[1], threading.Event()
def work(t):
    with runfold.run(root, cohort="a", run_id=f"t-{t}", every=0.01) as run:
        n = 0
        while not stop.is_set():
            run.log(n=n)
            runfold.append(root, "a", {"run_id": f"t-{t}-{n}", "stage": "S"})
            n += 1
threads = [threading.Thread(target=work, args=(t,)) for t in range(4)]
for t in threads: t.start()
pids = []
for n in range(30):
    pid = os.fork()
    if pid == 0:
        runfold.append(root, "a", {"run_id": f"forked-{n}", "stage": "S"})
        os._exit(0)
    pids.append(pid)
for pid in pids:
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for t in threads: t.join()
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork_amid_threads(root: Root, run_python: RunPython) -> None:
    code, _, err = run_python(FORK_AMID_THREADS, root.path)
    assert code == 0, err
    rows = root.rows()
    assert sum(k.startswith("forked-") for k in rows) == 30
    assert [rows[f"t-{t}:RUN"]["status"] for t in range(4)] == ["FINISHED"] * 4


def test_a_fork_does_not_hold_the_child(root: Root, run_python: RunPython) -> None:
    """The child ends with its process, also if a fork of that lives on."""
    code, out, err = run_python(
        """
runfold.append(sys.argv[1], "a", {"run_id": "r", "stage": "S"})
ours = runfold._client.client().pipes.process.pid
wait, tell = os.pipe()
if os.fork() == 0:
    os.close(tell)
    os.read(wait, 1)   # until the parent has ended
    until = time.monotonic() + 60
    state = "?"
    while state not in "Zgone" and time.monotonic() < until:   # its child ends, too
        try: state = open(f"/proc/{ours}/stat").read().rsplit(")")[1].split()[0]
        except OSError: state = "gone"
    print("gone" if state in "Zgone" else "still there", flush=True)
    os._exit(0)
os._exit(0)
""",
        root.path,
    )
    assert (code, out) == (0, "gone\n"), err


ENDS = [
    ("sys.exit(0)", 0, "RUNNING"),
    ("sys.exit(3)", 3, "RUNNING"),
    ("pass", 0, "RUNNING"),
    ("1 / 0", 1, "FAILED"),
]


@pytest.mark.parametrize(("end", "code", "status"), ENDS)
def test_open_at_the_end(root: Root, run_python: RunPython, end: str, code: int, status: str) -> None:
    """A run that nobody has finished: what was set is durable. If an exception has ended the process, the run has failed."""
    got, _, err = run_python(f'run = runfold.run(sys.argv[1], cohort="a", run_id="r", every=1000)\nrun.metrics["n"] = 1\n{end}', root.path)
    assert got == code, err
    row = root.row("r:RUN")
    assert (row["metrics.n"], row["status"]) == (1, status)
    if status == "FAILED":
        assert root.snapshot("r:RUN")["error"]["type"] == "ZeroDivisionError"


def test_os_exit(root: Root, run_python: RunPython) -> None:
    """Nothing of ours runs then. What was flushed is there."""
    code, _, err = run_python(
        'run = runfold.run(sys.argv[1], cohort="a", run_id="r")\nrun.metrics["n"] = 1\nrun.flush()\nrun.metrics["n"] = 2\nos._exit(5)', root.path
    )
    assert code == 5, err
    assert root.row("r:RUN")["metrics.n"] in (1, 2)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, "KILLED"), (signal.SIGTERM, "KILLED")])
def test_signals(root: Root, number: int, status: str) -> None:
    p = python(
        """
signal.signal(signal.SIGTERM, lambda n, frame: sys.exit(128 + n))
with runfold.run(sys.argv[1], cohort="a", run_id="r") as run:
    run.metrics["n"] = 1
    print("ready", flush=True)
    while True: run.log(loss=1)
""",
        root.path,
    )
    assert p.stdout is not None
    assert p.stdout.readline() == "ready\n"
    p.send_signal(number)
    _, err = p.communicate()
    assert p.returncode == (-signal.SIGINT if number == signal.SIGINT else 128 + number), err
    row = root.row("r:RUN")
    assert (row["metrics.n"], row["status"]) == (1, status)
    assert root.snapshot("r:RUN")["error"]["type"] == ("KeyboardInterrupt" if number == signal.SIGINT else "SystemExit")


def test_ctrl_c_in_a_terminal(root: Root) -> None:
    """It goes to the whole group of processes. The child is not in it, so that the end of the run goes through."""
    p = python(
        """
with runfold.run(sys.argv[1], cohort="a", run_id="r") as run:
    ours = runfold._client.client().pipes.process.pid
    try:
        print("ready", flush=True)
        while True: run.log(loss=1)
    except KeyboardInterrupt:
        run.flush()
        print(runfold._client.client().pipes.process.pid == ours, flush=True)
""",
        root.path, start_new_session=True,
    )  # fmt: skip
    assert p.stdout is not None
    assert p.stdout.readline() == "ready\n"
    os.killpg(p.pid, signal.SIGINT)
    out, err = p.communicate()
    assert (p.returncode, out) == (0, "True\n"), err
    assert root.row("r:RUN")["status"] == "FINISHED"


def test_warnings_as_errors(root: Root, run_python: RunPython) -> None:
    """They are printed, and neither end our thread nor a training."""
    code, _, err = run_python(
        """
import warnings
warnings.simplefilter("error")
with runfold.run(sys.argv[1], cohort="a", run_id="r") as run:
    run.metrics["n"] = float("nan")
""",
        root.path,
    )
    assert code == 0, err
    assert "RunfoldWarning: " in err


def test_not_durable_at_the_end(root: Root, run_python: RunPython) -> None:
    """A child that hangs at the end of the process is told, and does not hold it for ever."""
    code, out, err = run_python(
        """
from runfold import _client
_client.TIMEOUT = 0.3
run = runfold.run(sys.argv[1], cohort="a", run_id="r", every=1000)
run.metrics["n"] = 1
os.kill(_client.client().pipes.process.pid, signal.SIGSTOP)
print(_client.client().pipes.process.pid)
""",
        root.path,
    )
    os.kill(int(out), signal.SIGKILL)
    assert code == 0, err
    assert "not durable at the end of the process: run r:RUN of cohort a" in err


def test_append_at_exit(root: Root, run_python: RunPython) -> None:
    """Also in a function of atexit that is called after ours, when no thread can be started any more."""
    code, _, err = run_python(
        """
import importlib, atexit
for name in list(sys.modules):
    if name.startswith("runfold"): del sys.modules[name]
def last():
    import runfold
    runfold.append(sys.argv[1], "a", {"run_id": "last", "stage": "S"})
atexit.register(last)
import runfold
runfold.append(sys.argv[1], "a", {"run_id": "first", "stage": "S"})
""",
        root.path,
    )
    assert code == 0, err
    assert sorted(root.rows()) == ["first:S", "last:S"], err


def test_a_sweep(root: Root) -> None:
    """60 processes at once, of which some crash."""
    code = """
n = int(sys.argv[2])
with runfold.run(sys.argv[1], cohort="sweep", run_id=f"r-{n}", params={"n": n}, every=0.05) as run:
    for step in range(20):
        run.log(step=step, loss=1 / (step + 1 + n))
    if n % 10 == 7: raise ValueError(n)
    if n % 10 == 9: os.kill(os.getpid(), signal.SIGKILL)
"""
    processes = [python(code, root.path, n) for n in range(60)]
    for p in processes:
        p.communicate()
    codes = [p.returncode for p in processes]
    assert codes == [{7: 1, 9: -9}.get(n % 10, 0) for n in range(60)]
    rows = root.rows()
    assert len(rows) == 60
    for n in range(60):
        row = rows[f"r-{n}:RUN"]
        assert row["status"] == {7: "FAILED", 9: "RUNNING"}.get(n % 10, "FINISHED")
        if n % 10 != 9:
            assert row["metrics.loss"] == 1 / (20 + n)
    best = runfold.best(root, "loss", min=True, unfolded=True, where="status = 'FINISHED'")
    assert best is not None
    assert best["run_id"] == "r-58"


def test_one_thread(root: Root) -> None:
    for n in range(3):
        with runfold.run(root, cohort=f"c-{n}"):
            assert sum(t.name == "runfold" for t in threading.enumerate()) == 1
    _client.at_exit()
    assert not [t for t in threading.enumerate() if t.name == "runfold"]


def test_no_thread_can_be_started(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the end of the interpreter, or where there are too many: the caller does the work."""
    _client.at_exit()

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with runfold.run(root, cohort="a", run_id="r") as run:
        run.metrics["n"] = 1
    runfold.append_many(root, "a", [{"run_id": f"r-{n}", "stage": "S"} for n in range(10)])
    _client.at_exit()
    monkeypatch.undo()
    os.environ["RUNFOLD_BIN"] = os.environ.get("RUNFOLD_BIN", "")
    assert len(root.rows()) == 11


def test_a_signal_amid_a_call(root: Root, tmp_path: Path) -> None:
    """An exception of a signal handler, at whatever point, leaves the client whole."""
    seen = 0

    class Stop(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with runfold.run(root, cohort="a", run_id="r") as run:
            until = time.monotonic() + 1.5
            n = 0
            while time.monotonic() < until or seen < 5:
                try:
                    try:
                        signal.setitimer(signal.ITIMER_REAL, 0.0005 + (n % 97) / 50000)
                        run.metrics["n"] = n
                        run.log(loss=n)
                        run.flush()
                        runfold.append(root, "a", {"run_id": "s", "stage": "S", "n": n})
                    finally:
                        signal.setitimer(signal.ITIMER_REAL, 0)
                except Stop:
                    seen += 1
                n += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert root.row("r:RUN")["status"] == "FINISHED"
    assert child() > 0
    assert sys.version_info >= (3, 9)
