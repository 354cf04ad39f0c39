"""The life of a run."""

from __future__ import annotations

import datetime
import os
import signal
import warnings
from typing import Any

import pytest

import runfold
from runfold import _client, _run

from .conftest import Root, child


def test_life(root: Root) -> None:
    with runfold.run(root, cohort="a", run_id="r-1", stage="TRAINING", name="first", params={"lr": 3e-4}, tags={"who": "ana"}) as run:
        row = root.row("r-1:TRAINING")
        assert (row["status"], row["params.lr"], row["tags.who"], row["name"]) == ("RUNNING", 3e-4, "ana", "first")
        run.metrics["auc"] = 0.71
        run.params["layers"] = 3
        run.tags.update(git="1234567", host="h")
        run.snapshot["features"] = ["age", "tenure"]
        run.flush()
        assert root.row("r-1:TRAINING")["metrics.auc"] == 0.71
        run.metrics["auc"] = 0.75
    row = root.row("r-1:TRAINING")
    assert (row["status"], row["metrics.auc"], row["params.layers"], row["tags.git"]) == ("FINISHED", 0.75, 3, "1234567")
    start = datetime.datetime.fromisoformat(row["timestamp"].replace("Z", "+00:00"))
    assert start <= datetime.datetime.fromisoformat(row["end_time"].replace("Z", "+00:00"))
    assert root.snapshot("r-1:TRAINING")["features"] == ["age", "tenure"]
    writes = root.writes("r-1:TRAINING")
    assert len(writes) == 3, writes
    assert len({w["record_id"] for w in writes}) == 3


def test_timestamp_stays(root: Root) -> None:
    with runfold.run(root, cohort="a", run_id="r") as run:
        first = root.row("r:RUN")["timestamp"]
        run.metrics["x"] = 1
    assert root.row("r:RUN")["timestamp"] == first
    assert len(first) == len("2026-01-31T12:00:00.000000Z")


def test_nothing_is_in_extra(root: Root) -> None:
    """What a run does not have takes no room in the index."""
    with runfold.run(root, cohort="a", run_id="r") as run:
        run.metrics["auc"] = 0.5
    root.fold()
    assert root.row("r:RUN").get("_extra") is None


def test_nothing_new_appends_nothing(root: Root) -> None:
    with runfold.run(root, cohort="a", run_id="r", every=0.05) as run:
        for _ in range(5):
            run.flush()
    assert len(root.writes("r:RUN")) == 2


def test_every(root: Root) -> None:
    """What is set is appended after a while, without a flush."""
    with runfold.run(root, cohort="a", run_id="r", every=0.05) as run:
        for n in range(3):
            run.metrics["n"] = n
            while root.row("r:RUN").get("metrics.n") != n:
                pass


def test_generated_ids(root: Root) -> None:
    ids = set()
    for _ in range(5):
        with runfold.run(root, cohort="a") as run:
            ids.add(run.run_id)
    assert len(ids) == 5
    assert {r["run_id"] for r in root.rows().values()} == ids


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("lr is 0"), "FAILED"),
        (SystemExit(0), "FINISHED"),
        (SystemExit(), "FINISHED"),
        (SystemExit(3), "FAILED"),
        (SystemExit("no data"), "FAILED"),
        (SystemExit(128 + signal.SIGTERM), "KILLED"),
        (KeyboardInterrupt(), "KILLED"),
        (GeneratorExit(), "KILLED"),
    ],
    ids=repr,
)
def test_status(root: Root, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)) as raised, runfold.run(root, cohort="a", run_id="r", snapshot={"mine": 1}) as run:
        run.metrics["loss"] = 0.5
        raise error
    assert raised.value is error
    row = root.row("r:RUN")
    assert (row["status"], row["metrics.loss"]) == (status, 0.5)
    snapshot = root.snapshot("r:RUN")
    assert snapshot["mine"] == 1
    if status == "FINISHED":
        assert "error" not in snapshot
    else:
        assert snapshot["error"]["type"] == type(error).__name__
        assert snapshot["error"]["text"] == str(error)
        assert "test_run.py" in snapshot["error"]["traceback"]


def test_strange_errors(root: Root) -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    with pytest.raises(Unspeakable), runfold.run(root, cohort="a", run_id="r"):
        raise Unspeakable
    assert "no words" in root.snapshot("r:RUN")["error"]["text"]
    with pytest.raises(OSError, match="."), runfold.run(root, cohort="a", run_id="s"):
        raise OSError("half \ud800 and " + "long " * 10000)
    assert root.row("s:RUN")["status"] == "FAILED"


def test_nested(root: Root) -> None:
    with runfold.run(root, cohort="a", run_id="outer") as outer:
        for n in range(3):
            with runfold.run(root, cohort="b", run_id=f"inner-{n}", tags={"parent": outer.run_id}) as inner:
                inner.metrics["n"] = n
                outer.metrics["seen"] = n + 1
    rows = root.rows()
    assert rows["outer:RUN"]["metrics.seen"] == 3
    assert [rows[f"inner-{n}:RUN"]["metrics.n"] for n in range(3)] == [0, 1, 2]
    assert {r["status"] for r in rows.values()} == {"FINISHED"}


