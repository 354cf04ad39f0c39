"""Makes Parquet files with the writers that people use, and what is to be read from them.

    pip install -r requirements.txt
    python make.py OUT            the small files that are kept beside this script
    python make.py OUT --all      every codec, version of pages, size and writer, for the live test

For each table OUT has NAME.jsonl, the rows as expect.py says them, and for each file that holds the table a line in
cases.txt: FILE NAME. Every file is read back here by pyarrow, or by DuckDB where pyarrow cannot, and compared with
the table: what a writer or both readers get wrong is no business of ours.

The files of Spark (spark-*.parquet) are not made here; see spark.py.
"""
import datetime
import decimal
import os
import random
import sys
import uuid

os.environ.setdefault("FASTPARQUET_DATAPAGE_V2", "0")

import duckdb
import fastparquet
import fastparquet.writer
import numpy
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq

import expect

OUT = sys.argv[1]
ALL = "--all" in sys.argv
CASES = []
random.seed(1)


def want(name, table):
    with open(os.path.join(OUT, name + ".jsonl"), "w", encoding="utf-8") as f:
        f.writelines(line + "\n" for line in expect.lines(table))


def same(got, table):
    """Two readings of one table, whatever Arrow types the readers chose."""
    try:
        if got.cast(table.schema).equals(table):
            return
    except (pa.ArrowException, ValueError):
        pass
    got, table = expect.lines(got), expect.lines(table)
    assert got == table, next(((g, w) for g, w in zip(got, table) if g != w), (len(got), len(table)))


def case(file, name, table, by="pyarrow"):
    path = os.path.join(OUT, file)
    if by == "pyarrow":
        got = pq.ParquetFile(path).read()
    elif by == "duckdb":
        got = duckdb.sql(f"from read_parquet('{path}')").to_arrow_table()
    if by:
        same(got, table)
    CASES.append((file, name))


# ---- tables of every size ----


def rows(n, text):
    return pa.table({
        "run_id": [f"r{i:05d}" for i in range(n)],
        "auc": [None if i % 7 == 3 else (i + 1) / n for i in range(n)],
        "rows": [None if i % 11 == 5 else i * 1000003 for i in range(n)],
        "ok": [None if i % 5 == 4 else i % 3 == 0 for i in range(n)],
        "note": [text(i) for i in range(n)],
    })


letters = "abcdefghijklmnopqrstuvwxyz0123456789"
SIZES = {"short": rows(90, lambda i: None if i % 2 else "same" * 12)}  # more than 3 times smaller, in one page
if ALL:
    SIZES["tiny"] = rows(3, lambda i: "x")
    SIZES["random"] = rows(3000, lambda i: "".join(random.choices(letters, k=400)))  # 1.2 MB that do not shrink
    SIZES["repeated"] = rows(3000, lambda i: "abcd" * 150)  # 1.8 MB that shrink 100 times


