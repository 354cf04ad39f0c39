"""Runs blocks of a page, one JSON object a line on standard input, and answers each with what it printed."""
import json
import os
import sys
import tempfile
import traceback

jobs = os.fdopen(os.dup(0))
answers = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # commands that a block starts must not read the jobs
names = {"__name__": "__main__"}

for line in jobs:
    job = json.loads(line)
    with tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
        ok = True
        try:
            if job["language"] == "sql":
                import duckdb
                duckdb.sql(job["code"]).show()
            else:
                exec(compile(job["code"], job["name"], "exec"), names)
        except BaseException:
            traceback.print_exc()
            ok = False
        sys.stdout.flush()
        sys.stderr.flush()
        printed.seek(0)
        json.dump({"ok": ok, "output": printed.read().decode()}, answers)
    answers.write("\n")
    answers.flush()
