"""What runfold's import must read from a Parquet file, told by pyarrow: one JSON object a row.

The rules are those of index.ForeignRows, written a second time and for another reader: NULL and what is no number
are left out, times are RFC 3339 in UTC, or without a zone where the file has none, bytes are text or base64, maps are objects.
"""
import base64
import json

import numpy
import pyarrow as pa


def civil(days):
    """Year, month and day of a count of days since 1970-01-01, for any year."""
    z = days + 719468
    era = z // 146097
    doe = z - era * 146097
    yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    month = mp + 3 if mp < 10 else mp - 9
    return yoe + era * 400 + (month <= 2), month, doy - (153 * mp + 2) // 5 + 1


def date(days):
    y, m, d = civil(days)
    return f"-{-y:04d}-{m:02d}-{d:02d}" if y < 0 else f"{y:04d}-{m:02d}-{d:02d}"


UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def clock(n, unit):
    per = UNITS[unit]
    s, rest = divmod(n, per)
    text = f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}"
    fraction = f"{rest * (10**9 // per):09d}".rstrip("0")
    return text + ("." + fraction if fraction else "")


def timestamp(n, unit, zone):
    days, rest = divmod(n, 86400 * UNITS[unit])
    return date(days) + "T" + clock(rest, unit) + ("Z" if zone else "")


def double(x, text):
    if not numpy.isfinite(x):
        return "null"
    return text if "." in text or "e" in text else text + ".0"


def raw(b):
    try:
        return json.dumps(b.decode("utf-8"), ensure_ascii=False)
    except UnicodeDecodeError:
        return json.dumps(base64.b64encode(b).decode())


def value(s):
    """One pyarrow scalar as JSON text."""
    t = s.type
    if not s.is_valid or pa.types.is_null(t):
        return "null"
    if isinstance(t, pa.BaseExtensionType):
        name = t.extension_name
        if name == "arrow.json":
            return s.value.as_py()
        if name == "arrow.uuid":
            return json.dumps(str(s.as_py()))
        return value(s.value)
    if pa.types.is_dictionary(t):
        return value(s.value)
    if pa.types.is_boolean(t):
        return "true" if s.as_py() else "false"
    if pa.types.is_integer(t):
        return str(s.as_py())
    if pa.types.is_float16(t) or pa.types.is_float32(t):
        x = numpy.float32(s.as_py())
        return double(x, str(x))
    if pa.types.is_float64(t):
        return double(s.as_py(), repr(s.as_py()))
    if pa.types.is_decimal(t):
        return format(s.as_py(), "f")
    if pa.types.is_timestamp(t):
        return json.dumps(timestamp(s.value, t.unit, t.tz))
    if pa.types.is_date32(t):
        return json.dumps(date(s.value))
    if pa.types.is_date64(t):
        return json.dumps(date(s.value // 86400000))
    if pa.types.is_time(t):
        return json.dumps(clock(s.value, t.unit))
    if pa.types.is_duration(t):
        return str(s.value)
    if pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t):
        return json.dumps(s.as_py(), ensure_ascii=False)
    if pa.types.is_binary(t) or pa.types.is_large_binary(t) or pa.types.is_fixed_size_binary(t) or pa.types.is_binary_view(t):
        return raw(s.as_py())
    if pa.types.is_map(t):
        return "{" + ",".join(key(p["key"]) + ":" + value(p["value"]) for p in s.values) + "}"
    if pa.types.is_list(t) or pa.types.is_large_list(t) or pa.types.is_fixed_size_list(t):
        return "[" + ",".join(value(v) for v in s.values) + "]"
    if pa.types.is_struct(t):
        return members((t.field(i).name, s[i]) for i in range(t.num_fields))
    raise TypeError(f"no rule for {t}")


def key(s):
    text = value(s)
    return text if text.startswith('"') else json.dumps(text)


def members(pairs):
    texts = ((name, value(v)) for name, v in pairs)
    return "{" + ",".join(json.dumps(name, ensure_ascii=False) + ":" + text for name, text in texts if text != "null") + "}"


def lines(table):
    """The rows of a table."""
    names = [n for n in table.column_names if not n.startswith("__index_level_")]
    columns = [table.column(n) for n in names]
    return [members((n, c[i]) for n, c in zip(names, columns)) for i in range(table.num_rows)] if names else []