def test_two_roots_one_child(root: Root, tmp_path: Any) -> None:
    other = Root(tmp_path / "other")
    with runfold.run(root, cohort="a", run_id="r"), runfold.run(other, cohort="b", run_id="s"):
        pid = child()
    assert child() == pid
    assert root.row("r:RUN")["status"] == other.row("s:RUN")["status"] == "FINISHED"


def test_ended_runs_are_forgotten(root: Root) -> None:
    for n in range(20):
        with runfold.run(root, cohort="a", run_id=f"r-{n}"):
            pass
    assert not _client.client().owners
    assert not _client.client().places


def test_without_with(root: Root) -> None:
    run = runfold.run(root, cohort="a", run_id="r")
    run.metrics["x"] = 1
    run.finish()
    run.finish("FAILED")  # the first call counts
    assert root.row("r:RUN")["status"] == "FINISHED"
    with pytest.raises(runfold.RunfoldError, match="has ended"):
        run.metrics["x"] = 2
    with pytest.raises(runfold.RunfoldError, match="has ended"):
        run.log(x=2)


def test_values_are_read_when_they_are_set(root: Root) -> None:
    sizes = [1, 2]
    with runfold.run(root, cohort="a", run_id="r") as run:
        run.snapshot["sizes"] = sizes
        sizes.append(3)
        got = run.snapshot["sizes"]
        assert got == (1, 2)
        with pytest.raises(AttributeError):
            got.append(3)
        run.snapshot["tree"] = {"a": {"b": []}}
        with pytest.raises(TypeError):
            run.snapshot["tree"]["a"]["c"] = 1
        run.metrics["n"] = 1
        run.metrics["n"] += 1
        assert dict(run.metrics) == {"n": 2}
        del run.snapshot["tree"]
        assert list(run.snapshot) == ["sizes"]
    assert root.snapshot("r:RUN")["sizes"] == [1, 2]


def test_a_bad_value_is_told_where_it_is_set(root: Root) -> None:
    with runfold.run(root, cohort="a", run_id="r") as run:
        with pytest.raises(runfold.Refused, match=r"^snapshot\.raw: b'x': bytes is no JSON\nhint: decode it"):
            run.snapshot["raw"] = b"x"
        run.metrics["x"] = 1
        with pytest.raises(runfold.Refused, match="metrics.y"):
            run.metrics.update(x=2, y=object())
        assert dict(run.metrics) == {"x": 1}
        with pytest.raises(runfold.Refused, match="params.*half a character"):
            run.params["\ud800"] = 1
    assert root.row("r:RUN")["metrics.x"] == 1


def test_nan_is_told_once_for_each_name(root: Root) -> None:
    with warnings.catch_warnings(record=True) as told, runfold.run(root, cohort="a", run_id="r") as run:
        warnings.simplefilter("always")
        for _ in range(3):
            run.metrics["loss"] = float("nan")
            run.log(auc=float("inf"))
    assert [str(w.message).split(": ")[1].split(" is ")[0] for w in told] == ["metrics.loss", "metrics.auc"]
    assert run.nulls == {"metrics.loss": 3, "metrics.auc": 3}
    assert root.row("r:RUN").get("metrics.loss") is None


def test_history(root: Root) -> None:
    with runfold.run(root, cohort="a", run_id="r") as run:
        run.log(loss=0.5)
        run.log({"val/loss": 0.6}, step=10, loss=0.25)
    row = root.row("r:RUN")
    assert (row["metrics.loss"], row["metrics.val/loss"]) == (0.25, 0.6)
    assert root.snapshot("r:RUN")["history"] == {"loss": {"step": [0, 10], "value": [0.5, 0.25]}, "val/loss": {"step": [10], "value": [0.6]}}


@pytest.mark.parametrize("steps", [999, 1000, 1001, 1002, 2001, 5003])
def test_history_is_thinned(root: Root, steps: int) -> None:
    with runfold.run(root, cohort="a", run_id="r") as run:
        for n in range(steps):
            run.log(step=n, loss=n)
    history = root.snapshot("r:RUN")["history"]["loss"]
    at = history["step"]
    assert history["value"] == at
    assert (at[0], at[-1]) == (0, steps - 1)
    assert len(at) <= _run.MOST_POINTS + 1
    assert history.get("points", len(at)) == steps
    assert at[:-1] == list(range(0, steps - 1, at[1]))


def test_history_of_many_metrics_is_bounded(root: Root) -> None:
    with runfold.run(root, cohort="a", run_id="r") as run:
        for n in range(1200):
            run.log({f"m-{m}": n for m in range(30)}, step=n)
        assert sum(len(c.points) for c in run._curves.values()) <= _run.MOST_POINTS_OF_ALL
        assert len(root.row("r:RUN")) > 0
    assert len(root.snapshot("r:RUN")["history"]) == 30


