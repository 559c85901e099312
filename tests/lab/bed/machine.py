# SPDX-License-Identifier: GPL-2.0-or-later
"""A node that is a virtual machine. Tests use it as they use harness.Node.

What differs: freeze() stops the whole machine, so nothing runs in it until thaw(); kill() is a power failure, without
a last packet; process ids are the machine's own. Files are shared through the work folder only (the node's `dir` is
in it): the rest of the host's files is seen as it was when the machine first looked.
"""
import os

from harness import fabric, procs
from harness.errors import HarnessError
from harness.node import Node
from harness.shell import detaching_words, tail
from harness.wait import wait_until

from . import qemu

BOOT_S = 180  # 25 s for three machines on a quiet host
COMMAND_S = 120  # default deadline of a command: a machine is twenty times slower than its host
_READY = "lab: ready"


class Machine(Node):
    """Machine `number`, its corosync node id, named nNUMBER."""

    first = "qemu"
    slowness = 10

    # -- its life ---------------------------------------------------------

    @property
    def console(self):
        """What the machine's kernel and first process say."""
        return self.dir / "console.log"

    @property
    def outcast(self):
        """A file that is there when the other machines have dropped this one, or will, since its last start."""
        return self.dir / "outcast"

    def cast_out(self):
        """The others have dropped it, or will, whatever else befalls it: see outcast."""
        self.outcast.write_text("dropped")

    def disks(self):
        """Files of the machine's own disks, /dev/vda and so on."""
        return []

    def begin_power_on(self):
        """Start QEMU, if it does not run; finish_power_on() waits for the machine."""
        self.make_folders()
        if self.up:
            return
        for path in self.dir.glob("*.pid"):
            path.unlink()  # of processes that ended with the machine
        self.console.unlink(missing_ok=True)
        self.outcast.unlink(missing_ok=True)
        self.spawn_outside("qemu", [*self.fabric_words(), *qemu.words(self)])

    def finish_power_on(self):
        """Wait until the machine takes commands."""
        gone = self.dead_reason("qemu")
        wait_until(f"{self.name} to be ready", self.ready, BOOT_S, every=0.1,
                   dead=lambda: gone() and f"{gone()}{tail(self.console)}")

    def ready(self):
        """Whether the agent has come up since power-on."""
        try:
            return _READY in self.console.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return False

    # -- its processes ----------------------------------------------------

    def pids(self):
        """The one process that the host sees."""
        return {self.pid_of("qemu")} - {None}

    def pid_of(self, role):
        """Pid, in the machine, of a daemon that spawn() started, if it lives; for 'qemu' the host's pid.

        A frozen machine's daemons count as living.
        """
        pidfile = self.dir / f"{role}.pid"
        if role == "qemu":
            return procs.recorded(pidfile)
        pid, start_time = procs.written(pidfile)
        if not pid or not self.up:
            return None
        if self.frozen:
            return int(pid)
        stat = self.run(["cat", f"/proc/{pid}/stat"], check=False).stdout
        return int(pid) if procs.is_same(procs.parse_stat(stat), start_time) else None

    def named(self, program):
        """Pids, the machine's own, of its live processes of a program, sorted."""
        return sorted(int(pid) for pid in self.run(["pgrep", "-x", program], check=False).stdout.split())

    def state_of(self, pid):
        """One-letter state of a process of the machine; 'X' if there is none."""
        return (procs.parse_stat(self.run(["cat", f"/proc/{pid}/stat"], check=False).stdout) or ["X"])[0]

    def signal(self, pids, number):
        """Send a signal to processes of the machine; one that has gone meanwhile is no error."""
        self.run(["kill", f"-{int(number)}", *map(str, pids)], check=False)

    # -- inside -----------------------------------------------------------

    def fabric_words(self):
        """Command line that runs the words after it, on the host, where the machine's links are."""
        return ["nsenter", f"--net={fabric.netns_path(self.instance.netns(fabric.FABRIC))}", "--"]

    def enter_words(self):
        """Command line that runs the words after it in the machine."""
        pid = self.pid_of("qemu")
        if not pid:
            raise HarnessError(f"{self.name} of lab {self.instance.name} is down;"
                               f" start it: tests/lab/ctl start {self.name}")
        return [*self.fabric_words(), str(qemu.EXEC), str(pid), self.address(qemu.AGENT_NET)]

    def run(self, argv, **options):
        """Run a program in the machine to its end."""
        options.setdefault("timeout", COMMAND_S)
        return super().run(argv, **options)

    def spawn(self, role, argv, env=None):
        """Start a daemon in the machine; its log is DIR/role.log, its pid DIR/role.pid."""
        self.dir.joinpath(f"{role}.pid").unlink(missing_ok=True)
        words = ["sh", "-c", 'exec >>"$0" 2>&1; exec "$@"', self.dir / f"{role}.log",
                 *detaching_words(self.dir / f"{role}.pid"), *argv]
        self.run(words, env=env or self.environment())
        wait_until(f"pid of {role} of {self.name}", (self.dir / f"{role}.pid").exists, COMMAND_S, every=0.005)

    def path(self, inside):
        """The path, seen from outside, of an absolute path in the machine: only the work folder has one."""
        if os.path.commonpath([inside, self.instance.state]) != str(self.instance.state):
            raise HarnessError(f"{inside} of {self.name} cannot be seen from outside")
        return super().path(inside)

    def has_socket(self, inside):
        """Whether there is a socket at a path in the machine."""
        return self.run(["test", "-S", inside], check=False).returncode == 0

    def remove_file(self, inside):
        """Remove a file in the machine, if it is there."""
        self.run(["rm", "-f", inside])

    def mounted(self, point):
        """Whether something is mounted at a path in the machine."""
        lines = self.run(["cat", "/proc/mounts"]).stdout.splitlines()
        return any(line.split()[1] == point for line in lines)