def codecs():
    for name, table in SIZES.items():
        the_rows = table  # DuckDB finds it by this name
        want(name, table)
        for codec in ["none", "snappy", "gzip", "brotli", "lz4", "zstd"]:
            for version in ["1.0", "2.0"]:
                for dictionary in [False, True] if ALL else [False]:
                    file = f"pyarrow-{codec}-v{version[0]}-{'dict' if dictionary else 'plain'}-{name}.parquet"
                    pq.write_table(table, os.path.join(OUT, file), compression=codec, data_page_version=version,
                                   use_dictionary=dictionary, data_page_size=8 << 20)
                    case(file, name, table)
        for codec in ["uncompressed", "snappy", "gzip", "brotli", "lz4", "zstd"] if ALL else ["lz4", "zstd"]:
            file = f"polars-{codec}-{name}.parquet"
            polars.from_arrow(table).write_parquet(os.path.join(OUT, file), compression=codec)
            case(file, name, table)
        for codec in ["uncompressed", "snappy", "gzip", "brotli", "lz4", "lz4_raw", "zstd"] if ALL else ["snappy", "lz4_raw"]:
            for version in ["v1", "v2"]:
                file = f"duckdb-{codec}-{version}-{name}.parquet"
                duckdb.sql(f"copy (from the_rows) to '{OUT}/{file}' (format parquet, compression {codec}, parquet_version {version})")
                case(file, name, table)
        frame = table.to_pandas()
        for codec in ["UNCOMPRESSED", "SNAPPY", "GZIP", "BROTLI", "LZ4", "LZ4_RAW", "ZSTD"] if ALL else ["LZ4", "LZ4_RAW", "BROTLI"]:
            for v2 in [False, True]:
                fastparquet.writer.DATAPAGE_VERSION = 2 if v2 else 1
                file = f"fastparquet-{codec.lower()}-v{1 + v2}-{name}.parquet"
                typed = frame.astype({"rows": "Int64", "ok": "boolean", "run_id": object, "note": object})
                fastparquet.write(os.path.join(OUT, file), typed, compression=codec, object_encoding="utf8", write_index=False)
                case(file, name, table)
        file = f"pandas-lz4-{name}.parquet"
        frame.iloc[::-1].sort_values("run_id").to_parquet(os.path.join(OUT, file), compression="lz4")
        got = pq.read_table(os.path.join(OUT, file))
        want(f"pandas-{name}", got)
        case(file, f"pandas-{name}", got)


# ---- types ----

D = decimal.Decimal
far = [-62135596800, -2208988800, -1, 0, 1, 1769860800, 253402300799]  # years 1, 1900, 1969, 1970, 2026, 9999


