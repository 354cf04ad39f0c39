"""Reads the files that internal/padded makes with readers, and compares every cell of each row with what must be there.

padded.py READER,... DIR
"""
import datetime
import itertools
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
# Below a millisecond hyparquet keeps nothing of a time: it makes a Date of JavaScript.
COARSE = {"hyparquet"}


def micros(value):
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            value = value.replace(tzinfo=datetime.timezone.utc)
        return (value - EPOCH) // datetime.timedelta(microseconds=1)
    return value


def from_arrow(table):
    import pyarrow as pa

    for i, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(i, field.name, table.column(i).cast(pa.timestamp("us", field.type.tz)).cast(pa.int64()))
    return table.to_pylist()


def run(*command, **env):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env})
    if done.returncode:
        sys.exit(f"{command[:4]}: exit code {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def from_lines(text):
    return [json.loads(line) for line in text.splitlines()]


# Each reader has the index as a whole, and what it finds where a column is one of some values, or between two. They use row groups, pages and bloom filters
# to leave out what cannot be there.


class PyArrow:
    def __init__(self, path):
        import pyarrow.parquet as pq

        self.path, self.pq = path, pq

    def all(self):
        table = self.pq.read_table(self.path, page_checksum_verification=True)
        file = self.pq.ParquetFile(self.path, page_checksum_verification=True)
        groups = [file.read_row_group(i) for i in range(file.num_row_groups)]
        rows = from_arrow(table)
        if rows != list(itertools.chain.from_iterable(map(from_arrow, groups))):
            sys.exit("pyarrow reads other rows group by group")
        self.layout(file.metadata)
        return rows

    def layout(self, meta):
        """What pads them is there: else this test tests nothing."""
        gaps, ends = 0, 4
        with open(self.path, "rb") as f:
            for i in range(meta.num_row_groups):
                columns = [meta.row_group(i).column(j) for j in range(meta.num_columns)]
                starts = [c.dictionary_page_offset or c.data_page_offset for c in columns]
                if starts[0] % 4096 or not all(c.has_column_index and c.has_offset_index for c in columns):
                    sys.exit(f"row group {i} begins at {starts[0]}, or has no page index")
                last = max(start + c.total_compressed_size for start, c in zip(starts, columns))
                f.seek(max(ends, starts[0] - 16))
                gap = f.read(starts[0] - f.tell())
                gaps += gap == bytes(16)
                ends = last
        if meta.num_row_groups < 4 or gaps < 2:
            sys.exit(f"{meta.num_row_groups} row groups and {gaps} gaps of zeros: too few for this test")

    def equal(self, column, values):
        return from_arrow(self.pq.read_table(self.path, filters=[(column, "in", values)]))

    def between(self, column, low, high):
        return from_arrow(self.pq.read_table(self.path, filters=[(column, ">=", low), (column, "<=", high)]))


class Pandas:
    def __init__(self, path):
        import pandas

        self.path, self.pd = path, pandas

    def rows(self, **options):
        frame = self.pd.read_parquet(self.path, dtype_backend="pyarrow", **options)
        frame["timestamp"] = frame["timestamp"].astype("int64[pyarrow]")
        return [{name: None if self.pd.isna(value) else value for name, value in row.items()} for row in frame.to_dict("records")]

    def all(self):
        return self.rows()

    def equal(self, column, values):
        return self.rows(filters=[(column, "in", values)])

    def between(self, column, low, high):
        return self.rows(filters=[(column, ">=", low), (column, "<=", high)])


class Polars:
    def __init__(self, path):
        import polars

        self.path, self.pl = path, polars

    def all(self):
        return self.pl.read_parquet(self.path).to_dicts()

    def where(self, filter):
        return self.pl.scan_parquet(self.path).filter(filter).collect().to_dicts()

    def equal(self, column, values):
        return [row for value in values for row in self.where(self.pl.col(column) == value)]

    def between(self, column, low, high):
        return self.where(self.pl.col(column).is_between(low, high))


class DuckDB:
    def __init__(self, path):
        import duckdb

        self.path, self.con = path, duckdb.connect()
        self.con.execute("set timezone = 'UTC'")

    def where(self, condition, *values):
        found = self.con.execute(f"select * replace(epoch_us(timestamp) as timestamp) from read_parquet(?) where {condition} order by snapshot_seq", [self.path, *values])
        names = [d[0] for d in found.description]
        return [dict(zip(names, row)) for row in found.fetchall()]

    def all(self):
        order = self.con.execute("select list(snapshot_seq order by file_row_number) from read_parquet(?, file_row_number = true)", [self.path]).fetchone()[0]
        if order != sorted(order):
            sys.exit("DuckDB numbers rows in another order")
        return self.where("true")

    def equal(self, column, values):
        return [row for value in values for row in self.where(f"{column} = ?", value)]

    def between(self, column, low, high):
        return self.where(f"{column} between ? and ?", low, high)


class Spark:
    def __init__(self, path):
        from pyspark.sql import SparkSession, functions

        self.path, self.f = path, functions
        # Tasks read splits of the file: each row must be in one of them.
        self.session = (
            SparkSession.builder.master("local[2]")
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .config("spark.sql.files.maxPartitionBytes", "700000")
            .config("spark.sql.files.openCostInBytes", "1")
            .getOrCreate()
        )

    def where(self, condition):
        frame = self.session.read.parquet("file://" + self.path)
        if frame.rdd.getNumPartitions() < 4:
            sys.exit("Spark reads the file in fewer than 4 splits")
        frame = frame.where(condition).withColumn("timestamp", self.f.unix_micros("timestamp")).orderBy("snapshot_seq")
        names = frame.columns
        return [dict(zip(names, row)) for row in frame.collect()]

    def all(self):
        return self.where("true")

    def equal(self, column, values):
        return [row for value in values for row in self.where(f"{column} = '{value}'")]

    def between(self, column, low, high):
        return self.where(f"{column} between {low} and {high}")


class Java:
    """parquet-java without Spark. Its version 1.12.0 takes the place of a row group from file_offset (PARQUET-2078)."""

    def __init__(self, path):
        self.path, self.classes = path, os.path.join(os.environ["JAVA_LIBS"], "*")

    def run(self, *args):
        return from_lines(run("java", "-cp", self.classes, os.path.join(HERE, "Padded.java"), self.path, *args))

    def all(self):
        return self.run("split", "700000")

    def equal(self, column, values):
        assert column == "_key"
        return self.run("key", ",".join(values))

    def between(self, column, low, high):
        return self.run("seq", str(low), str(high))


class ClickHouse:
    def __init__(self, path):
        self.path = path

    def where(self, condition):
        query = f"select * replace(toUnixTimestamp64Micro(timestamp) as timestamp) from file('{self.path}', Parquet) where {condition} order by snapshot_seq"
        script = "const {query} = require(process.env.CHDB); process.stdout.write(query(process.argv[1], 'JSONEachRow'))"
        query += " settings output_format_json_quote_64bit_integers = 0, input_format_parquet_bloom_filter_push_down = 1"
        return from_lines(run("node", "-e", script, query))

    def all(self):
        return self.where("1")

    def equal(self, column, values):
        return [row for value in values for row in self.where(f"{column} = '{value}'")]

    def between(self, column, low, high):
        return self.where(f"{column} between {low} and {high}")


class HyParquet:
    """It has no filter that leaves out row groups here: it reads rows by their number."""

    def __init__(self, path):
        self.path = path

    def all(self):
        return from_lines(run("node", os.path.join(HERE, "padded.js"), "hyparquet", self.path, "0", str(1 << 40)))

    def rows(self, first, end):
        return from_lines(run("node", os.path.join(HERE, "padded.js"), "hyparquet", self.path, str(first), str(end)))


READERS = {
    "pyarrow": PyArrow, "pandas": Pandas, "polars": Polars, "duckdb": DuckDB, "pyspark": Spark, "java": Java, "chdb": ClickHouse,
    "hyparquet": HyParquet,
}  # fmt: skip


def compare(what, want, got, reader):
    if len(want) != len(got):
        sys.exit(f"{what}: {len(got)} rows, and {len(want)} were expected")
    cells = 0
    for w, g in zip(want, got):
        if len(g) != len(w) + 5:  # _stamp, _record_id, _digest, _stream, _writer: who appended it, and when
            sys.exit(f"{what}: columns {sorted(g)}")
        if not (g["_stamp"] and g["_record_id"] and g["_digest"] and g["_stream"] and g["_writer"]):
            sys.exit(f"{what}: {w['_key']}: no identity: {g}")
        for name, value in w.items():
            found = micros(g[name])
            if name == "timestamp" and reader in COARSE:
                value, found = value // 1000, found // 1000
            cells += 1
            if found != value or isinstance(found, bool) != isinstance(value, bool):
                sys.exit(f"{what}: {w['_key']}, {name}: {found!r}, and {value!r} was expected")
    return cells


def index(reader, directory, want):
    file = READERS[reader](os.path.join(directory, "runs", "index.parquet"))
    rows = [w["index"] for w in want]
    cells = compare(f"{reader}: all rows", rows, file.all(), reader)
    seqs = [row["snapshot_seq"] for row in rows]
    borders = [i for i in range(1, len(rows)) if seqs[i] // 50_000 != seqs[i - 1] // 50_000]
    spans = [(i - 20, i + 20) for i in borders + [len(rows) - 3_050, len(rows) - 20]] + [(0, 2), (len(rows) - 1, len(rows))]
    for low, end in spans:
        part = rows[low:end]
        if reader == "hyparquet":
            found = file.rows(low, end)
        else:
            found = file.between("snapshot_seq", part[0]["snapshot_seq"], part[-1]["snapshot_seq"])
        cells += compare(f"{reader}: rows {low} to {end}", part, found, reader)
    if reader != "hyparquet":
        picked = [rows[i] for i in range(0, len(rows), len(rows) // 7)]
        found = file.equal("_key", [row["_key"] for row in picked] + ["none", "r-999999:S"])
        cells += compare(f"{reader}: keys", picked, found, reader)
    print(f"{reader}: {len(rows)} rows, {cells} cells, no difference")


def snapshots(reader, directory, want):
    path = os.path.join(directory, "runs", "snapshot_index.json")
    wanted = [(w["index"]["_key"], w["snapshot"]) for w in want]
    if reader == "node":
        run("node", os.path.join(HERE, "padded.js"), "json", directory)
    elif reader == "jq":
        # Some versions read numbers as doubles.
        lines = run("jq", "-c", "to_entries[] | [.key, .value]", path).splitlines()
        found = [tuple(json.loads(line, parse_int=float)) for line in lines]
        if found != [(key, json.loads(json.dumps(value), parse_int=float)) for key, value in wanted]:
            sys.exit("jq reads other snapshots")
    elif reader == "python":
        found = list(json.load(open(path)).items())
        lines = []
        for line in open(path):
            if line.startswith('"'):
                (entry,) = json.loads("{" + line.rstrip(",\n") + "}").items()
                lines.append(entry)
        if found != wanted or lines != wanted:
            sys.exit("Python reads other snapshots")
        if " ,\n" not in open(path).read():
            sys.exit("no spaces stand before a comma: this test tests nothing")
    else:
        sys.exit(f"no reader has the name {reader}")
    print(f"{reader}: {len(wanted)} snapshots, no difference")


def main():
    readers, directory = sys.argv[1].split(","), os.path.abspath(sys.argv[2])
    with open(os.path.join(directory, "want.ndjson")) as lines:
        want = [json.loads(line) for line in lines]
    for reader in readers:
        (index if reader in READERS else snapshots)(reader, directory, want)


main()
