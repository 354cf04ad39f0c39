"""Reads versions of Delta tables with one engine, and compares each cell with a Parquet file.

engines.py ENGINE PLAN: PLAN is JSON, a list of {table, version, newest, parquet, mapped}.
"""
import datetime
import json
import math
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq

MICROS = pa.timestamp("us", "UTC")


def rows_of(table):
    """The rows by key. Times are microseconds, so that no year is out of range."""
    columns = {}
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
        columns[name] = column.to_pylist()
    keys = columns["_key"]
    if len(set(keys)) != len(keys):
        sys.exit("a key stands twice")
    return {key: {name: values[i] for name, values in columns.items()} for i, key in enumerate(keys)}


def read_deltalake(table, version):
    import deltalake

    found = deltalake.DeltaTable(table, version=version)
    builder = deltalake.QueryBuilder().register("t", found)
    return pa.table(builder.execute("select * from t").read_all())


def read_polars(table, version):
    import polars

    return polars.read_delta(table, version=version).to_arrow()


def read_duckdb(table, version):
    import duckdb
    import duckdb_extensions

    if not hasattr(read_duckdb, "con"):
        duckdb_extensions.import_extension("delta")
        read_duckdb.con = duckdb.connect()
        read_duckdb.con.execute("load delta; set timezone = 'UTC'")
    at = "" if version is None else f", version={version}"
    return read_duckdb.con.execute(f"select * from delta_scan('{table}'{at})").to_arrow_table()


def spark():
    if not hasattr(spark, "session"):
        import delta
        from pyspark.sql import SparkSession

        builder = (
            SparkSession.builder.master("local[2]")
            .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
            .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.shuffle.partitions", "1")
            .config("spark.databricks.delta.snapshotPartitions", "1")
        )
        spark.session = delta.configure_spark_with_delta_pip(builder).getOrCreate()
    return spark.session


def read_pyspark(table, version):
    from pyspark.sql import functions as F

    reader = spark().read.format("delta")
    if version is not None:
        reader = reader.option("versionAsOf", version)
    frame = reader.load(table)
    quoted = [f"`{name}`" for name in frame.columns]
    frame = frame.select(*[F.unix_micros(F.col(q)).alias("timestamp") if q == "`timestamp`" else F.col(q) for q in quoted])
    names = frame.columns
    columns = list(zip(*[tuple(row) for row in frame.collect()])) or [()] * len(names)
    return pa.table({name: pa.array(list(column)) for name, column in zip(names, columns)})


def read_chdb(table, version):
    """ClickHouse, as the npm package chdb has it: a program of Node answers each line with a line."""
    if not hasattr(read_chdb, "node"):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "chdb.js")
        read_chdb.node = subprocess.Popen(["node", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    print(json.dumps({"table": table, "version": version}), file=read_chdb.node.stdin, flush=True)
    answer = json.loads(read_chdb.node.stdout.readline())
    if "error" in answer:
        sys.exit(f"chdb: {answer['error']}")
    rows = answer["rows"]
    return pa.table({name: pa.array([row[i] for row in rows]) for i, name in enumerate(answer["names"])})


READERS = {"deltalake": read_deltalake, "polars": read_polars, "duckdb": read_duckdb, "pyspark": read_pyspark, "chdb": read_chdb}


def same(want, got):
    if isinstance(want, float) and isinstance(got, (int, float)) and not isinstance(got, bool):
        return want == got and math.copysign(1, want) == math.copysign(1, float(got)) or got == 0 == want
    return type(want) is type(got) and want == got


def compare(what, want, got):
    if set(want) != set(got):
        sys.exit(f"{what}: {len(got)} keys, and {len(want)} were expected")
    cells = 0
    for key, row in want.items():
        if set(row) != set(got[key]):
            sys.exit(f"{what}: columns {sorted(got[key])}, and {sorted(row)} were expected")
        for name, value in row.items():
            cells += 1
            if not same(value, got[key][name]):
                sys.exit(f"{what}: {key}, {name}: {got[key][name]!r}, and {value!r} was expected")
    return cells


def main():
    engine, plan = sys.argv[1], json.load(open(sys.argv[2]))
    tables, versions, cells, refused = set(), 0, 0, 0
    for item in plan:
        want = pq.read_table(item["parquet"])
        want = rows_of(want.drop_columns(["_stamp"]))
        reads = [item["version"]] + ([None] if item["newest"] else [])
        for version in reads:
            what = f"{engine}: {item['table']} version {version}"
            if engine == "polars" and item["mapped"]:
                try:
                    READERS[engine](item["table"], version)
                except Exception as error:
                    if "column mapping" not in str(error):
                        raise
                    refused += 1
                    continue
                sys.exit(f"{what}: polars reads column mapping by now: say so in the pages")
            cells += compare(what, want, rows_of(READERS[engine](item["table"], version)))
            versions += 1
            tables.add(item["table"])
    if cells == 0:
        sys.exit("nothing was compared")
    print(f"{engine}: {versions} versions of {len(tables)} Delta tables, {cells} cells, no difference; {refused} versions with column mapping refused")


main()
