# SPDX-License-Identifier: GPL-2.0-or-later
"""A node whose path to the LUN is gone for too long gives the volume up by itself: the others take over what it had."""
import errno
import os
import signal
import subprocess

import pytest

from agents import Agent, errno_of
from commands import adm, refused, volume
from harness import csvfs
from harness.instance import BIN, MOUNT_POINT

PATH_S = 4       # path_timeout of n1's mount
TAKE_OVER_S = 40  # the loss to be noticed, the time-out, fence, replay; many times what it takes on a quiet machine


def mount_short(cluster):
    """n1 mounts anew, with a path time-out that a test can wait for."""
    node = cluster.node("n1")
    node.run(["csvadm", "umount", MOUNT_POINT])
    options = f"lock=cpg,node={node.name},log={node.dir}/csvfs.log,path_timeout={PATH_S}"
    csvfs.csvadm(node, ["mount", cluster.lun, MOUNT_POINT, "-o", options])
    csvfs.wait_online(node)
    return volume(node)


def state_becomes(cluster, name, state, part):
    """The node says so, and why; returns what it says."""
    node = cluster.node(name)
    cluster.wait_until(f"{name} to be {state}", lambda: volume(node).get("state") == state, TAKE_OVER_S)
    told = volume(node)
    assert part in told["reason"] and told["since"], told
    return told


def mount_again(cluster, before):
    """The cable is in again: umount and mount bring the node back, under a new incarnation."""
    node = cluster.node("n1")
    cluster.lun_heal("n1")
    node.run(["csvadm", "umount", MOUNT_POINT], timeout=60)
    csvfs.mount(node, cluster.lun)
    csvfs.wait_online(node)
    now = volume(node)
    assert (now["slot"], now["incarnation"]) != (before["slot"], before["incarnation"])


@pytest.fixture
def owner(cluster, place):
    """A process on n1, its mount with a short path time-out, with an image of its own."""
    before = mount_short(cluster)
    with Agent(cluster.node("n1"), seconds=TAKE_OVER_S) as agent:
        agent.before = before
        agent.open("disk", f"{place}/disk.img", "O_RDWR|O_CREAT")
        agent.pwrite("disk", "acknowledged", 0)
        agent.fsync("disk")
        yield agent


def test_path_cut(cluster, place, owner):
    """Nobody waits for a node that has given up; what it had acknowledged is there; it tells what is wrong with it."""
    node = cluster.node("n1")
    cluster.lun_cut("n1")
    owner.begin("pwrite", "disk", "never", 0)
    paused = state_becomes(cluster, "n1", "paused", "")
    failed = state_becomes(cluster, "n1", "failed", f"no way to the target for {PATH_S} s")
    assert failed["since"] > paused["since"]
    assert errno_of(owner.finish) == errno.EIO
    with Agent(cluster.node("n2"), seconds=TAKE_OVER_S) as heir:
        cluster.wait_until("n2 to get the image",
                           lambda: errno_of(heir.open, "disk", f"{place}/disk.img", "O_RDWR") == 0, TAKE_OVER_S)
        assert heir.pread("disk", 12, 0) == "acknowledged"
        heir.pwrite("disk", "the heir's..", 0)
        heir.fsync("disk")
    assert errno_of(owner.call, "listdir", MOUNT_POINT) == errno.EIO
    assert volume(node)["since"] == failed["since"]
    refused(node, 3, "umount", MOUNT_POINT, parts=("in use",))
    owner.kill()
    mount_again(cluster, owner.before)
    with Agent(node) as again:
        again.open("disk", f"{place}/disk.img", "O_RDONLY")
        assert again.pread("disk", 12, 0) == "the heir's.."


def test_byte_ranges(cluster, place, owner):
    """Its locks are free for others, and who waits for a lock on it is told, and can be killed."""
    node = cluster.node("n1")
    owner.open("f", f"{place}/f", "O_RDWR|O_CREAT")
    owner.posix_lock("f", "w", 0, 10)
    with Agent(cluster.node("n2"), seconds=TAKE_OVER_S) as other, Agent(node, seconds=TAKE_OVER_S) as waiter:
        other.open("f", f"{place}/f", "O_RDWR")
        other.posix_lock("f", "w", 20, 10)
        other.begin("posix_wait", "f", "w", 0, 10)
        waiter.open("f", f"{place}/f", "O_RDWR")
        waiter.begin("posix_wait", "f", "w", 20, 10)
        cluster.lun_cut("n1")
        owner.begin("pwrite", "disk", "never", 0)
        assert errno_of(waiter.finish) == errno.EIO
        assert other.finish() is None
        assert errno_of(owner.finish) == errno.EIO
        assert errno_of(owner.posix_lock, "f", "w", 40, 1) == errno.EIO
        owner.posix_lock("f", "u", 0, 0)  # what is given up is given up
        other.posix_lock("f", "w", 40, 1)
    owner.kill()
    mount_again(cluster, owner.before)


