"""What others do with runs, each as a process of its own: see runs.go and python.go. Each prints what it found, and the seconds of the question alone."""
import json
import statistics
import sys
import time
import uuid


def say(seconds, answer):
    json.dump({"seconds": seconds, "answer": answer}, sys.stdout)


def duckdb_ask(times, *statements):
    """The statements in a connection, so many times: the median without the first one. Found is the first value of each row."""
    import duckdb

    db = duckdb.connect()
    db.execute("set threads = 2")
    took = []
    for _ in range(int(times)):
        begin = time.perf_counter()
        found = [db.execute(s).fetchall() for s in statements]
        took.append(time.perf_counter() - begin)
    say(statistics.median(took[1:] or took), [str(row[0]) for rows in found for row in rows])


def mlflow_fill(store, lines):
    """Runs written straight into the tables of a store that MLflow has made: its client takes minutes for as many."""
    import sqlite3

    from mlflow.tracking import MlflowClient

    experiment = int(MlflowClient("sqlite:///" + store).create_experiment("bench"))
    db = sqlite3.connect(store)
    with open(lines, encoding="utf-8") as f:
        for n, r in enumerate(map(json.loads, f)):
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


def mlflow_search(store, filter, order, most):
    from mlflow.tracking import MlflowClient

    client = MlflowClient("sqlite:///" + store)
    experiment = client.get_experiment_by_name("bench").experiment_id
    begin = time.perf_counter()
    found = client.search_runs([experiment], filter, order_by=[order], max_results=int(most))
    say(time.perf_counter() - begin, [r.info.run_name for r in found])


if __name__ == "__main__":
    {"duckdb_ask": duckdb_ask, "mlflow_fill": mlflow_fill, "mlflow_search": mlflow_search}[sys.argv[1]](*sys.argv[2:])
