"""A process as FoxML has them: it reads both files, adds its row, and saves them whole.

    foxml_writer.py ROOT NAME ROWS

It takes the lock beside the index, as FoxML does, writes index.parquet in place, and replaces snapshot_index.json. It prints each row that it has saved.
"""
import fcntl
import json
import os
import sys

import pandas as pd

root, name, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
index, snapshots = os.path.join(root, "index.parquet"), os.path.join(root, "snapshot_index.json")


def read(file):
    """pyarrow opens a file twice, to read its schema and its rows: if it is replaced between, it reads it again, as every reader has to."""
    while True:
        try:
            return pd.read_parquet(file)
        except (OSError, ValueError) as e:  # ArrowInvalid is a ValueError
            print(e, file=sys.stderr)


for n in range(rows):
    run = f"{name}-{n}"
    new = pd.DataFrame([{
        "phase": "TRAINING", "mode": "CROSS_SECTIONAL", "target": "y/5m", "symbol": None, "model_family": "lightgbm", "cohort_id": "cs_5m",
        "run_id": run, "segment_id": n % 3, "git_commit": "0aa6d6c", "n_effective": 52000 + n, "auc": 0.5 + n / 1000,
        "created_at": "2026-03-01T12:00:00.123456",
    }])
    with open(os.path.join(root, "index.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        df = pd.concat([read(index), new], ignore_index=True)
        df = df.drop_duplicates(subset=["phase", "mode", "target", "symbol", "model_family", "cohort_id", "run_id"], keep="last")
        df.to_parquet(index, index=False)
        with open(snapshots) as f:
            all = json.load(f)
        all[f"{run}:TRAINING:y_5m:CROSS_SECTIONAL:NONE"] = {
            "run_id": run, "stage": "TRAINING", "target": "y/5m", "view": "CROSS_SECTIONAL", "timestamp": "2026-03-01T12:00:00.123456", "deep": {"n": [n]},
        }
        temporary = f"{snapshots}.{name}.tmp"
        with open(temporary, "w") as f:
            json.dump(all, f, indent=2)
        os.replace(temporary, snapshots)
    print(run, flush=True)
