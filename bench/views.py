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


if __name__ == "__main__":
    {"reload": reload, "overwrite": overwrite}[sys.argv[1]](*sys.argv[2:])
