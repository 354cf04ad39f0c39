"""Processes and their children, killed at random: what was acknowledged is in the root."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from .conftest import Root, python

# Appends and flushes until it is killed, and says what is durable. A line is said only after its call has returned.
WORKER = """
root, who, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
import random
choice = random.Random(seed)
def say(*words): os.write(1, (" ".join(map(str, words)) + "\\n").encode())
say("pid", os.getpid())
n = 0
with runfold.run(root, cohort="a", run_id=who, every=0.02, timeout=60) as run:
    say("flushed", -1)
    while True:
        c = runfold._client.client().pipes
        if c is not None: say("child", c.process.pid)
        run.log(step=n, value=n)
        what = choice.random()
        if what < 0.3:
            run.flush()
            say("flushed", n)
        elif what < 0.6:
            runfold.append(root, "b", {"run_id": f"{who}-{n}", "stage": "S"}, timeout=60)
            say("appended", n)
        elif what < 0.65:
            runfold.append_many(root, "c", ({"run_id": f"{who}-{n}-{i}", "stage": "S"} for i in range(50)), timeout=60)
            say("many", n)
        n += 1
"""


class Worker:
    """A process, and what it has said."""

    def __init__(self, root: Root, who: str, seed: int) -> None:
        self.who = who
        self.process = python(WORKER, root.path, who, seed)
        self.child = 0
        self.flushed: int | None = None
        self.appended: set[int] = set()
        self.many: set[int] = set()
        self.lines = 0
        self.words = ""
        self.reader = threading.Thread(target=self.read)
        self.reader.start()
        self.listener = threading.Thread(target=self.listen)
        self.listener.start()

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.endswith("\n"):
                break
            word, value = line.split()
            n = int(value)
            if word == "child":
                self.child = n
            elif word == "flushed":
                self.flushed = n
            elif word == "appended":
                self.appended.add(n)
            elif word == "many":
                self.many.add(n)
            self.lines += 1

    def listen(self) -> None:
        assert self.process.stderr is not None
        self.words = self.process.stderr.read()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join()
        self.listener.join()


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def test_killed(tmp_path: Path, seeded: random.Random, rounds: int) -> None:
    """kill -9 of children and of processes, 1 to 8 at once, while a compactor folds now and then."""
    for turn in range(rounds):
        root = Root(tmp_path / f"runs-{turn}")
        count = seeded.choice([1, 2, 4, 8])
        workers = [Worker(root, f"w-{w}", seeded.randrange(2**32)) for w in range(count)]
        kills = 0
        until = time.monotonic() + 20
        while kills < 6 * count and time.monotonic() < until and any(w.process.poll() is None for w in workers):
            w = seeded.choice(workers)
            lines = w.lines
            target = lines + seeded.randrange(30)
            while w.lines < target and w.process.poll() is None and time.monotonic() < until:
                w.reader.join(0.002)
            if w.process.poll() is None and w.child:
                what = seeded.random()
                if what > 0.1:
                    kill(w.child)
                if what < 0.2:  # or both, so that nobody is left to send anything again
                    w.process.kill()
                kills += 1
            if seeded.random() < 0.1:
                root.fold()
        for w in workers:
            w.end()
            assert w.process.returncode == -signal.SIGKILL, w.words
        root.fold()
        root.check()
        rows = root.rows()
        acknowledged = 0
        for w in workers:
            if w.flushed is not None:
                acknowledged += 1
                row = rows[f"{w.who}:RUN"]
                value = row.get("metrics.value")
                assert (-1 if value is None else value) >= w.flushed
            for n in w.appended:
                acknowledged += 1
                assert f"{w.who}-{n}:S" in rows
            for n in w.many:
                for i in range(50):
                    acknowledged += 1
                    assert f"{w.who}-{n}-{i}:S" in rows
        print(f"figure: {count} processes, {kills} kills, {acknowledged} acknowledged records, none lost")
        assert kills > 0
        assert acknowledged > 0


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM])
def test_nobody_is_left(root: Root, stop: int) -> None:
    """The child of a process that is killed ends, too."""
    w = Worker(root, "w", 1)
    while not w.child:
        w.reader.join(0.002)
    child = w.child
    w.process.send_signal(stop)
    w.end()
    while True:  # it ends, or the test hangs
        try:
            with open(f"/proc/{child}/stat", encoding="utf-8") as f:
                if f.read().rsplit(")", 1)[1].split()[0] == "Z":
                    break
        except OSError:
            break
