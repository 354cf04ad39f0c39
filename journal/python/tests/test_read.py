"""Reading: tables with the right types, folded or not; single runs; snapshots; and all of it while folds go on."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pandas
import polars
import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import runfold

from .conftest import Root, compactd

RECORDS: list[dict[str, Any]] = [
    {"run_id": "r-1", "stage": "S", "timestamp": "2026-01-31T12:00:00.123456Z", "n": 9007199254740993, "ok": True, "metrics": {"auc": 0.5, "big": 2**60}},
    {"run_id": "r-2", "stage": "S", "metrics": {"auc": "failed", "loss": 25000}, "params": {"layers": [64, 64], "opt": "adam"}, "tags": {"attempt": 7, "v": 1.5}},
    {"run_id": "r-3", "stage": "T", "x": 1, "params": {"opt": 3}, "huge": 2**70, "long": "x" * 5000, "größe": "ü"},
    {"run_id": "r-4", "stage": "T", "x": 2.5, "params": {"opt": True}, "metrics": {"auc": True, "loss": 0.25}, "none": None, "tags": {"t": "ü"}},
]


@pytest.fixture
def filled(root: Root) -> Root:
    runfold.append_many(root, "a", RECORDS)
    return root


def of_all(root: Root, unfolded: bool) -> tuple[pandas.DataFrame, polars.DataFrame, pyarrow.Table]:
    return (
        runfold.read(root, unfolded=unfolded),
        runfold.read(root, unfolded=unfolded, as_="polars"),
        runfold.read(root, unfolded=unfolded, as_="arrow"),
    )


@pytest.mark.parametrize("unfolded", [False, True])
def test_types(filled: Root, unfolded: bool) -> None:
    if not unfolded:
        filled.fold()
    p, q, a = of_all(filled, unfolded)
    assert p["run_id"].tolist() == q["run_id"].to_list() == a["run_id"].to_pylist() == ["r-1", "r-2", "r-3", "r-4"]
    assert p["n"].tolist()[0] == 9007199254740993
    assert str(p["n"].dtype) == "Int64"
    assert str(p["snapshot_seq"].dtype) == "Int64"
    assert str(p["ok"].dtype) == "boolean"
    assert str(p["metrics.auc"].dtype) == str(p["x"].dtype) == "float64"
    assert str(p["params.opt"].dtype) == "string"
    assert str(p["timestamp"].dtype) == "datetime64[us, UTC]"
    assert p["timestamp"][0] == pandas.Timestamp("2026-01-31T12:00:00.123456Z")
    assert q.schema["timestamp"] == polars.Datetime("us", "UTC")
    assert q.schema["n"] == polars.Int64
    assert a.schema.field("timestamp").type == pyarrow.timestamp("us", "UTC")
    assert p["params.opt"].tolist()[1:] == ["adam", "3", "true"]
    assert p["tags.attempt"].tolist()[1] == "7"
    assert p["x"].tolist()[2:] == [1.0, 2.5]
    assert p["metrics.auc"].idxmax() == 0


def test_unfolded_is_what_a_fold_makes(filled: Root) -> None:
    before = runfold.read(filled, unfolded=True, as_="polars")
    filled.fold()
    same(before, runfold.read(filled, as_="polars"))
    same(runfold.read(filled, unfolded=True, as_="polars"), runfold.read(filled, as_="polars"))
    runfold.append_many(filled, "a", [{"run_id": "r-5", "stage": "S", "new": 1, "n": 2.5, "metrics": {"auc": 1, "m": 2}}, {**RECORDS[0], "n": 3}])
    before = runfold.read(filled, unfolded=True, as_="polars")
    filled.fold()
    same(before, runfold.read(filled, as_="polars"))


def same(unfolded: polars.DataFrame, folded: polars.DataFrame) -> None:
    """What an unfolded read has is what the fold has made of it. Members of _extra are compared as JSON."""
    import json

    missing = set(folded.columns) - set(unfolded.columns)
    assert missing <= {"_stamp", "_digest", "_stream", "_writer"}, missing
    folded = folded.drop(missing)
    assert set(folded.columns) == set(unfolded.columns)
    for row, want in zip(unfolded.to_dicts(), folded.select(unfolded.columns).to_dicts()):
        for r in (row, want):
            r["_extra"] = json.loads(r["_extra"] or "{}")
        assert row == want
    assert len(unfolded) == len(folded)
    assert dict(unfolded.schema) == {name: folded.schema[name] for name in unfolded.columns}


def test_a_great_integer_of_a_column_that_becomes_double(root: Root) -> None:
    runfold.append(root, "a", {"run_id": "r-1", "stage": "S", "y": 2**53 + 1})
    root.fold()
    runfold.append(root, "a", {"run_id": "r-2", "stage": "S", "y": 1.5})
    before = runfold.read(root, unfolded=True, as_="polars")
    root.fold()
    same(before, runfold.read(root, as_="polars"))


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from([2**53 + 1, 2**63, -(2**63), 2**70]), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1.5, 25000.0, 1e300]), st.text(st.characters(exclude_categories=["Cs"]), max_size=5), st.just("y" * 4097), st.lists(st.integers(), max_size=2),
)  # fmt: skip
records = st.fixed_dictionaries(
    {"run_id": st.sampled_from("abcdef"), "stage": st.just("S")},
    optional={
        "x": scalars, "y": scalars, "": scalars, "\x01": scalars, "a.b": scalars, "n" * 256: scalars, "ü": scalars, "metrics": st.dictionaries(st.sampled_from("mn"), scalars), "tags": st.dictionaries(st.sampled_from("tu"), scalars),
        "params": st.dictionaries(st.sampled_from("pq"), scalars), "snapshot": st.just({"s": 1}),
    },
)  # fmt: skip


@settings(max_examples=settings().max_examples // 10, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(records, min_size=1, max_size=6), min_size=1, max_size=3))
def test_unfolded_is_what_a_fold_makes_of_anything(tmp_path_factory: pytest.TempPathFactory, batches: list[list[dict[str, Any]]]) -> None:
    root = Root(tmp_path_factory.mktemp("any") / "runs")
    for batch in batches:
        runfold.append_many(root, "a", batch)
        before = runfold.read(root, unfolded=True, as_="polars")
        root.fold()
        same(before, runfold.read(root, as_="polars"))


def test_dropped_columns_stay_dropped(filled: Root) -> None:
    filled.fold()
    compactd("columns", "drop", "--root", filled.path, "params.opt")
    runfold.append(filled, "a", {"run_id": "r-6", "stage": "S"})
    for folded in (False, True):
        assert "params.opt" not in runfold.read(filled, unfolded=not folded)
        filled.fold()
    runfold.append(filled, "a", {"run_id": "r-6", "stage": "S", "params": {"opt": "sgd"}})  # until a record brings it again
    before = runfold.read(filled, unfolded=True, as_="polars")
    assert before["params.opt"].to_list()[-1] == "sgd"
    filled.fold()
    same(before, runfold.read(filled, as_="polars"))


def test_nothing_folded_yet(root: Root) -> None:
    for table in of_all(root, False):
        assert len(table) == 0
        assert list(getattr(table, "column_names", None) or table.columns)[:5] == ["run_id", "phase", "cohort_id", "snapshot_seq", "timestamp"]
    for table in of_all(root, True):
        assert len(table) == 0
    with runfold.snapshots(root) as s:
        assert len(s) == 0


def test_no_root(tmp_path: Path) -> None:
    for call in (
        lambda: runfold.read(tmp_path / "nowhere"),
        lambda: runfold.read(tmp_path / "nowhere", unfolded=True),
        lambda: runfold.snapshots(tmp_path / "nowhere"),
        lambda: runfold.best(tmp_path / "nowhere", "auc"),
        lambda: runfold.previous(tmp_path / "nowhere", "a", "r", "S"),
    ):
        with pytest.raises(runfold.Failed, match="not a runfold root: it does not exist"):
            call()
    with pytest.raises(runfold.Refused, match="as_='excel' is not one of 'pandas', 'polars', 'arrow'"):
        runfold.read(tmp_path, as_="excel")  # type: ignore[call-overload]


def test_not_installed(filled: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    filled.fold()
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(runfold.Refused, match=r'polars is not installed\nhint: pip install "runfold\[polars\]"'):
        runfold.read(filled, as_="polars")


def test_best(filled: Root) -> None:
    for folded in (False, True):
        best = runfold.best(filled, "loss", unfolded=not folded)
        assert best is not None
        assert (best["run_id"], best["metrics.loss"], best["params.layers"]) == ("r-2", 25000, [64, 64])
        least = runfold.best(filled, "metrics.loss", min=True, where="stage = 'T'", unfolded=not folded)
        assert least is not None
        assert least["run_id"] == "r-4"
        assert runfold.best(filled, "loss", stage="T", where="metrics.loss > 1", unfolded=not folded) is None
        filled.fold()
    with pytest.raises(runfold.Refused, match="acu"):
        runfold.best(filled, "acu")
    with pytest.raises(runfold.Refused, match="--where"):
        runfold.best(filled, "loss", where="auc >")


def test_previous(filled: Root) -> None:
    filled.fold()
    before = runfold.previous(filled, "a", "r-4", "T")
    assert before is not None
    assert (before["run_id"], before["snapshot_seq"]) == ("r-3", 3)
    assert runfold.previous(filled, "a", "r-3", "T") is None
    runfold.append(filled, "a", {"run_id": "r-5", "stage": "T"})
    newer = runfold.previous(filled, "a", "r-5", "T", unfolded=True)
    assert newer is not None
    assert newer["run_id"] == "r-4"
    with pytest.raises(runfold.Refused, match="cohort"):
        runfold.previous(filled, "../a", "r-5", "T")


@pytest.mark.parametrize("flags", [(), ("--snapshots", "per-cohort")], ids=["one file", "per cohort"])
def test_snapshots(tmp_path: Path, flags: tuple[str, ...]) -> None:
    root = Root(tmp_path / "runs", *flags)
    ids = ["r-1", 'a"b\\c', "größe: \u2028", "r:2"]
    for n, run_id in enumerate(ids):
        runfold.append(root, f"c-{n % 2}", {"run_id": run_id, "stage": "S", "snapshot": {"n": n, "text": "}\n\"x\":"}})
    root.fold()
    with runfold.snapshots(root) as s:
        assert sorted(s) == sorted(f"{i}:S" for i in ids)
        assert [s[f"{i}:S"]["n"] for i in ids] == [0, 1, 2, 3]
        assert "r-1:S" in s
        assert "r-9:S" not in s
        with pytest.raises(KeyError):
            s["r-9:S"]
        runfold.append(root, "c-0", {"run_id": "r-1", "stage": "S", "snapshot": {"n": 9}})
        root.fold()
        assert s["r-1:S"]["n"] == 0  # it is that of then
        assert runfold.snapshots(root)["r-1:S"]["n"] == 9


def test_damaged_snapshots(filled: Root) -> None:
    filled.fold()
    file = filled.path / "snapshot_index.json"
    good = file.read_bytes()
    file.unlink()
    file.write_bytes(good[:2] + b"garbage\n" + good[2:])
    with pytest.raises(runfold.Failed, match="is damaged at byte 2"):
        len(runfold.snapshots(filled))
    file.unlink()
    file.write_bytes(good)


def test_while_folds_go_on(root: Root) -> None:
    """Each table is of one generation: what one record has set together is there together, and no run is missing."""
    runfold.append_many(root, "a", [{"run_id": f"r-{n}", "stage": "S", "x": 0, "y": 0, "snapshot": {"x": 0}} for n in range(50)])
    root.fold()
    stop = threading.Event()

    def go_on() -> None:
        turn = 1
        while not stop.is_set():
            runfold.append_many(root, "a", [{"run_id": f"r-{n}", "stage": "S", "x": turn, "y": turn, "snapshot": {"x": turn}} for n in range(50)])
            root.fold()
            turn += 1

    folder = threading.Thread(target=go_on)
    folder.start()
    try:
        last = -1
        for _ in range(12):
            for table in (runfold.read(root, as_="polars"), runfold.read(root, unfolded=True, as_="polars")):
                assert len(table) == 50
                assert (table["x"] == table["y"]).all()
            x = runfold.read(root)["x"]
            assert x.nunique() == 1
            assert x[0] >= last
            last = x[0]
            with runfold.snapshots(root) as s:
                assert len({s[k]["x"] for k in s}) == 1
    finally:
        stop.set()
        folder.join()


def test_arguments_are_no_flags(filled: Root) -> None:
    filled.fold()
    with pytest.raises(runfold.Refused, match='no row has the name "--help"'):
        runfold.best(filled, "--help")
    with pytest.raises(runfold.Refused, match="cohort name"):
        runfold.previous(filled, "../a", "--json", "S")
