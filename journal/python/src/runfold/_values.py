"""Values of Python as JSON, as people expect it. docs/python.md has the table, and the tests read it there."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence, Set, ValuesView
from json.encoder import encode_basestring
from types import MappingProxyType
from typing import Any

from ._raised import Refused

MOST_LEVELS = 495
"""How deep values may be nested: a record has 500 levels at most, and what is given here lies within one."""

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def encode(value: object) -> tuple[str, int]:
    """The JSON text of a value, and how many NaN and infinities in it became null.

    Raises Refused for what has no JSON. The value is read now: what is changed in it later changes nothing.
    """
    e = _Encoder()
    try:
        text = e.text(value, 0)
    except RecursionError:
        raise Refused("is nested too deep") from None
    return text, e.nulls


def quote(text: str) -> str:
    """A string as JSON. Half a character (a lone surrogate) has no UTF-8, and is refused."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as e:
            raise Refused(f"{text!r} has half a character at {e.start}, which has no UTF-8", "decode the bytes that it came from, or replace it") from None
    quoted: str = encode_basestring(text)
    return quoted


def name_of(key: object) -> str:
    """The name that a key of a mapping has in JSON."""
    if isinstance(key, enum.Enum):
        return name_of(key.value)
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or isinstance(key, (bool, int, float, decimal.Decimal)):
        text, nulls = encode(key)
        if not nulls:
            return text
    if isinstance(key, os.PathLike):
        return name_of(os.fspath(key))
    if _is_array(key) and not isinstance(key, type):
        inner = _of_array(key)
        if not isinstance(inner, list):
            return name_of(inner)
    raise Refused(f"has the key {_short(key)}, a {_type_of(key)}: keys are text or numbers")


def frozen(text: str) -> Any:
    """What encode made, as a value that cannot be changed in place: a change there would be lost without a word."""
    return _freeze(json.loads(text))


def _freeze(value: Any) -> Any:
    if isinstance(value, dict):
        return MappingProxyType({k: _freeze(v) for k, v in value.items()})
    if isinstance(value, list):
        return tuple(map(_freeze, value))
    return value


class _Encoder:
    """Encodes one value. Each level of it is one call of text."""

    __slots__ = ("nulls", "within")

    def __init__(self) -> None:
        self.nulls = 0
        self.within: set[int] = set()  # the containers around

    def text(self, v: Any, level: int) -> str:
        t = type(v)
        if t is str:
            return quote(v)
        if t is float:
            return self.number(v)
        if v is None:
            return "null"
        if t is bool:
            return "true" if v else "false"
        if t is int:
            return _digits(v)
        plain = self.plain(v)
        if plain is not None:
            return plain
        if isinstance(v, (bytes, bytearray, memoryview)):
            raise Refused(f"{_short(v)}: {_type_of(v)} is no JSON", "decode it, or write .hex() or base64")
        inner = _inner(v)
        if inner is v and not isinstance(v, Mapping):
            raise Refused(f"{_short(v)}: nobody knows what a {_type_of(v)} is in JSON", "give numbers, text, lists, dicts, or str() of it")
        if level >= MOST_LEVELS:
            raise Refused(f"is nested deeper than {MOST_LEVELS} levels")
        if id(v) in self.within:
            raise Refused(f"has a {_type_of(v)} within itself")
        self.within.add(id(v))
        # The loops stand here, and not in functions of their own, so that a level takes one frame of the stack; a comprehension is one, too.
        if isinstance(inner, Mapping):
            members: dict[str, str] = {}
            for key, value in inner.items():
                name = name_of(key)
                if name in members:
                    raise Refused(f"has two keys that become {quote(name)}")
                members[name] = quote(name) + ":" + self.text(value, level + 1)
            text = "{" + ",".join(members.values()) + "}"
        elif isinstance(inner, list):
            items: list[str] = []
            for value in inner:
                items.append(self.text(value, level + 1))
            text = "[" + ",".join(items) + "]"
        else:
            text = self.text(inner, level + 1)
        self.within.discard(id(v))
        return text

    def number(self, v: float) -> str:
        if math.isfinite(v):
            return float.__repr__(v)
        self.nulls += 1
        return "null"

    def plain(self, v: Any) -> str | None:
        """The JSON of what holds no other values; None of what does."""
        if isinstance(v, enum.Enum):
            return None
        if isinstance(v, str):
            return quote(str.__str__(v))
        if isinstance(v, float):
            return self.number(v)
        if isinstance(v, int):
            return _digits(v)
        if isinstance(v, decimal.Decimal):
            if v.is_finite():
                return _digits_of(v)
            self.nulls += 1
            return "null"
        if isinstance(v, datetime.datetime):
            return self.moment(v)
        if isinstance(v, datetime.date):
            return quote(v.isoformat())
        if isinstance(v, os.PathLike):
            path = os.fspath(v)
            return quote(path) if isinstance(path, str) else None
        if _is_missing(v):
            self.nulls += 1
            return "null"
        return None

    def moment(self, v: datetime.datetime) -> str:
        if v != v:  # NaT of pandas, which is a datetime
            self.nulls += 1
            return "null"
        offset = v.utcoffset()
        if offset is None:
            raise Refused(f"{v} has no zone: nobody knows when it was", "use datetime.now(timezone.utc), or .astimezone() for the zone of this machine")
        if offset.total_seconds() % 60:
            v = v.astimezone(datetime.timezone.utc)  # RFC 3339 has no seconds in an offset
        text = v.isoformat()
        if "." not in text:
            text = v.isoformat(timespec="microseconds")
        return quote(text[:-6] + "Z" if text.endswith("+00:00") else text)