def test_fields_of_a_wider_key(tmp_path: Any) -> None:
    root = Root(tmp_path / "wide", "--key", "run_id,phase,target")
    for target in ("a", "b"):
        with runfold.run(root, cohort="c", run_id="r", fields={"target": target}):
            pass
    assert sorted(root.rows()) == ["r:RUN:a", "r:RUN:b"]
    with pytest.raises(runfold.Refused, match="fields: status is given in another way"):
        runfold.run(root, cohort="c", fields={"status": "X"})
    with pytest.raises(runfold.Refused, match="':'"):
        runfold.run(root, cohort="c", fields={"target": "x:y"})


def test_wrong_from_the_start(root: Root, tmp_path: Any) -> None:
    """A mistake is told when the run begins, and not ten hours later."""
    with pytest.raises(runfold.Failed, match="not a runfold root: it does not exist") as raised:
        runfold.run(tmp_path / "nowhere", cohort="a")
    assert "compactd init" in raised.value.hint
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(runfold.Refused, match="starts with a dot"):
        runfold.run(root, cohort="../a")
    with pytest.raises(runfold.Refused, match="has a ':'"):
        runfold.run(root, cohort="a", stage="A:B")
    with pytest.raises(runfold.Failed, match="this is another root"):
        runfold.run(root, cohort="a", root_id="01JQ4Z0000000000000000000R")
    with pytest.raises(runfold.Refused, match="must be text"):
        runfold.run(root, cohort=7)  # type: ignore[arg-type]
    assert root.rows() == {}


def test_root_id_of_the_environment(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as it is when the run begins, also after the child was started."""
    runfold.run(root, cohort="a").finish()
    monkeypatch.setenv("RUNFOLD_ROOT_ID", "01JQ4Z0000000000000000000R")
    with pytest.raises(runfold.Failed, match="this is another root"):
        runfold.run(root, cohort="a")
    _client.at_exit()
    with pytest.raises(runfold.Failed, match="this is another root"):
        runfold.run(root, cohort="a")
    monkeypatch.delenv("RUNFOLD_ROOT_ID")
    runfold.run(root, cohort="a").finish()


def test_create(tmp_path: Any) -> None:
    with runfold.run(tmp_path / "new", cohort="a", run_id="r", create=True):
        pass
    assert runfold.read(tmp_path / "new", unfolded=True)["run_id"].tolist() == ["r"]


def test_relative_root(root: Root, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is relative to the directory in which the run began, wherever the program goes after that."""
    monkeypatch.chdir(tmp_path)
    with runfold.run("runs", cohort="a", run_id="r") as run:
        monkeypatch.chdir(os.sep)
        run.metrics["x"] = 1
    assert root.row("r:RUN")["metrics.x"] == 1


def test_too_large(root: Root) -> None:
    """A record that is too large is told at the next flush, and a smaller one is taken again."""
    with runfold.run(root, cohort="a", run_id="r") as run:
        run.snapshot["huge"] = "x" * (17 << 20)
        with pytest.raises(runfold.Refused, match="16777216"):
            run.flush()
        run.snapshot["huge"] = "x" * (61 << 20)
        with pytest.raises(runfold.Refused, match="is the most that can be sent"):
            run.flush()
        del run.snapshot["huge"]
        run.metrics["x"] = 1
    assert root.row("r:RUN")["metrics.x"] == 1


def test_a_failure_in_the_background_is_told_once(root: Root) -> None:
    """It is warned about once, thrown into no assignment, and raised at the end."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(runfold.Refused, match="16777216"), runfold.run(root, cohort="a", run_id="r", every=0.05) as run:
            run.snapshot["huge"] = "x" * (17 << 20)
            for n in range(3):
                before = run._tries
                run.metrics["n"] = n
                while run._tries == before:  # until it was refused again
                    pass
    assert len([w for w in told if issubclass(w.category, runfold.RunfoldWarning)]) == 1
    assert root.row("r:RUN")["status"] == "RUNNING"
    with pytest.warns(runfold.RunfoldWarning, match="not durable at the end of the process: run r:RUN"):  # until then it is tried
        _client.at_exit()


def test_the_error_of_the_block_goes_first(root: Root) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(ZeroDivisionError), runfold.run(root, cohort="a", run_id="r") as run:
            run.snapshot["huge"] = "x" * (17 << 20)
            raise ZeroDivisionError
    assert any("16777216" in str(w.message) for w in told)
    with pytest.warns(runfold.RunfoldWarning, match="not durable at the end of the process: run r:RUN"):
        _client.at_exit()


def test_a_run_does_not_travel(root: Root) -> None:
    import pickle

    with runfold.run(root, cohort="a", run_id="r") as run, pytest.raises(TypeError, match="stays in its process"):
        pickle.dumps(run)
