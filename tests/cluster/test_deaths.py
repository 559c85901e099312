# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes and daemons die; what was acknowledged is there, and the others go on."""
import contextlib
import errno
import os
import struct

import pytest

from agents import Agent, Recorder, errno_of
from commands import adm, slot, volume
from daemons import kill_program
from harness import csvfs
from harness.instance import MOUNT_POINT
from records import RECORDS
from takeover import TAKE_OVER_S, nothing_lost, rejoined

ALL = ["n1", "n2", "n3"]
CONF = "/etc/csvfs/csvfs.conf"


def test_node_killed_under_load(cluster, place, load):
    before = volume(cluster.node("n1"))
    cluster.kill("n1")
    nothing_lost(cluster.node("n2"), place, load)
    recovery = [volume(cluster.node(name))["recovery"] for name in ("n2", "n3")]
    assert before["slot"] in [r["slot"] for r in recovery if r]
    cluster.start("n1")
    rejoined(cluster, "n1", before)


def test_node_without_power_under_load(cluster, place, load):
    """No last packet: the target still holds its session and key, until the fence."""
    before = volume(cluster.node("n1"))
    cluster.poweroff("n1")
    nothing_lost(cluster.node("n3"), place, load)
    cluster.start("n1")
    rejoined(cluster, "n1", before)


def test_csvfs_killed(cluster, place, load):
    """Its mount is dead, its node is not: another node recovers the slot; the mount comes back (test_remount.py)."""
    node = cluster.node("n1")
    before = volume(node)
    kill_program(node, "csvfs")
    nothing_lost(cluster.node("n2"), place, load)
    cluster.wait_until("n1 to mount again", lambda: volume(node).get("state") == "online", 60)
    rejoined(cluster, "n1", before)


def test_csvlockd_killed_and_back_in_time(cluster, place, load):
    """The slot re-attaches, under the same incarnation, and its writers never notice."""
    node = cluster.node("n1")
    before = volume(node)
    kill_program(node, "csvlockd")
    csvfs.begin_lockd(node)
    csvfs.wait_lockd(node)
    csvfs.wait_online(node)
    now = volume(node)
    assert (now["slot"], now["incarnation"]) == (before["slot"], before["incarnation"])
    for recorder in load:
        recorder.wait_more(RECORDS)
    with Agent(cluster.node("n2")) as other:
        assert errno_of(other.open, "disk", f"{place}/disk.img", "O_RDWR") == errno.EBUSY
        other.call("mkdir", f"{place}/meanwhile")
    assert load[0].acked() > 2 * RECORDS // node.slowness


def test_csvlockd_killed_for_good(cluster, place, load):
    """After the re-attach time the others fence it and go on; it says so, and rejoins."""
    node = cluster.node("n1")
    before = volume(node)
    kill_program(node, "csvlockd")
    nothing_lost(cluster.node("n2"), place, load)
    csvfs.begin_lockd(node)
    csvfs.wait_lockd(node)
    cluster.wait_until("n1 to say that it is fenced", lambda: volume(node).get("state") == "fenced", 30)
    with Agent(node) as agent:
        assert errno_of(agent.call, "listdir", MOUNT_POINT) == errno.EIO
    node.run(["csvadm", "umount", MOUNT_POINT])
    csvfs.mount(node, cluster.lun)
    rejoined(cluster, "n1", before)


@pytest.fixture
def patient(cluster):
    """n2 and n3 would wait for a csvlockd that has ended for longer than anything takes here."""
    nodes = [cluster.node(name) for name in ("n2", "n3")]
    for node in nodes:
        node.run(["sh", "-c", 'printf "[timeouts]\\nreattach_ms = 60000\\n" >"$0"', CONF])
        restart_lockd(node)
    yield
    for node in nodes:
        node.remove_file(CONF)
        restart_lockd(node)


def restart_lockd(node):
    """Its mount attaches again."""
    kill_program(node, "csvlockd")
    csvfs.begin_lockd(node)
    csvfs.wait_lockd(node)
    csvfs.wait_online(node)


def test_node_dies_after_its_csvlockd(cluster, place, load, patient):
    """The group tells of the csvlockd only; that the node is gone, too, ends the wait for it."""
    before = volume(cluster.node("n1"))
    kill_program(cluster.node("n1"), "csvlockd")
    cluster.wait_until("n2 to wait for it", lambda: volume(cluster.node("n2"))["state"] == "recovering", 10)
    cluster.poweroff("n1")
    nothing_lost(cluster.node("n2"), place, load)
    cluster.start("n1")
    rejoined(cluster, "n1", before)


