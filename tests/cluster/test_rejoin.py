# SPDX-License-Identifier: GPL-2.0-or-later
"""csvadm node fence puts a node out that others have to do without; csvadm node rejoin brings one back without a reboot."""
import errno

import pytest

from agents import Agent, errno_of
from commands import adm, refused, volume
from harness.instance import MOUNT_POINT, VOLUME
from test_withdraw import TAKE_OVER_S, mount_short, state_becomes


@pytest.fixture
def failed(cluster, place):
    """A process on n1 with a file open on a volume that n1 has given up; its cable is in again."""
    before = mount_short(cluster)
    with Agent(cluster.node("n1"), seconds=TAKE_OVER_S) as agent:
        agent.before = before
        agent.open("f", f"{place}/f", "O_RDWR|O_CREAT")
        agent.pwrite("f", "acknowledged", 0)
        agent.fsync("f")
        cluster.lun_cut("n1")
        agent.begin("pwrite", "f", "never", 0)
        state_becomes(cluster, "n1", "failed", "no way to the target")
        assert errno_of(agent.finish) == errno.EIO
        yield agent


def has_recovered(node, life):
    last = volume(node)["recovery"]
    return last is not None and (last["slot"], last["incarnation"]) == (life["slot"], life["incarnation"])


def is_new(now, before):
    return now["state"] == "online" and (now["slot"], now["incarnation"]) != (before["slot"], before["incarnation"])


def test_failed(cluster, place, failed):
    node = cluster.node("n1")
    cluster.lun_heal("n1")
    told = adm(node, "node", "rejoin")["volumes"]
    now = volume(node)
    assert is_new(now, failed.before)
    assert told == [{"name": VOLUME, "mount": MOUNT_POINT, "slot": now["slot"], "incarnation": now["incarnation"]}]
    assert errno_of(failed.pread, "f", 12, 0) in (errno.ENOTCONN, errno.ECONNABORTED)
    with Agent(node) as again:
        again.open("f", f"{place}/f", "O_RDWR")
        assert again.pread("f", 12, 0) == "acknowledged"
        again.pwrite("f", "again", 0)
    assert adm(node, "node", "rejoin")["volumes"] == []
    assert volume(node)["incarnation"] == now["incarnation"]


def test_fenced(cluster):
    """It has slept while the others went on without it."""
    node = cluster.node("n1")
    before = volume(node)
    cluster.freeze("n1")
    cluster.wait_until("n1 to be recovered", lambda: any(has_recovered(cluster.node(n), before) for n in ("n2", "n3")),
                       TAKE_OVER_S)
    cluster.thaw("n1")
    state_becomes(cluster, "n1", "fenced", "")
    adm(node, "node", "rejoin")
    assert is_new(volume(node), before)
    node.run(["ls", MOUNT_POINT])


def test_reason_lasts(cluster, failed):
    """No way to the LUN yet: it says so in time, and csvlockd mounts the volume as soon as there is one."""
    node = cluster.node("n1")
    refused(node, 6, "--timeout", "3", "node", "rejoin", parts=(MOUNT_POINT, "not online"))
    cluster.lun_heal("n1")
    cluster.wait_until("csvlockd to mount it", lambda: volume(node).get("state") == "online", 60)
    assert is_new(volume(node), failed.before)


def test_fence(cluster, place):
    """A node that works: it writes nothing any more when the command ends, and the others have what it had."""
    one, two = cluster.node("n1"), cluster.node("n2")
    before = volume(one)
    with Agent(one, seconds=TAKE_OVER_S) as victim, Agent(two) as heir:
        victim.open("disk", f"{place}/disk.img", "O_RDWR|O_CREAT")
        victim.pwrite("disk", "acknowledged", 0)
        victim.fsync("disk")
        assert errno_of(heir.open, "disk", f"{place}/disk.img", "O_RDWR") == errno.EBUSY
        told = adm(two, "node", "fence", "n1", "--yes")
        assert told == {"schema": 1, "name": "n1", "id": 1, "slot": before["slot"]}
        heir.open("disk", f"{place}/disk.img", "O_RDWR")
        assert heir.pread("disk", 12, 0) == "acknowledged"
        heir.pwrite("disk", "the heir's..", 0)
        assert errno_of(victim.pwrite, "disk", "too late", 0) == errno.EIO
        assert heir.pread("disk", 12, 0) == "the heir's.."
    state_becomes(cluster, "n1", "fenced", "")
    assert adm(two, "node", "fence", "n1", "--yes")["slot"] is None  # nothing is left to be done
    adm(one, "node", "rejoin")
    assert is_new(volume(one), before)


def test_fence_that_cannot_be_remembered(cluster):
    """The next csvlockd of this host would not know that the node is out: so nobody is told that it is."""
    one, two = cluster.node("n1"), cluster.node("n2")
    before = volume(one)
    blocker = f"{two.environment()['CSV_RUN_DIR']}/expelled.new"
    two.run(["ln", "-s", "/dev/full", blocker])
    try:
        refused(two, 6, "--timeout", "3", "node", "fence", "n1", "--yes")
        said = (two.dir / "csvlockd.log").read_text(encoding="utf-8")
        assert "which nodes are fenced cannot be kept" in said and "no fence is confirmed" in said
    finally:
        two.run(["rm", blocker])
    adm(two, "node", "fence", "n1", "--yes")
    state_becomes(cluster, "n1", "fenced", "")
    adm(one, "node", "rejoin")
    assert is_new(volume(one), before)


def test_refusals(cluster):
    node = cluster.node("n1")
    refused(node, 2, "node", "rejoin", "n2", parts=("takes no argument",))
    refused(node, 2, "node", "fence", "n2", parts=("--yes",))
    refused(node, 2, "node", "fence", parts=("name of a node",))
    refused(node, 4, "node", "fence", "n9", "--yes", parts=("n9", "no node"))
    assert volume(cluster.node("n2"))["state"] == "online"