def test_handoff_of_unknown_fate(cluster, place, owner):
    """The path goes while the source commits: recovery of its slot tells on which side the images are."""
    node = cluster.node("n1")
    with Agent(cluster.node("n2"), seconds=2 * TAKE_OVER_S) as heir:
        ident = adm(node, "handoff", "prepare", f"{place}/disk.img", "--to", "n2")["id"]
        heir.open("disk", f"{place}/disk.img", "O_RDWR")
        cluster.lun_cut("n1")
        commit = node.popen([BIN / "csvadm", "handoff", "commit", ident], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)
        status = lambda: adm(cluster.node("n3"), "handoff", "status", ident)
        cluster.wait_until("the handoff to be decided",
                           lambda: status()["outcome"] in ("moved", "kept"), TAKE_OVER_S)
        assert commit.wait(TAKE_OVER_S) in (0, 10)
        state_becomes(cluster, "n1", "failed", "no way")
        if status()["outcome"] == "kept":
            heir.close("disk")
            cluster.wait_until("n2 to get the image",
                               lambda: errno_of(heir.open, "disk", f"{place}/disk.img", "O_RDWR") == 0, TAKE_OVER_S)
        heir.pwrite("disk", "hello", 20)
        assert heir.pread("disk", 12, 0) == "acknowledged"
    owner.kill()
    mount_again(cluster, owner.before)


def test_only_mount(cluster, place, owner):
    """Nobody is there to take over: the node's next mount recovers its own slot.

    The target starts anew in between: with n1 the last one that it knows goes (Cluster.mount() tells of tgtd's bug).
    """
    for name in ("n2", "n3"):
        cluster.node(name).run(["csvadm", "umount", MOUNT_POINT])
    cluster.lun_cut("n1")
    owner.begin("pwrite", "disk", "never", 0)
    state_becomes(cluster, "n1", "failed", "no way to the target")
    assert errno_of(owner.finish) == errno.EIO
    owner.kill()
    cluster.target.stop()
    cluster.target.start()
    mount_again(cluster, owner.before)
    with Agent(cluster.node("n1")) as again:
        again.open("disk", f"{place}/disk.img", "O_RDWR")
        assert again.pread("disk", 12, 0) == "acknowledged"
        again.pwrite("disk", "on", 0)


def test_status_while_a_fence_hangs(cluster):
    """The recoverer's path is gone, so its order takes as long as that lasts; it answers people all the same."""
    two, three = cluster.node("n2"), cluster.node("n3")
    for name in ("n2", "n3"):
        cluster.lun_cut(name)
    cluster.kill("n1")
    for node in (two, three):
        cluster.wait_until(f"{node.name} to wait for n1", lambda: node_state(node, "n1")["state"] == "recovering",
                           TAKE_OVER_S)
        assert volume(node)["state"] in ("recovering", "paused")
    for name in ("n2", "n3"):
        state_becomes(cluster, name, "paused", "the target does not answer")
        cluster.lun_heal(name)
    for node in (two, three):
        csvfs.wait_online(node)


def test_since_when_a_node_is_out(cluster):
    """The time at which its state began, by the clock of who tells it, and not the time of the question."""
    node = cluster.node("n3")
    before = node_state(node, "n1")
    assert before["state"] == "member"
    cluster.freeze("n1")
    cluster.wait_until("n1 to be out and recovered", lambda: node_state(node, "n1")["state"] == "out", TAKE_OVER_S)
    out = node_state(node, "n1")["since"]
    assert out > before["since"]
    cluster.wait_until("the clock to go on", lambda: clock(node) > out, 10)
    assert node_state(node, "n1")["since"] == out
    assert node_state(node, "n2")["since"] <= before["since"]
    cluster.thaw("n1")


def test_csvlockd_away(cluster):
    """While csvlockd of a node may still come back, the others say whom they wait for."""
    node = cluster.node("n1")
    place = volume(node)["slot"]
    os.kill(node.pid_of("csvlockd"), signal.SIGKILL)
    state_becomes(cluster, "n2", "recovering", f"waits for node n1 (slot {place}): its csvlockd to come back")
    csvfs.begin_lockd(node)
    csvfs.wait_lockd(node)
    for name in ("n1", "n2"):
        csvfs.wait_online(cluster.node(name))


def test_no_quorum(cluster):
    """Cut off from nodes that have it not: nobody need be waited for, but nothing new is granted."""
    for name in ("n1", "n3"):
        cluster.node(name).run(["csvadm", "umount", MOUNT_POINT])
    cluster.net_cut("n2")
    state_becomes(cluster, "n2", "no quorum", "too few nodes")
    cluster.net_heal("n2")
    csvfs.wait_online(cluster.node("n2"))


def clock(node):
    """The node's time, as csvadm tells times."""
    return node.run(["date", "-u", "+%Y-%m-%dT%H:%M:%SZ"]).stdout.strip()


def node_state(node, name):
    return next(n for n in adm(node, "node", "list")["nodes"] if n["name"] == name)
