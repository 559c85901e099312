# SPDX-License-Identifier: GPL-2.0-or-later
"""The program by which dlm_controld fences: csv-dlm-fence, unless a test wants it to fail."""
from harness.instance import BIN
from harness.wait import wait_until

FENCE_S = 300

_AGENT = """#!/bin/sh
words=$(tr '\\n' ' ')
echo "$(hostname) $words" >>{folder}/asked
test -e {folder}/refuse && exit 1
printf '%s\\n' $words | {program}
"""


class FenceAgent:
    """The same for all machines; what it was asked for can be read."""

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "csv-dlm-fence"  # csvlockd looks for that name in dlm.conf

    def make(self):
        """Write the program, which fences."""
        self.folder.mkdir(exist_ok=True)
        self.path.write_text(_AGENT.format(folder=self.folder, program=BIN / "csv-dlm-fence"), encoding="utf-8")
        self.path.chmod(0o755)

    def refuse(self):
        """It fails from now on; forget what it was asked for before."""
        self.folder.joinpath("refuse").touch()
        self.folder.joinpath("asked").unlink(missing_ok=True)

    def allow(self):
        """It does its work from now on."""
        self.folder.joinpath("refuse").unlink(missing_ok=True)

    def asked(self):
        """What it was asked for, a list of (machine, words)."""
        try:
            lines = self.folder.joinpath("asked").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [(line.split()[0], line.split()[1:]) for line in lines]

    def wait_asked(self, count, number):
        """Wait until it was asked so many times for a node."""
        wait_until(f"dlm_controld to have node {number} fenced",
                   lambda: len([1 for _, words in self.asked() if f"node={number}" in words]) >= count, FENCE_S)
