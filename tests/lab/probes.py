# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs on machines, driven step by step."""
import select
import subprocess

from harness.errors import HarnessError
from harness.instance import BIN

EVENT_S = 120
QUIET_S = 1.0  # long enough for a message between two machines, several times over


class Talker:
    """A program on a machine that takes commands and says what happens, a line each."""

    def __init__(self, node, argv):
        self.node = node
        self.child = node.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.text = b""

    def say(self, line):
        """Give it a command."""
        self.child.stdin.write(f"{line}\n".encode())

    def hear(self):
        """Its next line."""
        while b"\n" not in self.text:
            if not select.select([self.child.stdout], [], [], EVENT_S)[0]:
                raise HarnessError(f"{self.node.name} has said nothing for {EVENT_S} s")
            got = self.child.stdout.read(4096)
            if not got:
                raise HarnessError(f"{self.node.name} has hung up")
            self.text += got
        said, _, self.text = self.text.partition(b"\n")
        return said.decode()

    def expect(self, line):
        """Its next line has to be this."""
        said = self.hear()
        assert said == line, f"{self.node.name} said {said!r} instead of {line!r}"

    def expect_nothing(self):
        """It has to be silent for a moment."""
        assert not self.text and not select.select([self.child.stdout], [], [], QUIET_S)[0]

    def leave(self):
        """End it; the machine it was on may have gone."""
        self.child.stdin.close()
        self.child.wait(EVENT_S)
        self.child.stdout.close()


class Probe(Talker):
    """One process in one lockspace; its words are those of dlm-probe.c."""

    def __init__(self, node, space):
        super().__init__(node, [BIN / "dlm-probe", space])
