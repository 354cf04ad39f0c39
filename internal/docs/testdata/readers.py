"""Reads an index with every reader, and fails where two of them differ in a cell."""
import sys

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq

path = sys.argv[1]
duck = duckdb.sql(f"set timezone = 'UTC'; select * from '{path}'")
rows = {
    "pyarrow": pq.read_table(path).to_pylist(),
    "pandas": [
        {name: None if pd.isna(value) else value for name, value in row.items()}
        for row in pd.read_parquet(path, dtype_backend="pyarrow").to_dict("records")
    ],
    "polars": pl.read_parquet(path).to_dicts(),
    "duckdb": [dict(zip(duck.columns, row)) for row in duck.fetchall()],
}
want = rows["pyarrow"]
if len(want) != 178:
    sys.exit(f"pyarrow reads {len(want)} rows and not 178")
for reader, got in rows.items():
    if len(got) != len(want):
        sys.exit(f"{reader} reads {len(got)} rows, pyarrow {len(want)}")
    for w, g in zip(want, got):
        if list(w) != list(g):
            sys.exit(f"{reader} reads the columns {list(g)}, pyarrow {list(w)}")
        for name in w:
            if w[name] != g[name]:
                sys.exit(f"{w['_key']}, {name}: {reader} reads {g[name]!r}, pyarrow {w[name]!r}")
