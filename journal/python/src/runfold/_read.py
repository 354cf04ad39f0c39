"""Reading a root: as a table, as snapshots, and single runs. All of it is right while others append and fold.

The table of what is folded comes from index.parquet, opened once: a fold replaces the file as a whole, and an open one stays what it was. What is
not folded yet, and single runs, come from compactd.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from . import _binaries
from ._client import warn
from ._raised import Again, Failed, NoBinary, Refused, RunfoldError

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

FIXED = {
    "run_id": "string", "phase": "string", "cohort_id": "string", "snapshot_seq": "int64", "timestamp": "time",
    "_key": "string", "_stamp": "int64", "_record_id": "string", "_digest": "int64", "_stream": "string", "_writer": "string", "_extra": "string",
}  # fmt: skip
"""The columns that every index has, and their types."""

FIRST = ("run_id", "phase", "cohort_id", "snapshot_seq", "timestamp")
"""Those of them that stand before the others."""


@overload
def read(root: str | os.PathLike[str], unfolded: bool = ..., as_: Literal["pandas"] = ...) -> pandas.DataFrame: ...
@overload
def read(root: str | os.PathLike[str], unfolded: bool = ..., *, as_: Literal["polars"]) -> polars.DataFrame: ...
@overload
def read(root: str | os.PathLike[str], unfolded: bool = ..., *, as_: Literal["arrow"]) -> pyarrow.Table: ...
def read(root: str | os.PathLike[str], unfolded: bool = False, as_: str = "pandas") -> Any:
    """All runs, one row each, in snapshot_seq order, as a DataFrame of pandas or polars, or as a table of pyarrow.

    Integers stay integers where values are missing, and timestamps have the zone UTC. With unfolded the table is what a fold would make of the root
    now. It needs pandas and pyarrow, or polars, or pyarrow.
    """
    make = _makers.get(as_)
    if make is None:
        raise Refused(f"as_={as_!r} is not one of {', '.join(map(repr, _makers))}")
    if unfolded:
        return make.rows(*_unfolded(root))
    path = Path(root, "index.parquet")
    try:
        with open(path, "rb") as f:
            return make.file(f)
    except FileNotFoundError:
        _ask(root, ["columns"])  # it says so if this is no root
        return make.rows(dict(FIXED), [])
    except OSError as e:
        raise Failed(f"{path}: {e.strerror or e}") from e


def _unfolded(root: str | os.PathLike[str]) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """The types of all columns, and the rows.

    compactd has what no column of the newest generation holds in _extra. What the next fold makes columns of goes there here.
    """
    lines = _ask(root, ["runs", "--unfolded", "--columns", "*,_key", "--json"]).split("\n")
    known = json.loads(_ask(root, ["columns", "--json"]))  # after the rows: a fold in between has made columns of what is in _extra there
    dynamic = {column["name"]: column["type"] for column in known["columns"]}
    declared = {column["name"] for column in known["columns"] if column["declared"]}
    rows = []
    for line in filter(None, lines):
        row = _decoder.decode(line)
        row["phase"], row["_record_id"] = row.pop("stage"), row.pop("record_id")
        extra = _members_of_extra(line) if row.get("_extra") is not None else {}
        rows.append((row, extra))
        fresh, new = row.pop("_unfolded"), 0
        for name, (value, _) in extra.items() if fresh else ():
            t = dynamic.get(name)
            if t == "int64" and isinstance(value, float) and name not in declared:
                dynamic[name] = "double"
            elif t is None and name not in FIXED and new < MOST_NEW and len(dynamic) < known["max"]:
                t = _type_of(name, value)
                if t is not None:
                    dynamic[name] = t
                    new += 1
        for name, value in row.items():
            if name not in dynamic and name not in FIXED and name not in extra and value is not None:  # of a column that was dropped in between
                dynamic[name] = _type_of(name, value) or "string"
    for row, extra in rows:  # when all columns are known
        for name, (value, _) in list(extra.items()):
            t = dynamic.get(name)
            if row.get(name) not in (None, value):
                continue  # the record had the name twice: a column has one value, and _extra the other
            row[name] = value
            if t is not None and _cell(t, value) is not None and (t != "string" or isinstance(value, str)):
                del extra[name]
        for name, t in dynamic.items():
            value = row.get(name)
            row[name] = _cell(t, value)
            if row[name] is None and value is not None and name not in extra:  # a great integer, of a column that becomes double
                extra[name] = value, _text(value)
        row["_extra"] = "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{raw}" for name, (_, raw) in extra.items()) + "}" if extra else None
    types = {name: FIXED[name] for name in FIRST}
    types.update(dynamic)
    types.update((name, FIXED[name]) for name in ("_key", "_record_id", "_extra"))
    return types, [row for row, _ in rows]


MOST_NEW = 200
"""Columns that one record may add. docs/format/index.md has this and the other rules."""

LONGEST = 4096
"""Bytes of a text that a column may hold."""

LONGEST_NAME = 255
"""Bytes of the name of a column."""


class _Float(float):
    """A number that keeps its digits, for columns of text."""

    __slots__ = ("digits",)
    digits: str


def _float(digits: str) -> _Float:
    f = _Float(digits)
    f.digits = digits
    return f


_decoder = json.JSONDecoder(parse_float=_float)


def _members_of_extra(line: str) -> dict[str, tuple[Any, str]]:
    """What stands in _extra: each value, and the text of it."""
    name, at = "", 1
    while name != "_extra":
        if name:
            at = _decoder.raw_decode(line, at + 1)[1] + 1
        name, at = _decoder.raw_decode(line, at)
    at += 2
    members: dict[str, tuple[Any, str]] = {}
    while line[at] != "}":
        at += line[at] == ","
        name, at = _decoder.raw_decode(line, at)
        value, end = _decoder.raw_decode(line, at + 1)
        members[name] = value, line[at + 1 : end]
        at = end
    return members


def _type_of(name: str, value: object) -> str | None:
    """The type that a fold gives to a new column; None if it makes none for this value."""
    if value is None or isinstance(value, (list, dict)) or not _may_be_column(name):
        return None
    if name.startswith("metrics."):
        return "double" if _cell("double", value) is not None else None
    if name.startswith("tags.") or isinstance(value, str):
        t = "string"
    elif isinstance(value, bool):
        t = "bool"
    else:
        t = "int64" if isinstance(value, int) else "double"
    return t if _cell(t, value) is not None else None


def _text(value: Any) -> str:
    """What a column of text has of a scalar: a string, or the token of what is none."""
    return value if isinstance(value, str) else value.digits if isinstance(value, _Float) else json.dumps(value)


def _may_be_column(name: str) -> bool:
    return 0 < len(name.encode()) <= LONGEST_NAME and not any(c < " " or c == "\x7f" for c in name)


def _cell(t: str, value: Any) -> Any:
    """A value as a column of this type has it; None if it does not hold it."""
    if value is None or isinstance(value, (list, dict)):
        return None
    if t == "string":
        text = _text(value)
        return text if len(text.encode(errors="replace")) <= LONGEST and text.encode(errors="ignore") == text.encode(errors="replace") else None
    if isinstance(value, str) or isinstance(value, bool) != (t == "bool"):
        return None
    if t == "bool":
        return value
    if t == "int64":
        return value if isinstance(value, int) and -(2**63) <= value < 2**63 else None
    if isinstance(value, float):
        return float(value) if abs(value) != float("inf") else None
    return float(value) if -(2**63) <= value < 2**63 and int(float(value)) == value else None


def _ask(root: str | os.PathLike[str], args: list[str], *words: str) -> str:
    """What compactd prints. Its words become an exception, or a warning if it has found damage and has an answer all the same."""
    command = [_binaries.find("compactd"), *args, f"--root={os.fspath(root)}", "--", *words]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="surrogateescape", check=False, stdin=subprocess.DEVNULL)
    except OSError as e:
        raise NoBinary(f"{command[0]} cannot be run: {e.strerror or e}") from e
    lines = [line[len("compactd: "):] if line.startswith("compactd: ") else line for line in done.stderr.splitlines()]
    hints = [line[len("hint: "):] for line in lines if line.startswith("hint: ")]
    text = "; ".join(line for line in lines if not line.startswith("hint: "))
    if done.returncode == 0:
        return done.stdout
    if done.returncode == 4 and done.stdout:
        warn(f"{os.fspath(root)} is damaged: {text}")
        return done.stdout
    kind: type[RunfoldError] = {2: Refused, 75: Again}.get(done.returncode, Failed)
    raise kind(text or f"compactd ended with exit code {done.returncode}", "; ".join(hints))


def best(
    root: str | os.PathLike[str],
    metric: str,
    min: bool = False,
    *,
    cohort: str | None = None,
    stage: str | None = None,
    where: str | None = None,
    unfolded: bool = False,
) -> dict[str, Any] | None:
    """The run with the highest value of a metric, or with min the lowest, with all of its values; None if no run that is asked for has a number there.

    Raises Refused if no run at all has the metric: the name may be misspelt.

    where is an expression as of compactd runs: "params.lr < 0.01 and tags.owner = 'ana'".
    """
    args = ["best", "--limit=1", "--json", "--columns=*", *(["--min"] if min else []), *(["--unfolded"] if unfolded else [])]
    out = _ask(root, [*args, *_chosen(cohort=cohort, stage=stage, where=where)], metric)
    return None if not out.strip() else _row(out)


def previous(
    root: str | os.PathLike[str], cohort: str, run_id: str, stage: str = "RUN", *, where: Mapping[str, str] | None = None, unfolded: bool = False
) -> dict[str, Any] | None:
    """The run of the same cohort and stage before the given one, or None: its key, snapshot_seq and timestamp.

    where names fields of a wider key, or others, that both have: {"target": "churn_30d"}.
    """
    args = ["previous", f"--cohort={cohort}", f"--run-id={run_id}", f"--stage={stage}", "--json", *(["--unfolded"] if unfolded else [])]
    args += [f"--where={name}={value}" for name, value in (where or {}).items()]
    found: dict[str, Any] | None = json.loads(_ask(root, args))
    return found


def _chosen(**flags: str | None) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items() if value is not None]


def _row(line: str) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(line)
    extra = row.pop("_extra", None) or {}
    return {name: value for name, value in {**row, **extra}.items() if value is not None}


# Snapshots.


def snapshots(root: str | os.PathLike[str]) -> Snapshots:
    """The snapshots of all runs: a mapping from "run_id:stage" to a dict. A value is read from the file when it is asked for.

    It shows the generation that was the newest when this was called, whatever folds come later. close, or the end of a with block, closes the file.
    """
    path = Path(root, "snapshot_index.json")
    files = [path] if path.is_file() else sorted(Path(root, "cohorts").glob("*/snapshot_index.json"))
    if not files:
        _ask(root, ["columns"])  # it says so if this is no root
    return Snapshots(files)


_KEY = re.compile(rb'("(?:[^"\\]|\\.)*"):')


class Snapshots(Mapping[str, "dict[str, Any]"]):
    """See snapshots. Each line of the file is one entry; a look at all lines finds where each begins."""

    def __init__(self, paths: list[Path]) -> None:
        self._files: list[Any] = []
        try:
            for path in paths:
                try:
                    self._files.append(open(path, "rb"))
                except FileNotFoundError:
                    continue  # of a cohort that left meanwhile
        except OSError as e:
            self.close()
            raise Failed(f"{path}: {e.strerror or e}") from e
        self._places: dict[str, tuple[int, int, int]] | None = None

    def close(self) -> None:
        """Closes the file."""
        for f in self._files:
            f.close()

    def __enter__(self) -> Snapshots:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _found(self) -> dict[str, tuple[int, int, int]]:
        if self._places is None:
            places: dict[str, tuple[int, int, int]] = {}
            for n, f in enumerate(self._files):
                f.seek(0)
                at = 0
                for line in f:
                    m = _KEY.match(line)
                    if m:
                        places[json.loads(m[1])] = (n, at + m.end(), len(line) - m.end())
                    elif line.strip() not in (b"{", b"}"):
                        raise Failed(f"{f.name} is damaged at byte {at}", "compactd check says what is wrong with the root")
                    at += len(line)
            self._places = places
        return self._places

    def __getitem__(self, key: str) -> dict[str, Any]:
        n, at, size = self._found()[key]
        f = self._files[n]
        f.seek(at)
        value: dict[str, Any] = json.loads(f.read(size).rstrip(b",\n"))
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())

    def __contains__(self, key: object) -> bool:
        return key in self._found()

    def __repr__(self) -> str:
        return f"<snapshots of {len(self)} runs>"


# The three kinds of tables. Each imports what it needs when it is asked for.


class _Maker:
    def file(self, f: Any) -> Any:
        raise NotImplementedError

    def rows(self, types: dict[str, str], rows: list[dict[str, Any]]) -> Any:
        raise NotImplementedError


def _import(name: str, extra: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as e:
        raise Refused(f"{name} is not installed", f'pip install "runfold[{extra}]"') from e


def _column(name: str, t: str, rows: list[dict[str, Any]]) -> list[Any]:
    if t == "time":
        return [None if row[name] is None else _micros(row[name]) for row in rows]
    values = [row.get(name) for row in rows]
    return [None if v is None else float(v) for v in values] if t == "double" else values


class _Arrow(_Maker):
    def file(self, f: Any) -> Any:
        return _import("pyarrow.parquet", "arrow").ParquetFile(f).read()

    def rows(self, types: dict[str, str], rows: list[dict[str, Any]]) -> Any:
        pa = _import("pyarrow", "arrow")
        of = {"string": pa.string(), "int64": pa.int64(), "double": pa.float64(), "bool": pa.bool_(), "time": pa.timestamp("us", "UTC")}
        arrays = []
        for name, t in types.items():
            values = _column(name, t, rows)
            arrays.append(pa.array(values, pa.int64()).cast(of[t]) if t == "time" else pa.array(values, of[t]))
        return pa.Table.from_arrays(arrays, schema=pa.schema([pa.field(name, of[t]) for name, t in types.items()]))


class _Pandas(_Maker):
    def file(self, f: Any) -> Any:
        return self.of(_Arrow().file(f))

    def rows(self, types: dict[str, str], rows: list[dict[str, Any]]) -> Any:
        _import("pandas", "pandas")
        return self.of(_Arrow().rows(types, rows))

    def of(self, table: Any) -> Any:
        pandas, pa = _import("pandas", "pandas"), _import("pyarrow", "pandas")
        text = pandas.StringDtype()
        kinds = {pa.int64(): pandas.Int64Dtype(), pa.bool_(): pandas.BooleanDtype(), pa.string(): text, pa.large_string(): text}
        return table.to_pandas(types_mapper=kinds.get)


class _Polars(_Maker):
    def file(self, f: Any) -> Any:
        return _import("polars", "polars").read_parquet(f)

    def rows(self, types: dict[str, str], rows: list[dict[str, Any]]) -> Any:
        pl = _import("polars", "polars")
        of = {"string": pl.String, "int64": pl.Int64, "double": pl.Float64, "bool": pl.Boolean, "time": pl.Datetime("us", "UTC")}
        series = []
        for name, t in types.items():
            values = _column(name, t, rows)
            series.append(pl.Series(name, values, dtype=pl.Int64).cast(of[t]) if t == "time" else pl.Series(name, values, dtype=of[t]))
        return pl.DataFrame(series)


_makers: dict[str, _Maker] = {"pandas": _Pandas(), "polars": _Polars(), "arrow": _Arrow()}

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z")


def _micros(text: str) -> int:
    """A time as compactd prints it, in microseconds since 1970."""
    m = _TIME.fullmatch(text)
    if m is None:
        raise Failed(f"{text!r} is no time of compactd")
    year, month, day, hour, minute, second = map(int, m.groups()[:6])
    since = datetime.datetime(year, month, day, hour, minute, second) - datetime.datetime(1970, 1, 1)
    return (since.days * 86400 + since.seconds) * 10**6 + int((m[7] or "").ljust(9, "0")[:6])
