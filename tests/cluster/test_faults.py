# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults of nodes, as the others and as the target see them."""
import subprocess

from harness import procs

ALL = ["n1", "n2", "n3"]
NOTICE_S = 10  # many times the 0.9 s that a token of 400 ms takes; machines can be busy

# Connects to the target and stays: what is left of it after a fault tells the fault's kind.
_CONNECT = "import socket, time; s = socket.create_connection(('%s', %d)); print('on', flush=True); time.sleep(600)"


def open_connection(cluster, name):
    """A TCP connection from a node to the target; returns the process that holds it."""
    child = cluster.node(name).popen(["/usr/bin/python3", "-c", _CONNECT % cluster.target.portal],
                                     stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "on\n"
    return child


def connections(cluster, name):
    """Connections from a node that the target holds for alive."""
    words = ["ss", "-Htn", "state", "established", "dst", cluster.node(name).address("stor")]
    return len(cluster.target.run(words).stdout.splitlines())


def test_kill_and_start(bare_cluster):
    node = bare_cluster.node("n1")
    child = node.popen(["sleep", "600"])
    bare_cluster.kill("n1")
    assert child.wait(5) == -9
    assert not node.up and not node.pids()
    bare_cluster.wait_members(["n2", "n3"], ["n2", "n3"], NOTICE_S, quorate=True)
    bare_cluster.start("n1")
    bare_cluster.wait_members(ALL, ALL, NOTICE_S, quorate=True)


def test_kill_drops_mounts(bare_cluster):
    node = bare_cluster.node("n1")
    holder = node.pid_of("holder")
    namespace = procs.namespace_id(f"/proc/{holder}/ns/mnt")
    node.run(["mount", "-t", "tmpfs", "tmpfs", node.mount_point])
    assert node.mounted(node.mount_point)
    bare_cluster.kill("n1")
    assert not procs.in_namespaces([namespace])
    bare_cluster.start("n1")
    assert not node.mounted(node.mount_point)


def test_kill_closes_connections_poweroff_does_not(bare_cluster):
    child = open_connection(bare_cluster, "n1")
    assert connections(bare_cluster, "n1") == 1
    bare_cluster.kill("n1")
    child.wait(5)
    bare_cluster.wait_until("the target to see the connection end",
                            lambda: connections(bare_cluster, "n1") == 0, 5)
    child = open_connection(bare_cluster, "n2")
    bare_cluster.poweroff("n2")
    child.wait(5)
    assert connections(bare_cluster, "n2") == 1
    bare_cluster.start("n2")
    assert connections(bare_cluster, "n2") == 1


def test_freeze_and_thaw(bare_cluster):
    node = bare_cluster.node("n2")
    bare_cluster.freeze("n2")
    assert node.frozen
    assert {procs.state_of(pid) for pid in node.pids()} <= procs.STOPPED
    bare_cluster.wait_members(["n1", "n3"], ["n1", "n3"], NOTICE_S, quorate=True)
    bare_cluster.thaw("n2")
    assert not node.frozen
    bare_cluster.wait_members(ALL, ALL, NOTICE_S, quorate=True)


def test_net_cut_and_heal(bare_cluster):
    bare_cluster.net_cut("n3")
    bare_cluster.wait_members(["n1", "n2"], ["n1", "n2"], NOTICE_S, quorate=True)
    bare_cluster.wait_members(["n3"], ["n3"], NOTICE_S, quorate=False)
    bare_cluster.net_heal("n3")
    bare_cluster.wait_members(ALL, ALL, NOTICE_S, quorate=True)


def test_start_behind_a_cut(bare_cluster):
    """A node that starts with its cable out comes up alone, without quorum."""
    bare_cluster.kill("n3")
    bare_cluster.net_cut("n3")
    bare_cluster.start("n3")
    bare_cluster.wait_members(["n3"], ["n3"], NOTICE_S, quorate=False)
