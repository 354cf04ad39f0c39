"""What is said twice says the same; and a wheel is built, installed and used as a user does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import runfold

from .conftest import TOP

HERE = TOP / "journal" / "python"


def test_version() -> None:
    source = (TOP / "internal" / "build" / "build.go").read_text(encoding="utf-8")
    release = re.search(r'const release = "(.*?)"', source)
    assert release is not None
    assert runfold.__version__ == release[1].replace("-dev", ".dev0")


def test_names() -> None:
    assert sorted(runfold.__all__) == runfold.__all__ or set(runfold.__all__) <= set(dir(runfold))
    page = (TOP / "docs" / "python.md").read_text(encoding="utf-8")
    for name in runfold.__all__:
        if name not in ("Ack", "Fields", "Run", "Snapshots", "RunfoldError"):
            assert name in page, f"docs/python.md says nothing of {name}"


def test_needs_nothing() -> None:
    """The package imports the standard library only, and none of what it can turn into JSON or tables."""
    code = "import sys, runfold; print([m for m in ('numpy', 'pandas', 'polars', 'pyarrow', 'torch', 'multiprocessing') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_types() -> None:
    mypy = pytest.importorskip("mypy.api")
    common = ["--config-file", str(HERE / "pyproject.toml"), "--cache-dir", os.devnull]
    for args in ([str(HERE / "src"), str(HERE / "tests")], ["--platform", "win32", str(HERE / "src")]):
        out, err, code = mypy.run([*common, *args])
        assert code == 0, out + err


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling")
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "-w", str(out), str(HERE)]
    subprocess.run(build, check=True)
    (file,) = out.iterdir()
    return file


def test_wheel(wheel: Path) -> None:
    assert re.fullmatch(r"runfold-[0-9.a-z]+-py3-none-\w+(\.\w+)*\.whl", wheel.name)
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("__init__.py", "py.typed", "bin/journal-append", "bin/compactd"):
        assert f"runfold/{name}" in names


def test_installed(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own, without Go, and with no command on PATH."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-index", wheel], check=True, env=env)
    code = """
import runfold
with runfold.run("runs", cohort="a", run_id="r", create=True) as run:
    run.metrics["auc"] = 0.71
print(runfold.best("runs", "metrics.auc", unfolded=True, where="status = 'FINISHED'")["run_id"])
"""
    done = subprocess.run([python, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.stdout == "r\n", done.stderr


def test_no_go(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    env = {**os.environ, "PATH": str(tmp_path)}
    del env["RUNFOLD_BIN"]
    env.pop("GO", None)  # make may name another one
    build = [sys.executable, "-m", "pip", "wheel", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(HERE)]
    done = subprocess.run(build, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "there is no go on PATH, which builds the commands that this package runs" in done.stdout + done.stderr
