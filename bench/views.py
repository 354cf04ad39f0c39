"""What others do in Python with the whole index, each as a process of its own: see views.go."""
import sys


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


def delta_append(rows, table):
    """New rows as the next version of a Delta table."""
    import deltalake
    import pyarrow.parquet

    news = pyarrow.parquet.read_table(rows)
    alone(table, lambda: deltalake.write_deltalake(table, news, mode="append"))


def delta_merge(rows, table):
    """The same by key: a row whose key is there would replace it."""
    import deltalake
    import pyarrow.parquet

    news = pyarrow.parquet.read_table(rows)
    merge = deltalake.DeltaTable(table).merge(news, "t.run_id = s.run_id and t.phase = s.phase", source_alias="s", target_alias="t")
    merge = merge.when_matched_update_all().when_not_matched_insert_all()
    found = alone(table, merge.execute)
    if found["num_target_rows_inserted"] != news.num_rows:
        sys.exit(f"merge: {found}")


def delta_undo(table):
    """The version before, without the files of the newest one."""
    import deltalake

    t = deltalake.DeltaTable(table)
    t.restore(t.version() - 1)
    t.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)


def alone(table, call):
    """Says what a call takes until its new files are on stable storage, which delta-rs leaves to the system."""
    import json
    import os
    import resource
    import time

    def files():
        return {os.path.join(d, name) for d, _, names in os.walk(table) for name in names}

    def used():
        r = resource.getrusage(resource.RUSAGE_SELF)
        return [time.perf_counter(), r.ru_utime, r.ru_utime + r.ru_stime, r.ru_oublock / 2048]

    before, begin = files(), used()
    found = call()
    for name in files() - before:
        f = os.open(name, os.O_RDONLY)
        os.fsync(f)
        os.close(f)
    took = [b - a for a, b in zip(begin, used())]
    json.dump(dict(zip(["wall s", "user s", "cpu s", "written MiB"], took)), sys.stdout)
    return found


if __name__ == "__main__":
    {f.__name__: f for f in (reload, overwrite, delta_append, delta_merge, delta_undo)}[sys.argv[1]](*sys.argv[2:])