def types():
    n = 7
    floats = [0.1, -0.0, 1e300, float("nan"), float("inf"), 5e-324, None]
    columns = {
        "i8": pa.array([-128, 127, 0, None, 1, 2, 3], pa.int8()),
        "i16": pa.array([-32768, 32767, 0, None, 1, 2, 3], pa.int16()),
        "i32": pa.array([-2**31, 2**31 - 1, 0, None, 1, 2, 3], pa.int32()),
        "i64": pa.array([-2**63, 2**63 - 1, 0, None, 1, 2, 3], pa.int64()),
        "u8": pa.array([255, 128, 0, None, 1, 2, 3], pa.uint8()),
        "u16": pa.array([65535, 32768, 0, None, 1, 2, 3], pa.uint16()),
        "u32": pa.array([2**32 - 1, 2**31, 0, None, 1, 2, 3], pa.uint32()),
        "u64": pa.array([2**64 - 1, 2**63, 0, None, 1, 2, 3], pa.uint64()),
        "f16": pa.array([numpy.float16(x) if x is not None else None for x in [0.1, -2.5, 65504, None, 6e-8, 0, 1]], pa.float16()),
        "f32": pa.array([0.1, -0.0, 3.4e38, float("nan"), float("-inf"), 1e-45, None], pa.float32()),
        "f64": pa.array(floats, pa.float64()),
        "bool": pa.array([True, False, None, True, True, False, None]),
        "d9": pa.array([D("-1234567.89"), D("0.01"), None, D("0"), D("9999999.99"), D("-0.01"), D("1")], pa.decimal128(9, 2)),
        "d18": pa.array([D("-123456789012345.678"), None, D("0.001"), D(0), D(1), D(2), D(3)], pa.decimal128(18, 3)),
        "d38": pa.array([D("-1234567890123456789012345678.0123456789"), D("99999999999999999999999999.9"), None, D(0), D(1), D(2), D(3)], pa.decimal128(38, 10)),
        "d76": pa.array([D("-1234567890123456789012345678901234567890.01"), D(1), None, D(0), D(1), D(2), D(3)], pa.decimal256(76, 2)),
        "date": pa.array([-719162, -25567, -1, 0, None, 20484, 2932896], pa.date32()),
        "ts_ms": pa.array([x * 1000 + 1 for x in far], pa.timestamp("ms")),
        "ts_us": pa.array([x * 10**6 + 1 for x in far], pa.timestamp("us", "UTC")),
        "ts_ns": pa.array([x * 10**9 + 1 if abs(x) < 9e9 else None for x in far], pa.timestamp("ns", "Europe/Berlin")),
        "time_ms": pa.array([0, 1, 86399999, 43200000, None, 5, 6], pa.time32("ms")),
        "time_us": pa.array([0, 1, 86399999999, 43200000000, None, 5, 6], pa.time64("us")),
        "time_ns": pa.array([0, 1, 86399999999999, 43200000000000, None, 5, 6], pa.time64("ns")),
        "text": ["", "größe \"x\"\\\n", "日次", None, "a\tb", "\u2028", "z"],
        "bytes": pa.array([b"", b"abc", b"\xff\x00", None, "ü".encode(), b"\x00", b"\x80"], pa.binary()),
        "fixed": pa.array([b"abcd", b"\xff\x00\x00\x01", None, b"\x00" * 4, b"wxyz", b"1234", b"    "], pa.binary(4)),
        "uuid": pa.array([uuid.UUID(int=i * 2**100 + 7).bytes if i else None for i in range(n)], pa.uuid()),
        "json": pa.array(['{"a":[1,2.50]}', '"x"', "[]", None, "17", "true", '{"b":{}}'], pa.json_()),
        "word": pa.array(["a", "b", None, "a", "b", "a", "a"]).dictionary_encode(),
        "nothing": pa.nulls(n),
    }
    table = pa.table(columns)
    want("types", table)
    for version in ["1.0", "2.0"]:
        for dictionary in [False, True]:
            file = f"types-v{version[0]}-{'dict' if dictionary else 'plain'}.parquet"
            pq.write_table(table, os.path.join(OUT, file), data_page_version=version, use_dictionary=dictionary, compression="lz4",
                           version="2.6", write_statistics=dictionary, write_page_checksum=True)
            case(file, "types", table)
    old = table.select(["i32", "ts_ms", "ts_us", "time_ms", "d9", "u8", "u16", "u32", "date", "text"])
    want("types-old", old)
    pq.write_table(old, os.path.join(OUT, "types-format1.parquet"), version="1.0", data_page_version="1.0",
                   coerce_timestamps="us", store_schema=False)
    case("types-format1.parquet", "types-old", old)
    numbers = table.select(["d9", "d18", "d38"])
    want("decimals", numbers)
    pq.write_table(numbers, os.path.join(OUT, "decimals-as-integers.parquet"), store_decimal_as_integer=True)
    case("decimals-as-integers.parquet", "decimals", numbers)
    times = pa.table({"at": pa.array([-9 * 10**18, -1, 0, None, 1769860800123456789], pa.timestamp("ns", "UTC"))})
    want("int96", times)
    pq.write_table(times, os.path.join(OUT, "int96.parquet"), use_deprecated_int96_timestamps=True)
    case("int96.parquet", "int96", times)


