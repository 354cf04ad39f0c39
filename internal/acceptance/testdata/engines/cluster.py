"""Reads three Delta tables as one, by Spark with two executor processes, while they are being folded.

cluster.py TABLE...: a line on standard input ends it. Each table has rows with seqs from 1 on and metrics.v = seq, and gets more of them. So
the aggregates of a whole version fit each other, and those of half a version do not. At the end they are those of index.parquet.
"""
import os
import sys
import threading
from functools import reduce

import delta
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

tables = sys.argv[1:]
builder = (
    SparkSession.builder.master("local-cluster[2,1,512]")
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    .config("spark.executor.memory", "512m")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.databricks.delta.snapshotPartitions", "1")
)
spark = delta.configure_spark_with_delta_pip(builder).getOrCreate()


def aggregates():
    frames = [spark.read.format("delta").load(t).withColumn("table", F.lit(i)) for i, t in enumerate(tables)]
    every = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), frames)
    rows = every.groupBy("table").agg(F.count("*"), F.sum("snapshot_seq"), F.sum("`metrics.v`")).collect()
    return {row[0]: tuple(row[1:]) for row in rows}


ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), ended.set()), daemon=True).start()
reads, seen = 0, set()
while not ended.is_set():
    for table, (n, seqs, values) in aggregates().items():
        if seqs != n * (n + 1) // 2 or values != seqs:
            sys.exit(f"table {table}: {n} rows, seqs {seqs}, values {values}: that is no whole version")
        seen.add((table, n))
    reads += 1
    print("read", flush=True)
if len(seen) <= len(tables):
    sys.exit("no version came while the tables were read")
for table, (n, seqs, values) in aggregates().items():
    own = pq.read_table(os.path.join(os.path.dirname(tables[table]), "index.parquet"), columns=["snapshot_seq", "metrics.v"]).to_pydict()
    if (n, seqs, values) != (len(own["snapshot_seq"]), sum(own["snapshot_seq"]), sum(own["metrics.v"])):
        sys.exit(f"table {table}: {n} rows, seqs {seqs}, values {values}: that is not what index.parquet has")
executors = spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() - 1
print(f"spark: {reads} reads of {len(tables)} tables by {executors} executors while they were folded, {len(seen)} versions met, no difference")
spark.stop()
