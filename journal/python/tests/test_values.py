"""Values of Python as JSON: the table of docs/python.md, and whatever hypothesis finds."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import math
import pathlib
import re
import sys
import types
from typing import Any

import numpy
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

import runfold
from runfold import _values

from .conftest import TOP

PAGE = TOP / "docs" / "python.md"


def table() -> list[tuple[str, str, str]]:
    """The rows of the table: an expression, and its JSON or the words of the refusal."""
    rows = re.findall(r"^\| `(.+?)` \| (?:`(.+?)`|refused: (.+?)) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [(a.replace("\\|", "|"), b, c) for a, b, c in rows]


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Layer:
    size: int
    name: str


class Scalar:
    """As those of torch: what it is only comes by item."""

    dtype, shape = "float32", ()

    def item(self) -> float:
        return 0.5


NAMES = {
    "Color": Color, "Layer": Layer, "Path": pathlib.Path, "Decimal": decimal.Decimal, "datetime": datetime.datetime, "date": datetime.date,
    "timezone": datetime.timezone, "timedelta": datetime.timedelta, "np": numpy, "pd": pandas, "torch_scalar": Scalar(),
}  # fmt: skip


def test_there_is_a_table() -> None:
    assert len(table()) > 25


@pytest.mark.parametrize(("expression", "want", "words"), table())
def test_table(expression: str, want: str, words: str) -> None:
    value = eval(expression, dict(NAMES))
    if words:
        with pytest.raises(runfold.Refused, match=re.escape(words)):
            _values.encode(value)
    else:
        assert _values.encode(value)[0] == want


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


@given(plain)
def test_what_json_has_comes_back(value: Any) -> None:
    text, nulls = _values.encode(value)
    assert nulls == 0
    back = json.loads(text)
    assert back == value
    assert repr(back) == repr(value)  # 1 is not 1.0 and not True
    text.encode()


@given(st.floats())
def test_floats(value: float) -> None:
    text, nulls = _values.encode(value)
    if math.isfinite(value):
        assert (json.loads(text), nulls) == (value, 0)
        assert math.copysign(1, json.loads(text)) == math.copysign(1, value)
    else:
        assert (text, nulls) == ("null", 1)


@given(st.integers() | st.integers(min_value=10**4000, max_value=10**5000) | st.integers(max_value=-(10**4500), min_value=-(10**4600)))
def test_integers_are_exact(value: int) -> None:
    text = _values.encode(value)[0]
    assert decimal.Decimal(text) == value
    assert re.fullmatch("-?[0-9]+", text)


@given(st.decimals())
def test_decimals(value: decimal.Decimal) -> None:
    text, nulls = _values.encode(value)
    if value.is_finite():
        assert decimal.Decimal(text).compare_total(value) == 0
        json.loads(text)
    else:
        assert (text, nulls) == ("null", 1)


@given(st.datetimes(timezones=st.timezones()))
def test_times(value: datetime.datetime) -> None:
    text = json.loads(_values.encode(value)[0])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)", text)
    assert datetime.datetime.fromisoformat(text.replace("Z", "+00:00")) == value.astimezone(datetime.timezone.utc)


@given(st.datetimes())
def test_times_without_a_zone(value: datetime.datetime) -> None:
    with pytest.raises(runfold.Refused, match="has no zone"):
        _values.encode(value)


@given(st.text())
def test_text(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        with pytest.raises(runfold.Refused, match="half a character"):
            _values.encode(value)
        with pytest.raises(runfold.Refused, match="half a character"):
            _values.encode({value: 1})
    else:
        assert json.loads(_values.encode(value)[0]) == value


@given(st.binary())
def test_bytes(value: bytes) -> None:
    for v in (value, bytearray(value), memoryview(value)):
        with pytest.raises(runfold.Refused, match="is no JSON"):
            _values.encode([v])


@given(st.sets(st.integers() | st.text(st.characters(exclude_categories=["Cs"]))))
def test_sets(value: set[Any]) -> None:
    items = list(value)
    texts = {_values.encode(set(order))[0] for order in (items, items[::-1])}
    assert len(texts) == 1
    assert set(json.loads(texts.pop())) == value


@given(plain)
def test_numpy_arrays_of_objects(value: Any) -> None:
    array = numpy.empty(1, dtype=object)
    array[0] = value
    assert json.loads(_values.encode(array)[0]) == [value]


@pytest.mark.parametrize("name", ["int8", "uint64", "float16", "float32", "float64", "bool", "longdouble", "str_"])
def test_numpy_scalars(name: str) -> None:
    v = numpy.array([1]).astype(name)[0]
    want = {"bool": True, "str_": "1"}.get(name, 1)
    assert json.loads(_values.encode(v)[0]) == want
    assert json.loads(_values.encode(numpy.array(v))[0]) == want
    assert json.loads(_values.encode({v: v})[0]) == {{"bool": "true"}.get(name, json.dumps(1.0) if "float" in name or "double" in name else "1"): want}


def test_longdouble_keeps_its_digits() -> None:
    v = numpy.longdouble("0.1") + numpy.longdouble("1e-19")
    assert _values.encode(v)[0] == str(v)
    assert _values.encode(numpy.longdouble("nan")) == ("null", 1)


def test_circles() -> None:
    a: list[Any] = [1]
    a.append({"a": (a,)})
    with pytest.raises(runfold.Refused, match="has a list within itself"):
        _values.encode(a)
    b = [[1]] * 2  # twice beside itself is no circle
    assert _values.encode(b)[0] == "[[1],[1]]"
    c: dict[str, Any] = {}
    c["c"] = types.MappingProxyType(c)
    with pytest.raises(runfold.Refused, match="within itself|nested"):
        _values.encode(c)


@pytest.mark.parametrize("depth", [1, 400, _values.MOST_LEVELS, _values.MOST_LEVELS + 1, 5000, 100_000])
def test_depth(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    try:
        if depth <= _values.MOST_LEVELS:
            assert _values.encode(value)[0] == "[" * depth + "1" + "]" * depth
        else:
            with pytest.raises(runfold.Refused, match="nested"):
                _values.encode(value)
        sys.setrecursionlimit(before)
        try:
            _values.encode(value)
        except runfold.Refused as e:
            assert "nested" in e.words
    finally:
        sys.setrecursionlimit(before)
        while isinstance(value, list):
            value = value[0]


def test_keys() -> None:
    keys = {7: "a", 2.5: "b", True: "c", None: "d", Color.RED: "e", pathlib.PurePosixPath("/x"): "f", numpy.int64(8): "g"}
    assert json.loads(_values.encode(keys)[0]) == {"7": "a", "true": "c", "2.5": "b", "null": "d", "red": "e", "/x": "f", "8": "g"}
    with pytest.raises(runfold.Refused, match='two keys that become "1"'):
        _values.encode({1: 0, "1": 0})
    for bad in [(1, 2), b"x", float("nan"), object()]:
        with pytest.raises(runfold.Refused, match="keys are text or numbers"):
            _values.encode({bad: 0})


def test_other_containers() -> None:
    got = _values.encode([collections.OrderedDict(a=1), collections.deque([1]), collections.Counter("aa"), range(2), {}.keys(), {"b": 1}.values()])[0]
    assert got == '[{"a":1},[1],{"a":2},[0,1],[],[1]]'
    with pytest.raises(runfold.Refused, match="generator"):
        _values.encode(x for x in [1])


def test_pandas() -> None:
    assert _values.encode([pandas.NA, pandas.NaT]) == ("[null,null]", 2)
    assert _values.encode(pandas.Timestamp("2026-01-31T12:00:00.123456789", tz="UTC"))[0] == '"2026-01-31T12:00:00.123456789Z"'
    assert _values.encode(pandas.Series([1, 2]))[0] == "[1,2]"
    with pytest.raises(runfold.Refused, match="DataFrame"):
        _values.encode(pandas.DataFrame({"a": [1]}))


def test_torch() -> None:
    torch = pytest.importorskip("torch")
    v = {"loss": torch.tensor(0.5, requires_grad=True), "half": torch.tensor(0.5, dtype=torch.bfloat16), "n": torch.tensor([[1, 2]]), "t": torch.tensor(True)}
    assert _values.encode(v)[0] == '{"loss":0.5,"half":0.5,"n":[[1,2]],"t":true}'
    with pytest.raises(runfold.Refused):
        _values.encode(torch.float32)


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def test_strangers() -> None:
    for v in (Hostile(), object(), print, Color, Layer, type, numpy.float64, json, 1j, NotImplemented):
        with pytest.raises(runfold.Refused, match="nobody knows what a"):
            _values.encode(v)