def encodings():
    n = 400 if ALL else 150
    random.seed(2)
    ints = [random.randrange(-2**31, 2**31) if i % 3 else i for i in range(n)]
    table = pa.table({
        "delta32": pa.array([None if i % 9 == 8 else x for i, x in enumerate(ints)], pa.int32()),
        "delta64": pa.array([x * 2**32 + 5 for x in ints], pa.int64()),
        "steady": pa.array(range(1000, 1000 + n), pa.int64()),
        "lengths": [None if i % 10 == 7 else "x" * (i % 13) for i in range(n)],
        "prefixes": [f"run/{i // 10:05d}/{i}" for i in range(n)],
        "split32": pa.array([x / 7 for x in ints], pa.float32()),
        "split64": pa.array([None if i % 4 == 1 else x / 7 for i, x in enumerate(ints)], pa.float64()),
        "splitint": pa.array(ints, pa.int32()),
        "splitfixed": pa.array([x.to_bytes(5, "big", signed=True) for x in ints], pa.binary(5)),
        "prefixfixed": pa.array([x.to_bytes(5, "big", signed=True) for x in ints], pa.binary(5)),
        "runs": [i % 70 < 60 for i in range(n)],
    })
    want("encodings", table)
    encoding = {
        "delta32": "DELTA_BINARY_PACKED", "delta64": "DELTA_BINARY_PACKED", "steady": "DELTA_BINARY_PACKED",
        "lengths": "DELTA_LENGTH_BYTE_ARRAY", "prefixes": "DELTA_BYTE_ARRAY", "prefixfixed": "DELTA_BYTE_ARRAY",
        "split32": "BYTE_STREAM_SPLIT", "split64": "BYTE_STREAM_SPLIT", "splitint": "BYTE_STREAM_SPLIT", "splitfixed": "BYTE_STREAM_SPLIT",
        "runs": "RLE",
    }
    for version in ["1.0", "2.0"]:
        file = f"encodings-v{version[0]}.parquet"
        pq.write_table(table, os.path.join(OUT, file), use_dictionary=False, column_encoding=encoding, data_page_version=version,
                       compression="zstd")
        case(file, "encodings", table)
    words = pa.table({"word": [f"word {i * i % 211}" for i in range(n)], "n": pa.array([i * i % 211 for i in range(n)], pa.int64())})
    want("fallback", words)
    pq.write_table(words, os.path.join(OUT, "fallback.parquet"), dictionary_pagesize_limit=600, data_page_size=100, write_batch_size=20,
                   compression="snappy")
    case("fallback.parquet", "fallback", words)
    pq.write_table(words, os.path.join(OUT, "groups.parquet"), row_group_size=57, compression="lz4", write_page_index=True)
    case("groups.parquet", "fallback", words)


def nested():
    point = pa.struct([("x", pa.float64()), ("y", pa.list_(pa.int64()))])
    table = pa.table({
        "id": [1, 2, 3, 4],
        "list": pa.array([[1.5, None], [], None, [2.5]], pa.list_(pa.float64())),
        "deep": pa.array([[["a"], [], None], None, [], [["b", None], ["c"]]], pa.list_(pa.list_(pa.string()))),
        "point": pa.array([{"x": 1.0, "y": [1, 2]}, None, {"x": None, "y": None}, {"x": 2.0, "y": []}], point),
        "points": pa.array([[{"x": 1.0, "y": [1]}, None], None, [], [{"x": None, "y": []}, {"x": 3.0, "y": [4, 5]}]], pa.list_(point)),
        "map": pa.array([[("a", 1), ("b", None)], [], None, [("c", 3)]], pa.map_(pa.string(), pa.int64())),
        "codes": pa.array([[(5, [{"x": 1.0, "y": []}])], [], None, [(7, None)]], pa.map_(pa.int32(), pa.list_(point))),
        "fixed": pa.array([[1, 2], None, [3, None], [5, 6]], pa.list_(pa.int32(), 2)),
    })
    want("nested", table)
    for version in ["1.0", "2.0"]:
        for pages in ["one", "many"]:
            file = f"nested-v{version[0]}-{pages}.parquet"
            pq.write_table(table, os.path.join(OUT, file), data_page_version=version, compression="lz4",
                           data_page_size=1 if pages == "many" else None, write_batch_size=1 if pages == "many" else None)
            case(file, "nested", table)
    file = "nested-oldlist.parquet"
    pq.write_table(table.drop_columns(["fixed"]), os.path.join(OUT, file), use_compliant_nested_type=False)
    want("nested-oldlist", table.drop_columns(["fixed"]))
    case(file, "nested-oldlist", table.drop_columns(["fixed"]))


