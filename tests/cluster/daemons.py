# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemons of a node: which processes they are, and what befalls them. Works on the lab's machines, too."""
import signal

from harness import procs
from harness.wait import wait_until


def pid_of(node, role):
    """The one process of a role. csvfs has put itself into the background: it is found by its name."""
    return node.named("csvfs")[0] if role == "csvfs" else node.pid_of(role)


def lockd_pids(node):
    """csvlockd's two: the supervisor, and its child that does the work."""
    parent = node.pid_of("csvlockd")
    children = node.run(["cat", f"/proc/{parent}/task/{parent}/children"]).stdout.split()
    return parent, int(children[0])


def kill_pids(node, pids, seconds=10):
    """SIGKILL; returns when all of them are gone."""
    node.signal(pids, signal.SIGKILL)
    for pid in pids:
        wait_until(f"the end of process {pid} of {node.name}", lambda p=pid: node.state_of(p) in procs.GONE,
                   seconds * node.slowness)


def kill_program(node, role, seconds=10):
    """SIGKILL to one daemon of a node; returns when it is gone."""
    kill_pids(node, [pid_of(node, role)], seconds)


def stop_pids(node, pids, seconds=10):
    """SIGSTOP; returns when all of them stand still."""
    node.signal(pids, signal.SIGSTOP)
    for pid in pids:
        wait_until(f"process {pid} of {node.name} to stand still", lambda p=pid: node.state_of(p) in procs.STOPPED,
                   seconds * node.slowness, every=0.01)
