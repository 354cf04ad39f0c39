"""Where the commands of runfold are."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from ._raised import NoBinary

VAR = "RUNFOLD_BIN"
"""The environment variable that names a directory with both commands."""

PACKAGED = Path(__file__).with_name("bin")
"""Where a wheel has them."""


def find(name: str) -> str:
    """The path of a command: in the directory that RUNFOLD_BIN names, else in this package, else on PATH.

    What somebody has set goes before what came along. If RUNFOLD_BIN is set, no other place is looked at.
    """
    file = name + ".exe" if sys.platform == "win32" else name
    chosen = os.environ.get(VAR)
    if chosen:
        path = os.path.join(chosen, file)
        if not os.path.isfile(path):
            raise NoBinary(f"{name} is not in {chosen}", f"{VAR} names this directory: unset it, or let it name one that has {name} and compactd")
        return os.path.abspath(path)
    packaged = PACKAGED / file
    if packaged.is_file():
        return str(packaged)
    on_path = shutil.which(name)
    if on_path:
        return os.path.abspath(on_path)
    raise NoBinary(
        f"{name} is not found: not in {PACKAGED}, and not on PATH",
        f"install a wheel of runfold, which has it, or let {VAR} name the directory where make build has put it",
    )