def duck():
    duckdb.sql("set timezone = 'UTC'")
    q = """select 1::utinyint as u8, 65535::usmallint as u16, 4294967295::uinteger as u32, 18446744073709551615::ubigint as u64,
        -123.45::decimal(4,2 + 0) as d4, -1234567.891::decimal(18,3) as d18, 0.1::decimal(38,20) as d38,
        timestamp '1969-12-31 23:59:59.999999' as ts, timestamp_ns '2026-01-31 12:00:00.123456789' as ts_ns,
        timestamp_ms '0001-01-01 00:00:00.001' as ts_ms, timestamptz '2026-01-31 12:00:00+02' as tz,
        date '1582-10-04' as day, time '23:59:59.5' as clock, 'b'::enum('a','b') as word, '\\xff\\x00'::blob as raw,
        map {'k': [1, 2]} as m, {'a': null, 'b': {'c': 'x'}} as s, [[1], [], null] as l, true as ok, 1.5::float as f
        union all by name select null as u8"""
    q = q.replace("decimal(4,2 + 0)", "decimal(5,2)")
    for version in ["v1", "v2"]:
        file = f"duckdb-types-{version}.parquet"
        duckdb.sql(f"copy ({q}) to '{OUT}/{file}' (format parquet, compression lz4_raw, parquet_version {version})")
        got = duckdb.sql(f"from read_parquet('{OUT}/{file}')").to_arrow_table()
        want(f"duckdb-types-{version}", got)
        # pyarrow 26 cannot read the deltas of DuckDB's unsigned integers of 32 bits
        case(file, f"duckdb-types-{version}", got, by="pyarrow" if version == "v1" else "duckdb")
    # What pyarrow reads as bytes or not at all: the rows are said here.
    file = "duckdb-interval.parquet"
    duckdb.sql(f"""copy (select interval '14 months 3 days 3725.5 seconds' as i, '24:00:00'::time as midnight,
        '6f1c2a34-0000-4000-8000-00000000002a'::uuid as id) to '{OUT}/{file}' (format parquet)""")
    row = duckdb.sql(f"select i, midnight::text, id::text from '{OUT}/{file}'").fetchall()[0]
    assert row[1:] == ("24:00:00", "6f1c2a34-0000-4000-8000-00000000002a"), row
    with open(os.path.join(OUT, "duckdb-interval.jsonl"), "w") as f:
        f.write('{"i":"P14M3DT3725.5S","midnight":"24:00:00","id":"6f1c2a34-0000-4000-8000-00000000002a"}\n')
    case(file, "duckdb-interval", None, by=None)


def shapes():
    none = pa.table({"run_id": pa.array([], pa.string()), "auc": pa.array([], pa.float64())})
    want("no-rows", none)
    pq.write_table(none, os.path.join(OUT, "no-rows.parquet"), compression="lz4")
    case("no-rows.parquet", "no-rows", none)
    polars.from_arrow(none).write_parquet(os.path.join(OUT, "no-rows-polars.parquet"))
    case("no-rows-polars.parquet", "no-rows", none)
    bare = pa.table({})
    want("no-columns", bare)
    pq.write_table(bare, os.path.join(OUT, "no-columns.parquet"))
    case("no-columns.parquet", "no-columns", bare)
    nulls = pa.table({"a": pa.nulls(5, pa.float32()), "b": pa.nulls(5, pa.string()), "c": pa.nulls(5, pa.list_(pa.int64()))})
    want("nulls", nulls)
    for codec in ["lz4", "snappy", "zstd"]:
        for version in ["1.0", "2.0"]:
            file = f"nulls-{codec}-v{version[0]}.parquet"
            pq.write_table(nulls, os.path.join(OUT, file), compression=codec, data_page_version=version)
            case(file, "nulls", nulls)
    if ALL:
        wide = pa.table({f"c{i}": pa.array([i, None, i + 0.5]) for i in range(10000)})
        want("wide", wide)
        pq.write_table(wide, os.path.join(OUT, "wide.parquet"), compression="lz4")
        case("wide.parquet", "wide", wide)


for make in [types, encodings, nested, duck, shapes, codecs]:
    make()
with open(os.path.join(OUT, "cases.txt"), "w") as f:
    f.writelines(f"{file} {name}\n" for file, name in sorted(CASES))
print(len(CASES), "files")
