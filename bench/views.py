"""What others do in Python, each as a process of its own: see views.go."""
import json
import sys
import time
import uuid


def lines_of(name):
    with open(name, encoding="utf-8") as f:
        yield from map(json.loads, f)


def reload(index, url):
    """The whole index into a table again, as a nightly job does it."""
    import pandas
    import sqlalchemy

    engine = sqlalchemy.create_engine(url)
    with engine.begin() as db:
        pandas.read_parquet(index).to_sql("runs", db, if_exists="replace", index=False, chunksize=10_000)
        db.exec_driver_sql('create index by_run on runs (run_id)')


def overwrite(index, table):
    """The whole index as the next version of a Delta table."""
    import deltalake
    import pyarrow.parquet

    deltalake.write_deltalake(table, pyarrow.parquet.ParquetFile(index).read(), mode="overwrite")


def mlflow_fill(store, lines):
    """Runs written straight into the tables of a store that MLflow has made: its client takes minutes for as many."""
    import sqlite3

    from mlflow.tracking import MlflowClient

    experiment = int(MlflowClient("sqlite:///" + store).create_experiment("bench"))
    db = sqlite3.connect(store)
    for n, r in enumerate(lines_of(lines)):
        run, at = uuid.uuid5(uuid.NAMESPACE_OID, r["run_id"] + r["stage"]).hex, 1772323200000 + n
        db.execute(
            "insert into runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time, source_version,"
            " lifecycle_stage, artifact_uri, experiment_id) values (?, ?, 'UNKNOWN', '', '', 'bench', 'FINISHED', ?, ?, '', 'active', ?, ?)",
            (run, r["run_id"], at, at + 1, "/artifacts/" + run, experiment))
        metrics = [(k, v, at, 0, False, run) for k, v in r["metrics"].items()]
        db.executemany("insert into metrics (key, value, timestamp, step, is_nan, run_uuid) values (?, ?, ?, ?, ?, ?)", metrics)
        db.executemany("insert into latest_metrics (key, value, timestamp, step, is_nan, run_uuid) values (?, ?, ?, ?, ?, ?)", metrics)
        db.executemany("insert into params (key, value, run_uuid) values (?, ?, ?)", [(k, str(v), run) for k, v in r["params"].items()])
        tags = {**r["tags"], "mlflow.runName": r["run_id"]}
        db.executemany("insert into tags (key, value, run_uuid) values (?, ?, ?)", [(k, v, run) for k, v in tags.items()])
    db.commit()


def mlflow_search(store):
    """The search of views.go. It prints the seconds of the search alone."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient("sqlite:///" + store)
    experiment = client.get_experiment_by_name("bench").experiment_id
    begin = time.perf_counter()
    found = client.search_runs([experiment], "metrics.auc > 0.9 and params.optimizer = 'adam'", order_by=["metrics.auc DESC"], max_results=100)
    took = time.perf_counter() - begin
    json.dump({"seconds": took, "runs": [r.info.run_name for r in found]}, sys.stdout)


if __name__ == "__main__":
    {"reload": reload, "overwrite": overwrite, "mlflow_fill": mlflow_fill, "mlflow_search": mlflow_search}[sys.argv[1]](*sys.argv[2:])