def _inner(v: Any) -> Any:
    """What a value stands for: a Mapping, a list, or another value; itself if nobody knows."""
    if isinstance(v, enum.Enum):
        return v.value
    if isinstance(v, Mapping):
        return v
    if dataclasses.is_dataclass(v) and not isinstance(v, type):
        return {f.name: getattr(v, f.name) for f in dataclasses.fields(v)}
    if isinstance(v, (list, tuple)):
        return list(v)
    if isinstance(v, Set):
        return _in_order(v)
    if _is_array(v) and not isinstance(v, type):
        return _of_array(v)
    if callable(getattr(v, "numpy", None)) and hasattr(v, "dtype") and not isinstance(v, type):
        return v.numpy()  # a tensor of TensorFlow
    if isinstance(v, (Sequence, ValuesView)):
        return list(v)
    return v


def _in_order(v: Set[Any]) -> list[Any]:
    """A set in an order that is the same in each process, so that equal sets are equal bytes."""
    try:
        return sorted(v)
    except TypeError:
        return sorted(v, key=lambda item: (_type_of(item), repr(item)))


def _is_array(v: object) -> bool:
    """Scalars and arrays of numpy, torch, jax and others, without importing any of them."""
    return hasattr(v, "dtype") and hasattr(v, "shape") and callable(getattr(v, "item", None))


def _of_array(v: Any) -> Any:
    if tuple(v.shape) != ():
        return v.tolist()
    kind = str(v.dtype)
    if kind.startswith(("datetime64", "timedelta64")):
        raise Refused(f"{v} is a {kind}: it has no zone" if kind.startswith("d") else f"{v} is a {kind}", "make a datetime with a zone of it, or text, or seconds")
    item = v.item()
    if type(item) is not type(v):
        return item
    text = str(v)  # a longdouble of numpy is an item of itself; these are its digits
    return decimal.Decimal(text) if _NUMBER.fullmatch(text) else float(v)


def _is_missing(v: object) -> bool:
    """pandas.NA, which is no value."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and v is getattr(pandas, "NA", None)


def _digits(v: int) -> str:
    try:
        return int.__repr__(v)
    except ValueError:  # more digits than sys.set_int_max_str_digits allows; decimal has no such bound
        return _digits_of(decimal.Decimal(v))


def _digits_of(v: decimal.Decimal) -> str:
    text = str(v)
    if not _NUMBER.fullmatch(text):
        raise Refused(f"{text} is no number of JSON")
    return text


def _type_of(v: object) -> str:
    t = type(v)
    return t.__qualname__ if t.__module__ == "builtins" else f"{t.__module__}.{t.__qualname__}"


def _short(v: object) -> str:
    try:
        text = repr(v)
    except Exception:  # of a stranger's class
        return object.__repr__(v)
    return text if len(text) <= 60 else text[:57] + "..."