def test_corosync_killed(cluster, place, load):
    node = cluster.node("n1")
    before = volume(node)
    kill_program(node, "corosync")
    nothing_lost(cluster.node("n2"), place, load)
    cluster.power_on([node])
    cluster.wait_until("n1 to say that it is fenced", lambda: volume(node).get("state") == "fenced", 30)
    node.run(["csvadm", "umount", MOUNT_POINT])
    csvfs.mount(node, cluster.lun)
    rejoined(cluster, "n1", before)


@contextlib.contextmanager
def damaged_journal(cluster, number):
    """The head of this slot's journal is not what it was; afterwards it is."""
    with open(cluster.target.backing_file(1), "r+b", buffering=0) as lun:
        block = lambda n: os.pread(lun.fileno(), 4096, n * 4096)
        home = struct.unpack_from("<Q", block(1 + number), 88)[0]
        good = block(home)
        assert any(good)
        os.pwrite(lun.fileno(), good[:2000] + bytes([good[2000] ^ 1]) + good[2001:], home * 4096)
        os.fsync(lun.fileno())
        try:
            yield
        finally:
            os.pwrite(lun.fileno(), good, home * 4096)
            os.fsync(lun.fileno())


def test_journal_damaged(cluster, place):
    """It holds up nothing but the thaw: other slots are recovered, and the status says what is waited for."""
    before = volume(cluster.node("n1"))
    # The lower slot recovers n1; the other one's csvfs dies too.
    survivor, other = sorted((cluster.node("n2"), cluster.node("n3")), key=lambda node: volume(node)["slot"])
    second = volume(other)
    with Recorder(cluster.node("n1"), "files", place) as files:
        files.wait_more(RECORDS)
    cluster.freeze("n1")
    with damaged_journal(cluster, before["slot"]):
        cluster.kill("n1")
        why = f"node n1 (slot {before['slot']}), which cannot be replayed: bad checksum"
        for node in (survivor, other):
            cluster.wait_until(f"{node.name} to say why it waits",
                               lambda node=node: why in (volume(node)["reason"] or ""), TAKE_OVER_S)
        assert volume(survivor)["state"] == "recovering"
        kill_program(other, "csvfs")
        cluster.wait_until(f"the recovery of {other.name}", lambda: slot(survivor, second["slot"])["state"] == "clean",
                           TAKE_OVER_S)
        assert slot(survivor, before["slot"])["state"] == "fenced"
    csvfs.wait_online(survivor)
    with Agent(survivor, seconds=TAKE_OVER_S) as agent:
        assert agent.lost("files", place, files.acked()) == []
    rejoined(cluster, other.name, second)  # by its csvlockd
    cluster.start("n1")
    rejoined(cluster, "n1", before)


def test_two_nodes_die_at_once(cluster, place, load):
    """One of three has no quorum and grants nothing; when one is back, both dead slots are recovered."""
    before = volume(cluster.node("n1"))
    for name in ("n1", "n2"):
        cluster.kill(name)
    cluster.wait_members(["n3"], ["n3"], quorate=False)
    cluster.start("n2")
    nothing_lost(cluster.node("n3"), place, load)
    cluster.start("n1")
    rejoined(cluster, "n1", before)


def test_power_cut_of_everything(cluster, place, load):
    """All nodes and the target, which forgets the reservation. The first mounter replays every slot."""
    before = volume(cluster.node("n1"))
    for name in ALL:
        cluster.kill(name)
    cluster.target.stop()
    cluster.target.start()
    cluster.power_on(cluster.nodes)
    cluster.mount(cluster.nodes)
    assert all(slot["state"] != "fenced" for slot in adm(cluster.node("n3"), "volume", "info", "vol1")["slots"])
    nothing_lost(cluster.node("n3"), place, load)
    rejoined(cluster, "n1", before)


def test_who_has_fenced_is_fenced(cluster):
    """The reservation outlives the one who made it last; a node without a key may still read, and so mount."""
    gone = volume(cluster.node("n1"))
    cluster.kill("n1")
    cluster.wait_until("n1's slot to be recovered",
                       lambda: slot(cluster.node("n2"), gone["slot"])["state"] == "clean", TAKE_OVER_S)
    for name in ("n2", "n3"):
        csvfs.wait_online(cluster.node(name))
    first = next(name for name in ("n2", "n3") if volume(cluster.node(name)).get("recovery"))
    other = "n3" if first == "n2" else "n2"
    recoverer = volume(cluster.node(first))
    kill_program(cluster.node(first), "csvfs")
    cluster.wait_until("the recoverer's life to be over",
                       lambda: slot(cluster.node(other), recoverer["slot"])["incarnation"] != recoverer["incarnation"]
                       or slot(cluster.node(other), recoverer["slot"])["state"] == "clean", TAKE_OVER_S)
    csvfs.wait_online(cluster.node(other))
    cluster.start("n1")
    csvfs.wait_online(cluster.node("n1"))
