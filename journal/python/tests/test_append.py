"""Whole records."""

from __future__ import annotations

import os
import subprocess
import threading
import warnings
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

import runfold

from .conftest import Root

RunPython = Callable[..., "tuple[int, str, str]"]


def record(n: int, **more: Any) -> dict[str, Any]:
    return {"run_id": f"r-{n}", "stage": "S", "metrics": {"n": n}, **more}


def test_append(root: Root) -> None:
    ack = runfold.append(root, "a", record(1))
    assert (ack.run_id, ack.stage) == ("r-1", "S")
    assert root.writes("r-1:S")[0]["record_id"] == ack.record_id
    assert root.row("r-1:S")["metrics.n"] == 1
    assert runfold.append(root, "a", record(2, record_id="mine")).record_id == "mine"


def test_a_repeat_is_the_same_record(root: Root) -> None:
    for _ in range(3):
        runfold.append(root, "a", record(1, record_id="mine"))
    root.fold()
    assert root.row("r-1:S")["snapshot_seq"] == 1


def test_many(root: Root) -> None:
    acks = runfold.append_many(root, "a", (record(n) for n in range(3000)))
    assert [a.run_id for a in acks] == [f"r-{n}" for n in range(3000)]
    assert len(root.rows()) == 3000
    assert runfold.append_many(root, "a", []) == []


def test_many_large(root: Root) -> None:
    """More than may be under way at once."""
    text = "x" * (3 << 20)
    acks = runfold.append_many(root, "a", (record(n, snapshot={"text": text}) for n in range(12)))
    assert len(acks) == 12
    assert len(root.rows()) == 12


def test_many_of_one_run(root: Root) -> None:
    """The last one counts, whatever the order in which answers come."""
    runfold.append_many(root, "a", [{"run_id": "r", "stage": "S", "metrics": {"n": n}} for n in range(200)])
    assert root.row("r:S")["metrics.n"] == 199


def test_refused_in_the_middle(root: Root) -> None:
    bad = [record(1), {"run_id": "r-2"}, record(3), {"run_id": "r", "stage": "S", "x": b"1"}, record(5)]
    with pytest.raises(runfold.Refused, match="stage is missing") as raised:
        runfold.append_many(root, "a", bad)
    kinds = [type(a).__name__ for a in raised.value.answers]
    assert kinds == ["Ack", "Refused", "Ack", "Refused", "Ack"]
    assert "the record has no" not in str(raised.value.answers[3])
    assert sorted(root.rows()) == ["r-1:S", "r-3:S", "r-5:S"]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("r-1", "must be a dict"),
        ({}, "run_id is missing"),
        ({"run_id": "r", "stage": "S", "record_id": None}, "record_id is None"),
        ({"run_id": "r", "stage": "S", "timestamp": "yesterday"}, "timestamp"),
        ({"run_id": "r", "stage": "S", "snapshot_seq": 7}, "snapshot_seq"),
        ({"run_id": 7, "stage": "S"}, "run_id"),
    ],
)
def test_bad_records(root: Root, bad: Any, words: str) -> None:
    with pytest.raises(runfold.Refused, match=words):
        runfold.append(root, "a", bad)


def test_nulls_are_told(root: Root) -> None:
    with pytest.warns(runfold.RunfoldWarning, match="2 NaN or infinite"):
        runfold.append(root, "a", record(1, x=float("nan"), y=[float("inf")]))


def test_no_root(root: Root, tmp_path: Path) -> None:
    def records() -> Iterator[dict[str, Any]]:
        for n in range(100000):
            taken.append(n)
            yield record(n, text="x" * 1000)

    taken: list[int] = []
    with pytest.raises(runfold.Failed, match="it does not exist") as raised:
        runfold.append_many(tmp_path / "nowhere", "a", records())
    assert len(taken) < 100000  # it does not go on for hours
    assert isinstance(raised.value.answers[0], runfold.Failed)
    runfold.append(root, "a", record(1))  # others go on


def test_threads(root: Root) -> None:
    def work(t: int) -> None:
        for n in range(20):
            runfold.append(root, f"c-{t % 3}", {"run_id": f"r-{t}-{n}", "stage": "S"})

    threads = [threading.Thread(target=work, args=(t,)) for t in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(root.rows()) == 320
    assert sum(t.name == "runfold" for t in threading.enumerate()) == 1


def test_read_only(tmp_path: Path, run_python: RunPython) -> None:
    """A root that this user may not write."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to be somebody else")
    tmp_path.chmod(0o755)
    for parent in list(tmp_path.parents)[:3]:
        parent.chmod(0o755)
    root = Root(tmp_path / "runs")
    code, out, err = run_python(
        "os.setuid(65534)\ntry: runfold.append(sys.argv[1], 'a', {'run_id': 'r', 'stage': 'S'})\nexcept runfold.Failed as e: print(e)", root.path
    )
    assert (code, "permission denied" in out, "hint: " in out) == (0, True, True), (out, err)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "small"
    disk.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=False).returncode == 0
    if not mounted:
        assert not os.environ.get("RUNFOLD_MUST_RUN"), "a small disk cannot be mounted"
        pytest.skip("needs root, to mount a small disk")
    yield disk
    runfold._client.at_exit()
    subprocess.run(["umount", "-l", disk], check=True)


def fill(disk: Path) -> Path:
    """Takes all that is free."""
    file = disk / "ballast"
    with open(file, "wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError:
            return file


def test_full_disk(small_disk: Path) -> None:
    """A full disk is waited for; after the time it is told what is not durable. Nothing that was acknowledged is lost."""
    root = Root(small_disk / "runs")
    runfold.append(root, "a", record(1))
    ballast = fill(small_disk)
    with pytest.raises(runfold.Again, match="no space left") as raised:
        runfold.append(root, "a", record(2, text="x" * 9000), timeout=0.3)
    assert "free some space" in raised.value.hint
    waiting = threading.Thread(target=lambda: runfold.append(root, "a", record(3, text="x" * 9000)))
    waiting.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = runfold.run(root, cohort="a", run_id="r", timeout=0.3)
        with pytest.raises(runfold.NotDurable, match="no space left.*nothing of this run is durable yet"):
            run.finish()
    ballast.unlink()
    waiting.join()
    run.flush(timeout=30)
    rows = root.rows()
    assert {"r-1:S", "r-3:S"} <= set(rows)
    assert rows["r:RUN"]["status"] == "FINISHED"
