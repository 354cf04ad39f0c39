"""Append records of runs to a root of runfold, and read them.

    import runfold

    with runfold.run("runs", cohort="churn_eu", params={"lr": 3e-4}) as run:
        run.metrics["auc"] = 0.71

    frame = runfold.read("runs")

docs/python.md has the contract: when what is durable, and what forks, threads and signals do.
"""

from ._append import append, append_many
from ._client import Ack
from ._raised import Again, Failed, NoBinary, NotDurable, Refused, RunfoldError, RunfoldWarning
from ._read import Snapshots, best, previous, read, snapshots
from ._run import Fields, Run, run

__version__ = "0.1.0.dev0"

__all__ = [
    "Ack",
    "Again",
    "Failed",
    "Fields",
    "NoBinary",
    "NotDurable",
    "Refused",
    "Run",
    "RunfoldError",
    "RunfoldWarning",
    "Snapshots",
    "append",
    "append_many",
    "best",
    "previous",
    "read",
    "run",
    "snapshots",
]
