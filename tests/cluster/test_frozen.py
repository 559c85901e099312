# SPDX-License-Identifier: GPL-2.0-or-later
"""A node stands still with writes on their way; another takes its place; then it wakes up."""
import errno
import signal
from pathlib import Path

import pytest

from agents import Agent, errno_of
from commands import slot, volume
from daemons import pid_of, stop_pids
from harness import csvfs, procs
from harness.instance import MOUNT_POINT
from late import WRITERS, keys, make, on_lun, texts
from records import SIZE

TAKE_OVER_S = 25


@pytest.fixture
def owner(cluster, place):
    """A process on n1 with an image of written blocks."""
    with Agent(cluster.node("n1"), seconds=TAKE_OVER_S) as agent:
        agent.blocks = make(agent, cluster, f"{place}/disk.img")
        yield agent


def take_over(cluster, place):
    """n2 gets the image and writes every block; returns their content."""
    new = texts("new")
    with Agent(cluster.node("n2"), seconds=TAKE_OVER_S) as heir:
        cluster.wait_until("n2 to get the image",
                           lambda: errno_of(heir.open, "disk", f"{place}/disk.img", "O_RDWR") == 0, TAKE_OVER_S)
        heir.pwrite("disk", "".join(new), 0)
        heir.fsync("disk")
    return new


def fenced_and_rejoined(cluster, before):
    """The thawed node says that it is fenced, gives no more access, and comes back under a new incarnation."""
    node = cluster.node("n1")
    cluster.wait_until("n1 to say that it is fenced", lambda: volume(node).get("state") == "fenced", TAKE_OVER_S)
    with Agent(node) as agent:
        assert errno_of(agent.call, "listdir", MOUNT_POINT) == errno.EIO
    node.run(["csvadm", "umount", MOUNT_POINT])
    csvfs.mount(node, cluster.lun)
    csvfs.wait_online(node)
    now = volume(node)
    assert (now["slot"], now["incarnation"]) != (before["slot"], before["incarnation"])
    assert slot(node, now["slot"])["pr_key"] in keys(cluster)


def unsent(node):
    """Bytes that the node's kernel has not got rid of towards the target."""
    words = ["ss", "-Htn", "state", "established", "dst", "10.77.1.200"]
    return sum(int(line.split()[1]) for line in node.run(words).stdout.splitlines())


@pytest.fixture
def silent(cluster):
    """n1's csvfs stands still; it goes on in any case, since processes that wait for it cannot end."""
    node = cluster.node("n1")
    pid = pid_of(node, "csvfs")
    stop_pids(node, [pid])
    yield pid
    cluster.thaw("n1")


def test_frozen_while_it_waits_for_csvfs(cluster, owner, silent):
    """A process that waits in the kernel for a csvfs that stands still does not stop until it has its answer."""
    node, pid = cluster.node("n1"), owner.child.pid
    owner.begin("pwrite", "disk", "waits", 0)
    waits_in = Path(f"/proc/{pid}/wchan")
    cluster.wait_until("the write to wait", lambda: waits_in.read_text(encoding="ascii") == "request_wait_answer", 10)
    cluster.freeze("n1")
    assert node.state_of(pid) == "D"
    node.signal([silent], signal.SIGCONT)
    cluster.wait_until("the one that was answered to stop", lambda: node.state_of(pid) in procs.STOPPED, 10)
    cluster.thaw("n1")
    assert owner.finish() == len("waits")


def test_frozen_under_load(cluster, place, owner):
    before = volume(cluster.node("n1"))
    key = slot(cluster.node("n1"), before["slot"])["pr_key"]
    assert key in keys(cluster)
    owner.write_behind("disk", texts("late"), True)
    cluster.freeze("n1")
    new = take_over(cluster, place)
    assert key not in keys(cluster)
    cluster.thaw("n1")
    assert set(owner.outcomes()) == {errno.EIO}
    assert on_lun(cluster, owner.blocks) == new
    assert key not in keys(cluster)
    owner.kill()
    fenced_and_rejoined(cluster, before)
    assert on_lun(cluster, owner.blocks) == new


def test_writes_on_the_wire_come_late(cluster, place, owner):
    """The kernel goes on sending for a frozen node: its writes reach the target after the new owner's."""
    node = cluster.node("n1")
    before = volume(node)
    cluster.lun_cut("n1")
    owner.write_behind("disk", texts("late"))
    cluster.wait_until("the writes to be with the kernel", lambda: unsent(node) >= WRITERS * SIZE, 10)
    cluster.freeze("n1")
    new = take_over(cluster, place)
    cluster.lun_heal("n1")
    cluster.wait_until("the late writes to reach the target", lambda: unsent(node) == 0, 60)
    assert on_lun(cluster, owner.blocks) == new
    cluster.thaw("n1")
    assert set(owner.outcomes()) == {errno.EIO}
    owner.kill()
    fenced_and_rejoined(cluster, before)
    assert on_lun(cluster, owner.blocks) == new
