"""Builds both commands into the wheel. They are static programs of Go, so one wheel for a platform is for all of its Pythons and libcs.

GOOS and GOARCH in the environment build for another platform, as they do for go build. If RUNFOLD_BIN names a directory with both commands, those are taken.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import sys_tags

COMMANDS = ("journal-append", "compactd")

TAGS = {
    # A program without libc runs with every libc; what these name is the oldest kernel that pip knows a tag for.
    ("linux", "amd64"): "manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64",
    ("linux", "arm64"): "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
    ("darwin", "amd64"): "macosx_12_0_x86_64",
    ("darwin", "arm64"): "macosx_12_0_arm64",
    ("windows", "amd64"): "win_amd64",
    ("windows", "arm64"): "win_arm64",
}
"""Platforms of Go, and what wheels call them. Go 1.26 needs macOS 12."""


class Hook(BuildHookInterface):  # type: ignore[misc]
    """See above."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        # An editable install has its commands beside the sources; else they lie where the next build finds them.
        editable = version == "editable"
        prebuilt = os.environ.get("RUNFOLD_BIN")
        if prebuilt:  # of this machine, and perhaps with its libc
            tag, suffix, made = next(sys_tags()).platform, ".exe" if os.name == "nt" else "", Path(prebuilt)
        else:
            top, go = self.tools()
            goos, goarch = subprocess.run([go, "env", "GOOS", "GOARCH"], check=True, capture_output=True, text=True).stdout.split()
            if (goos, goarch) not in TAGS:
                raise SystemExit(f"runfold: nobody has said what a wheel for {goos}/{goarch} is called: see TAGS in {__file__}")
            tag, suffix, made = TAGS[goos, goarch], ".exe" if goos == "windows" else "", Path(self.root, "build", f"{goos}-{goarch}")
            for command in COMMANDS:
                self.build(go, top, command, made / (command + suffix))
        for command in COMMANDS:
            file = made / (command + suffix)
            if not file.is_file():
                raise SystemExit(f"runfold: {file} does not exist: RUNFOLD_BIN names the directory that has both commands")
            if editable:
                beside = Path(self.root, "src", "runfold", "bin")
                beside.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, beside)
            else:
                build_data["force_include"][str(file)] = f"runfold/bin/{file.name}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{tag}"

    def tools(self) -> tuple[Path, str]:
        """The repository, and Go."""
        top = Path(self.root).parent.parent
        if not (top / "go.mod").is_file():
            raise SystemExit(
                "runfold: the commands are built from the repository, and this folder is not in one: pip install the folder journal/python of a clone, "
                "or a wheel, or let RUNFOLD_BIN name a directory that has both commands"
            )
        go = shutil.which(os.environ.get("GO", "go"))
        if go is None:
            raise SystemExit(
                "runfold: there is no go on PATH, which builds the commands that this package runs: install Go 1.26 or later, take a wheel, which has them, "
                "or let RUNFOLD_BIN name a directory that has both"
            )
        return top, go

    def build(self, go: str, top: Path, command: str, into: Path) -> None:
        # The commands state their commit where git answers; where it does not, a build must not fail for that.
        git = shutil.which("git")
        known = git and subprocess.run([git, "status"], cwd=top, capture_output=True, check=False).returncode == 0
        done = subprocess.run(
            [go, "build", "-trimpath", f"-buildvcs={'auto' if known else 'false'}", "-ldflags=-s -w", "-o", str(into), f"./cmd/{command}"],
            cwd=top, env={**os.environ, "CGO_ENABLED": "0"}, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"runfold: go build of {command} has failed: see above. It needs Go 1.26 or later")
