# SPDX-License-Identifier: GPL-2.0-or-later
"""The logs of an instance: nX/ROLE.log in its state directory."""
import shutil
import sys
from pathlib import Path

from .shell import tail


def files(instance):
    """All logs of an instance, sorted."""
    return sorted(instance.state.glob("*/*.log"))


def report(instance):
    """Print the ends of all logs to standard error."""
    for path in files(instance):
        end = tail(path, 10)
        if end:
            print(f"--- {path.relative_to(instance.state)}\n{end}", end="", file=sys.stderr)


def keep(instance, folder):
    """Copy an instance's logs to FOLDER/BOX-ROLE.log."""
    folder = Path(folder)
    for path in files(instance):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / f"{path.parent.name}-{path.name}")
