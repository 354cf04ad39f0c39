"""Makes the files of Spark, which are kept beside this script; not part of the live test, as Spark is large.

    pip install pyspark==4.3.0     (and a Java 17)
    python spark.py OUT

Made with Spark 4.3.0. Page format v2 writes a page of nothing but NULLs as 0 bytes; the codec lz4 is Hadoop's frames.
"""
import datetime
import glob
import os
import shutil
import sys

import pyarrow.parquet as pq
from pyspark.sql import SparkSession

import expect

OUT = sys.argv[1]
spark = (SparkSession.builder.master("local[1]").config("spark.sql.session.timeZone", "UTC")
         .config("spark.ui.enabled", "false").config("spark.sql.shuffle.partitions", "1").getOrCreate())
utc = datetime.timezone.utc
data = [(f"r{i:03d}", None if i % 7 == 3 else i / 60, None, i % 3 == 0, [i, None] if i % 5 else None, {"k": i / 2} if i % 2 else {},
         "same" * 10, datetime.datetime(1969, 12, 31, 23, 59, 59, 999999, utc) if i else datetime.datetime(1900, 1, 1, tzinfo=utc))
        for i in range(60)]
frame = spark.createDataFrame(data, "run_id string, auc double, nothing float, ok boolean, list array<int>, m map<string,double>, "
                                    "note string, at timestamp").coalesce(1)
made = []
for version in ["v1", "v2"]:
    for codec in ["none", "snappy", "gzip", "lz4", "lz4_raw", "zstd"] if version == "v2" else ["lz4"]:
        name = f"spark-{codec}-{version}"
        times = "INT96" if codec in ("lz4", "snappy") else "TIMESTAMP_MICROS"
        spark.conf.set("spark.sql.parquet.outputTimestampType", times)
        spark.conf.set("spark.sql.parquet.int96RebaseModeInWrite", "CORRECTED")
        try:
            (frame.write.mode("overwrite").option("compression", codec)
             .option("parquet.writer.version", version).parquet(os.path.join(OUT, "tmp")))
        except Exception as e:  # a codec that this Spark does not have
            print(name, str(e).splitlines()[0])
            continue
        part, = glob.glob(os.path.join(OUT, "tmp", "part-*.parquet"))
        shutil.move(part, os.path.join(OUT, name + ".parquet"))
        got = pq.ParquetFile(os.path.join(OUT, name + ".parquet")).read()
        with open(os.path.join(OUT, "spark.jsonl"), "w", encoding="utf-8") as f:
            f.writelines(line + "\n" for line in expect.lines(got))
        made.append(name)
shutil.rmtree(os.path.join(OUT, "tmp"), ignore_errors=True)
with open(os.path.join(OUT, "spark-cases.txt"), "w") as f:
    f.writelines(f"{name}.parquet spark\n" for name in made)
