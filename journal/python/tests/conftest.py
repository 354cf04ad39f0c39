"""What tests share: the real commands, a root for each test, and no child that outlives a test."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from hypothesis import settings

from runfold import _client

TOP = Path(__file__).resolve().parents[3]
BIN = Path(os.environ.get("RUNFOLD_BIN") or TOP / "bin")
SOURCES = str(TOP / "journal" / "python" / "src")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="of the random tests")
    parser.addoption("--rounds", type=int, default=3, help="of the tests that kill processes")


settings.register_profile("default", deadline=None, print_blob=True)
settings.register_profile("long", settings.get_profile("default"), max_examples=2000)


def pytest_configure(config: pytest.Config) -> None:
    for name in ("journal-append", "compactd"):
        if not (BIN / name).is_file():
            raise pytest.UsageError(f"{BIN} has no {name}: make build, or let RUNFOLD_BIN name the directory")
    os.environ["RUNFOLD_BIN"] = str(BIN)
    os.environ["PYTHONPATH"] = SOURCES
    os.environ.pop("RUNFOLD_ROOT_ID", None)


@pytest.fixture
def seeded(request: pytest.FixtureRequest) -> random.Random:
    """Random choices; a failure shows the seed."""
    seed = request.config.getoption("--seed")
    seed = random.randrange(2**32) if seed is None else seed
    print(f"seed {seed}: repeat with --seed {seed}")
    return random.Random(seed)


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--rounds"))


def compactd(*args: str | Path, code: int = 0) -> str:
    """What compactd prints, which must end with the exit code."""
    done = subprocess.run([BIN / "compactd", *map(str, args)], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == code, f"compactd {args}: exit code {done.returncode}: {done.stderr}"
    return done.stdout


class Root:
    """A root, and what stands in it."""

    def __init__(self, path: Path, *flags: str) -> None:
        self.path = path
        compactd("init", "--root", path, *flags)

    def __fspath__(self) -> str:
        return str(self.path)

    def fold(self) -> None:
        compactd("once", "--root", self.path, "--quiet")

    def rows(self) -> dict[str, dict[str, Any]]:
        """All runs by their key, folded or not, with their values by the names of columns."""
        rows: dict[str, dict[str, Any]] = {}
        for line in compactd("runs", "--root", self.path, "--unfolded", "--columns", "*,_key", "--json").splitlines():
            row = json.loads(line)
            rows[row["_key"]] = {**row, **(row.get("_extra") or {})}
        return rows

    def row(self, key: str) -> dict[str, Any]:
        return self.rows()[key]

    def writes(self, key: str) -> list[dict[str, Any]]:
        """Every write of a run, the first one first."""
        out = json.loads(compactd("explain", "--root", self.path, key, "--json"))
        writes: list[dict[str, Any]] = out["keys"][0]["writes"]
        return writes

    def snapshot(self, key: str) -> dict[str, Any]:
        self.fold()
        value: dict[str, Any] = json.loads((self.path / "snapshot_index.json").read_text(encoding="utf-8"))[key]
        return value

    def check(self) -> None:
        compactd("check", "--root", self.path)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    r = Root(tmp_path / "runs")
    yield r
    r.fold()
    r.check()


@pytest.fixture(autouse=True)
def nobody_is_left() -> Iterator[None]:
    yield
    _client.at_exit()
    while started:  # also if the test has failed
        p = started.pop()
        if p.poll() is None:
            p.kill()
            p.wait()


started: list[subprocess.Popen[str]] = []


def child() -> int:
    """The process id of the child of this process."""
    c = _client.client()
    assert c.pipes is not None
    return c.pipes.process.pid


def python(code: str, *args: object, **more: Any) -> subprocess.Popen[str]:
    """A process of Python."""
    text = f"import runfold, os, sys, time, threading, signal\n{code}"
    p = subprocess.Popen(
        [sys.executable, "-c", text, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", **more
    )
    started.append(p)
    return p


@pytest.fixture
def run_python() -> Callable[..., tuple[int, str, str]]:
    """Runs a process of Python to its end: exit code, standard output and standard error."""

    def run(code: str, *args: str | Path, **more: Any) -> tuple[int, str, str]:
        p = python(code, *args, **more)
        out, err = p.communicate(timeout=120)
        return p.returncode, out, err

    return run
