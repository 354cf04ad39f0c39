"""The child process: missing, too old, killed, stopped."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path

import pytest

import runfold
from runfold import _binaries, _client

from .conftest import BIN, Root, child


@pytest.fixture(autouse=True)
def fresh() -> None:
    _client.at_exit()


def script(directory: Path, text: str) -> None:
    directory.mkdir()
    file = directory / "journal-append"
    file.write_text("#!/bin/sh\n" + text)
    file.chmod(0o755)


def test_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What somebody has set goes first, then the package, then PATH."""
    assert _binaries.find("compactd") == str(BIN / "compactd")
    packaged = tmp_path / "packaged"
    packaged.mkdir()
    (packaged / "compactd").write_text("")
    monkeypatch.setattr(_binaries, "PACKAGED", packaged)
    assert _binaries.find("compactd") == str(BIN / "compactd")
    monkeypatch.delenv("RUNFOLD_BIN")
    assert _binaries.find("compactd") == str(packaged / "compactd")
    monkeypatch.setenv("PATH", str(BIN))
    assert _binaries.find("journal-append") == str(BIN / "journal-append")


def test_missing(root: Root, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RUNFOLD_BIN", str(tmp_path))
    with pytest.raises(runfold.NoBinary, match=f"journal-append is not in {tmp_path}\nhint: RUNFOLD_BIN names this directory"):
        runfold.run(root, cohort="a")
    with pytest.raises(runfold.NoBinary, match="compactd is not in"):
        runfold.best(root, "auc")
    monkeypatch.delenv("RUNFOLD_BIN")
    monkeypatch.setenv("PATH", str(tmp_path))
    if not _binaries.PACKAGED.exists():
        with pytest.raises(runfold.NoBinary, match="not on PATH\nhint: install a wheel"):
            runfold.append(root, "a", {"run_id": "r", "stage": "S"})
    monkeypatch.setenv("RUNFOLD_BIN", str(BIN))
    runfold.append(root, "a", {"run_id": "r", "stage": "S"})  # once it is there, it works


def test_not_executable(root: Root, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "journal-append").write_text("no program")
    monkeypatch.setenv("RUNFOLD_BIN", str(tmp_path))
    with pytest.raises(runfold.NoBinary, match=r"cannot be run: (Permission denied|Exec format error)"):
        runfold.run(root, cohort="a")


def test_too_old(root: Root, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A command that does not know --multiplex. The other command is one of these, and takes flags in the same way."""
    shutil.copy(BIN / "compactd", tmp_path / "journal-append")
    monkeypatch.setenv("RUNFOLD_BIN", str(tmp_path))
    with pytest.raises(runfold.NoBinary, match="does not know --multiplex: it is older than this package"):
        runfold.run(root, cohort="a")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("""echo '{"multiplex":2,"version":"9.0"}'; cat""", r"of a later version \(9.0\)"),
        ("echo hello; cat", "says b'hello', and not which version"),
        ("echo no library >&2; exit 127", "ended with exit code 127: no library"),
        ("kill -9 $$", "was killed by signal 9"),
    ],
)
def test_other_programs(root: Root, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, words: str) -> None:
    script(tmp_path / "bin", text)
    monkeypatch.setenv("RUNFOLD_BIN", str(tmp_path / "bin"))
    with pytest.raises(runfold.NoBinary, match=words):
        runfold.append(root, "a", {"run_id": "r", "stage": "S"})


def test_silent(root: Root, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script(tmp_path / "bin", "exec sleep 100")
    monkeypatch.setenv("RUNFOLD_BIN", str(tmp_path / "bin"))
    monkeypatch.setattr(_client, "HANDSHAKE", 0.2)
    with pytest.raises(runfold.NoBinary, match="has said nothing"):
        runfold.append(root, "a", {"run_id": "r", "stage": "S"})


def test_killed(root: Root) -> None:
    with runfold.run(root, cohort="a", run_id="r") as run:
        for n in range(10):
            run.metrics["n"] = n
            os.kill(child(), signal.SIGKILL)
            run.flush()
            assert root.row("r:RUN")["metrics.n"] == n


def test_killed_amid_many(root: Root) -> None:
    """What was not acknowledged is appended again under the same ids: each record is there once."""

    def killed() -> None:
        for _ in range(6):
            before = child()
            os.kill(before, signal.SIGKILL)
            while True:
                c = _client.client()
                if c.greeted and c.pipes is not None and c.pipes.process.pid != before:
                    break

    runfold.append(root, "a", {"run_id": "r", "stage": "S"})
    killer = threading.Thread(target=killed)
    killer.start()
    n = 0
    while killer.is_alive():
        acks = runfold.append_many(root, "a", [{"run_id": f"r-{i}", "stage": "S"} for i in range(n, n + 500)])
        n += len(acks)
    killer.join()
    root.fold()
    assert len(root.rows()) == n + 1
    for i in (0, n // 2, n - 1):
        assert len({w["record_id"] for w in root.writes(f"r-{i}:S")}) == 1


def test_gone_amid_a_run(root: Root, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command is removed while it runs, as by an upgrade. The training goes on, and says so at a flush."""
    with runfold.run(root, cohort="a", run_id="r") as run:
        monkeypatch.setenv("RUNFOLD_BIN", str(tmp_path))
        os.kill(child(), signal.SIGKILL)
        run.metrics["n"] = 1
        with pytest.raises(runfold.NotDurable, match=r"not durable after .* s: journal-append is not in .*what was set in the last"):
            run.flush(timeout=0.5)
        monkeypatch.setenv("RUNFOLD_BIN", str(BIN))
        run.metrics["n"] = 2
    assert root.row("r:RUN")["metrics.n"] == 2


@pytest.mark.parametrize("every", [0.05, 1000])
def test_stopped(root: Root, every: float) -> None:
    """A child that is stopped holds up no assignment. A flush says so after its time."""
    with runfold.run(root, cohort="a", run_id="r", every=every) as run:
        os.kill(child(), signal.SIGSTOP)
        for n in range(20000):
            run.metrics["n"] = n
            run.log(loss=n)
        with pytest.raises(runfold.NotDurable, match=r"has not answered: its storage may hang, or it may be stopped; what was set in the last"):
            run.flush(timeout=0.3)
        with pytest.raises(runfold.NotDurable, match="r-1:S of cohort a"):
            runfold.append(root, "a", {"run_id": "r-1", "stage": "S"}, timeout=0.3)
        os.kill(child(), signal.SIGCONT)
    assert root.row("r:RUN")["metrics.n"] == 19999


def test_given_up(root: Root) -> None:
    """What was not sent when its caller gave up is not sent later; and what comes after it is."""
    runfold.append(root, "a", {"run_id": "r", "stage": "S", "n": 0})
    os.kill(child(), signal.SIGSTOP)
    first = threading.Thread(target=lambda: runfold.append(root, "a", {"run_id": "r", "stage": "S", "n": 1}))
    first.start()
    c = _client.client()
    while not c.under_way:
        pass
    for n in (2, 3):
        with pytest.raises(runfold.NotDurable):
            runfold.append(root, "a", {"run_id": "r", "stage": "S", "n": n}, timeout=0.2)
    os.kill(child(), signal.SIGCONT)
    first.join()
    runfold.append(root, "b", {"run_id": "s", "stage": "S"})
    assert root.row("r:S")["n"] == 1
    assert not c.places
    runfold.append(root, "a", {"run_id": "r", "stage": "S", "n": 4})
    assert root.row("r:S")["n"] == 4


def test_full_pipe(root: Root) -> None:
    """More than a pipe holds, to a child that does not read, goes through when it reads again; and meanwhile only newest states wait."""
    with runfold.run(root, cohort="a", run_id="r", every=0.05) as run:
        os.kill(child(), signal.SIGSTOP)
        many = threading.Thread(
            target=lambda: runfold.append_many(root, "a", [{"run_id": f"r-{n}", "stage": "S", "text": "x" * 1000} for n in range(2000)])
        )
        many.start()
        run.snapshot["text"] = "y" * 500_000
        with pytest.raises(runfold.NotDurable):
            run.flush(timeout=0.3)
        c = _client.client()
        assert sum(len(i.line) for i in [*c.under_way.values(), *c.ready]) < 12 << 20
        assert len([i for i in [*c.under_way.values(), *c.ready] if i.owner is not None]) <= 1
        os.kill(child(), signal.SIGCONT)
        many.join()
    assert len(root.rows()) == 2001


def test_terminated(root: Root) -> None:
    """A job that is ended gets SIGTERM in all of its processes: the child goes, and the end of the run starts another one."""
    with runfold.run(root, cohort="a", run_id="r") as run:
        os.kill(child(), signal.SIGTERM)
        run.metrics["n"] = 1
    assert root.row("r:RUN")["status"] == "FINISHED"


def test_others_take_our_child(root: Root) -> None:
    """A program that waits for all of its children takes the exit code of ours."""
    with runfold.run(root, cohort="a", run_id="r") as run:
        os.kill(child(), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            pass
        run.metrics["n"] = 1
    assert root.row("r:RUN")["metrics.n"] == 1


def test_an_error_of_ours(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in the thread leaves nobody waiting, and is told."""

    def wrong(*_: object) -> None:
        raise ZeroDivisionError

    with runfold.run(root, cohort="a", run_id="r") as run:
        monkeypatch.setattr(_client.Client, "_answer", wrong)
        run.metrics["n"] = 1
        with pytest.raises(runfold.RunfoldError, match="internal error of the package runfold: ZeroDivisionError"):
            run.flush()
        monkeypatch.undo()
        os.environ["RUNFOLD_BIN"] = str(BIN)
    assert root.row("r:RUN")["metrics.n"] == 1


def test_what_the_child_says(root: Root, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "runfold"):
        runfold.append(tmp_path / "new", "a", {"run_id": "r", "stage": "S"}, create=True)
        _client.at_exit()
    assert "is a new root: id" in caplog.text
