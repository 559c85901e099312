# SPDX-License-Identifier: GPL-2.0-or-later
"""A box: one network namespace, one mount namespace, and what runs in them.

The network namespace has a name and outlives everything in it; the mount
namespace lives as long as the box's first process, the holder. So killing all
processes of a box also drops its mounts, as a crash of a host would.
"""
import os
import subprocess
from pathlib import Path

from . import fabric, procs
from .errors import HarnessError
from .instance import BIN, MARK
from .shell import run, spawn_detached, tail
from .wait import wait_until

_HOLDER = Path(__file__).with_name("holder.sh")


class Box:
    """One machine of the test bed, node or target."""

    first = "holder"  # role of the process that lives as long as the box is up
    slowness = 1  # deadlines of what happens in the box are so many times longer

    def __init__(self, instance, name, mount_point=None):
        self.instance = instance
        self.name = name
        self.mount_point = mount_point
        self.dir = instance.state / name

    # -- its life ---------------------------------------------------------

    def pid_of(self, role):
        """Pid of a program that spawn() started, if it lives, else None."""
        return procs.recorded(self.dir / f"{role}.pid")

    @property
    def up(self):
        """Whether the box has been started and not been killed."""
        return self.pid_of(self.first) is not None

    @property
    def frozen(self):
        """Whether the box has been stopped by freeze()."""
        pid = self.pid_of(self.first)
        return pid is not None and procs.state_of(pid) in procs.STOPPED

    def make_folders(self):
        """The folders that outlive the box: its own, and csvfs's two below it."""
        for leaf in ("etc", "lib"):
            (self.dir / leaf).mkdir(parents=True, exist_ok=True)

    def begin_power_on(self):
        """Start the holder, if it does not run; finish_power_on() waits for it."""
        self.make_folders()
        if self.up:
            return
        (self.dir / "holder.ready").unlink(missing_ok=True)
        words = ["nsenter", f"--net={fabric.netns_path(self.instance.netns(self.name))}",
                 "unshare", "--mount", "--uts", "--propagation", "slave",
                 _HOLDER, self.name, self.dir]
        self.spawn_outside("holder", words + ([self.mount_point] if self.mount_point else []))

    def finish_power_on(self):
        """Wait until the box can be entered."""
        ready = self.dir / "holder.ready"
        wait_until(f"namespaces of {self.name}", ready.exists, 10, dead=self.dead_reason("holder"))

    def dead_reason(self, role):
        """For wait_until(dead=): says so when a spawned program has ended."""
        def reason():
            if self.pid_of(role):
                return None
            return f"{role} of {self.name} has ended:\n{tail(self.dir / f'{role}.log')}"
        return reason

    # -- its processes ----------------------------------------------------

    def pids(self):
        """All live processes of the box."""
        ids = [procs.namespace_id(fabric.netns_path(self.instance.netns(self.name)))]
        holder = self.pid_of("holder")
        if holder:
            ids.append(procs.namespace_id(f"/proc/{holder}/ns/mnt"))
        remembered = {self.pid_of(path.stem) for path in self.dir.glob("*.pid")}
        return procs.in_namespaces(ids) | (remembered - {None})

    def named(self, program):
        """Pids, as the box itself counts them, of its live processes of a program, sorted."""
        return sorted(pid for pid in self.pids() if procs.name_of(pid) == program)

    def state_of(self, pid):
        """One-letter state of a process of the box; 'X' if there is none."""
        return procs.state_of(pid)

    def signal(self, pids, number):
        """Send a signal to processes of the box; one that has gone meanwhile is no error."""
        for pid in pids:
            procs.send(pid, number)

    def kill(self):
        """SIGKILL everything in the box. Its mounts end with its last process."""
        procs.kill_all(self.pids, self.name)

    def freeze(self):
        """SIGSTOP everything in the box."""
        procs.stop_all(self.pids, self.name)

    def thaw(self):
        """SIGCONT everything in the box."""
        procs.continue_all(self.pids, self.name)

    # -- inside -----------------------------------------------------------

    def environment(self):
        """Environment of programs in the box: the caller's, and who they belong to."""
        env = dict(os.environ)
        env[MARK] = self.instance.mark(self.name)
        env["CSV_CLUSTER"] = self.instance.name
        env["PATH"] = f"{BIN}:{env.get('PATH', '')}:/usr/sbin:/sbin"
        return env

    def enter_words(self):
        """Command line that runs the words after it inside the box."""
        holder = self.pid_of("holder")
        if not holder:
            raise HarnessError(f"{self.name} of cluster {self.instance.name} is down;"
                               f" start it: tests/cluster/ctl start {self.name}")
        return ["nsenter", "--target", str(holder), "--net", "--mount", "--uts",
                f"--wd={os.getcwd()}", "--"]

    def run(self, argv, **options):
        """Run a program in the box to its end; see shell.run() for the options."""
        options.setdefault("env", self.environment())
        return run(self.enter_words() + list(argv), **options)

    def popen(self, argv, **options):
        """Start a program in the box as a child of the caller; a subprocess.Popen."""
        options.setdefault("env", self.environment())
        return subprocess.Popen(self.enter_words() + [str(word) for word in argv], **options)

    def spawn(self, role, argv, env=None):
        """Start a daemon in the box; its log is DIR/role.log, its pid DIR/role.pid."""
        self.spawn_outside(role, self.enter_words() + list(argv), env)

    def spawn_outside(self, role, argv, env=None):
        """Start a program that enters the box by itself."""
        spawn_detached(argv, self.dir / f"{role}.pid", self.dir / f"{role}.log",
                       env or self.environment())

    def path(self, inside):
        """The path, seen from outside, of an absolute path inside the box."""
        holder = self.pid_of("holder")
        return Path(f"/proc/{holder}/root") / inside.lstrip("/") if holder else None

    def has_socket(self, inside):
        """Whether there is a socket at a path inside the box."""
        path = self.path(inside)
        return path is not None and path.is_socket()

    def remove_file(self, inside):
        """Remove a file inside the box, if it is there."""
        self.path(inside).unlink(missing_ok=True)

    def mounted(self, point):
        """Whether something is mounted at a path inside the box."""
        try:
            with open(f"/proc/{self.pid_of('holder')}/mounts", encoding="utf-8") as file:
                return any(line.split()[1] == point for line in file)
        except OSError:
            return False
