# SPDX-License-Identifier: GPL-2.0-or-later
"""csv-dlm-space on a machine, driven step by step."""
from pathlib import Path

from harness.instance import BIN
from probes import Talker

PYTHON = "/usr/bin/python3"
DETECT_MS = 13200  # of the lab's corosync
DRIVER = Path(__file__).resolve().with_name("space_driver.py")


class Space(Talker):
    """One process in one lockspace; its words are those of space_driver.py."""

    def __init__(self, node, space):
        super().__init__(node, [PYTHON, DRIVER, BIN / "csv-dlm-space", space, DETECT_MS])
        self.space = space
        self.say("start")

    def ask(self, line, answer):
        """A command and its answer."""
        self.say(line)
        self.expect(answer)

    def lock(self, cookie, name, mode):
        """A lock that is to be had at once."""
        self.ask(f"lock {cookie} {name} {mode}", f"done {cookie} 0 {mode}")

    def kill(self):
        """SIGKILL, waited for."""
        self.say("signal KILL")
        self.expect("end -9")

    def start(self):
        """A successor, joined."""
        self.say("start")
        self.expect("joined")

    def await_line(self, line):
        """Hear this, whatever it says before."""
        while self.hear() != line:
            pass

    def drop_all(self):
        """A successor, and no lock left of this machine."""
        self.say("hangup")
        self.await_line("end 0")
        self.start()
        self.ask("purge", "done 0 0 NL")

    def finish(self):
        """Leave the lockspace and end."""
        self.say("leave")
        self.await_line("left")
        self.leave()

    def state(self):
        """What the process does, as in ps(1): R, S, D, ..."""
        pid = self.node.run(["cat", f"/run/csvfs/dlm-{self.space}.pid"]).stdout.split()[0]
        return self.node.run(["cat", f"/proc/{pid}/stat"]).stdout.rpartition(")")[2].split()[0]

    def joined(self):
        """Whether the machine is in the lockspace."""
        return self.space in self.node.run(["dlm_tool", "ls"]).stdout.split()
