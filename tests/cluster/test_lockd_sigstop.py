# SPDX-License-Identifier: GPL-2.0-or-later
"""csvlockd stands still, its node and corosync do not (rule L5).

Alone it is killed and started again by its supervisor; if that stands still as well, the others evict it.
"""
import errno
import json
import os
import signal
import time

import pytest

from agents import Agent, errno_of
from commands import slot, volume
from daemons import kill_pids, lockd_pids, stop_pids
from harness import csvfs, procs
from harness.instance import BIN, MOUNT_POINT
from harness.wait import wait_until
from records import RECORDS

EVICT_S = 12      # CSV_EVICT_MS
GO_ON_S = EVICT_S + 18  # and a view, fence and replay; many times what these take on a quiet machine
SHORT_S = 3       # a grant between nodes that are well, many times over


def in_group(node):
    """Names of the members of csvlockd's group, as the node sees them; none while it leaves and joins again."""
    done = node.run([BIN / "csvadm", "--json", "node", "list"], check=False)
    return {n["name"] for n in json.loads(done.stdout)["nodes"] if n["state"] == "member"}


@pytest.fixture
def survivors(cluster):
    """Agents on n2 and n3."""
    with Agent(cluster.node("n2"), seconds=GO_ON_S) as second, Agent(cluster.node("n3"), seconds=GO_ON_S) as third:
        yield second, third


@pytest.fixture
def stopped(cluster, survivors):
    """Stops both processes of n1; continued in any case, and before the agents end, who may be waiting for them."""
    pids = []

    def do():
        pids.extend(lockd_pids(cluster.node("n1")))
        stop_pids(cluster.node("n1"), pids)
        return pids

    yield do
    for pid in pids:
        if procs.alive(pid):
            os.kill(pid, signal.SIGCONT)


def fenced_and_recovered(cluster, before, key):
    """The slot's life is over on disk, its key is gone, and one of the others did it."""
    done = [volume(cluster.node(name))["recovery"] for name in ("n2", "n3")]
    assert (before["slot"], before["incarnation"]) in [(r["slot"], r["incarnation"]) for r in done if r]
    assert slot(cluster.node("n2"), before["slot"])["state"] == "clean"
    witness = cluster.node("n3").run(["lun-witness", cluster.lun, "keys"], timeout=20).stdout
    assert key not in witness


def rejoins_by_itself(cluster, pids):
    """csvlockd is in the group again, the same two processes; its volume knows that it was fenced."""
    node = cluster.node("n1")
    for name in ("n1", "n2", "n3"):
        cluster.wait_until(f"{name} to see three members",
                           lambda n=name: in_group(cluster.node(n)) == {"n1", "n2", "n3"}, 20)
    assert lockd_pids(node) == tuple(pids)
    cluster.wait_until("n1 to say that it is fenced", lambda: volume(node).get("state") == "fenced", 20)
    with Agent(node) as agent:
        assert errno_of(agent.call, "listdir", MOUNT_POINT) == errno.EIO


def mounted_again(cluster, before):
    node = cluster.node("n1")
    node.run(["csvadm", "umount", MOUNT_POINT])
    csvfs.mount(node, cluster.lun)
    csvfs.wait_online(node)
    now = volume(node)
    assert (now["slot"], now["incarnation"]) != (before["slot"], before["incarnation"])
    node.run(["ls", MOUNT_POINT])


def test_both_stopped(cluster, place, load, survivors, stopped):
    """The others evict it and go on with what it had; nothing that it acknowledged is lost."""
    node = cluster.node("n1")
    before = volume(node)
    key = slot(node, before["slot"])["pr_key"]
    second, third = survivors
    third.call("mkdir", f"{place}/before")
    pids = stopped()
    begin = time.monotonic()
    second.call("mkdir", f"{place}/files/after")  # its lock is n1's, who will not give it up
    assert time.monotonic() - begin > SHORT_S     # else nothing was to be waited for
    third.call("mkdir", f"{place}/files/after/that")
    assert time.monotonic() - begin < GO_ON_S
    assert in_group(cluster.node("n2")) == {"n2", "n3"}
    fenced_and_recovered(cluster, before, key)
    last = [recorder.acked() for recorder in load]
    assert second.lost("files", f"{place}/files", last[1]) == []
    assert third.lost("image", f"{place}/disk.img", last[0]) == []
    third.open("disk", f"{place}/disk.img", "O_RDWR")
    assert all(procs.state_of(pid) in procs.STOPPED for pid in pids)
    cluster.node("n1").signal(pids, signal.SIGCONT)
    rejoins_by_itself(cluster, pids)
    mounted_again(cluster, before)


def test_configuration_changes_meanwhile(cluster, place, survivors, stopped):
    """A third csvlockd is restarted: the view that this needs forms without the one that hangs."""
    first, third = cluster.node("n1"), cluster.node("n3")
    before, others = volume(first), volume(third)
    pids = stopped()
    kill_pids(third, lockd_pids(third))
    begin = time.monotonic()
    csvfs.begin_lockd(third)
    csvfs.wait_lockd(third)
    survivors[1].call("mkdir", f"{place}/after")
    assert time.monotonic() - begin < GO_ON_S
    now = volume(third)
    assert (now["slot"], now["incarnation"]) == (others["slot"], others["incarnation"])
    cluster.wait_until("n1's slot to be recovered",
                       lambda: slot(third, before["slot"])["state"] == "clean", GO_ON_S)
    cluster.node("n1").signal(pids, signal.SIGCONT)
    rejoins_by_itself(cluster, pids)
    mounted_again(cluster, before)


def test_child_stopped(cluster, place, load):
    """The supervisor starts another one; the mount re-attaches, and its writers never notice."""
    node = cluster.node("n1")
    before = volume(node)
    parent, child = lockd_pids(node)
    stop_pids(node, [child])
    wait_until("the supervisor to end it", lambda: not procs.alive(child), 15)
    wait_until("another csvlockd", lambda: len(lockd_pids(node)) == 2 and lockd_pids(node)[1] != child, 10)
    cluster.wait_until("three members", lambda: in_group(cluster.node("n2")) == {"n1", "n2", "n3"}, 20)
    csvfs.wait_online(node)
    now = volume(node)
    assert lockd_pids(node)[0] == parent
    assert (now["slot"], now["incarnation"]) == (before["slot"], before["incarnation"])
    for recorder in load:
        recorder.wait_more(RECORDS)
    with Agent(cluster.node("n2")) as other:
        assert errno_of(other.open, "disk", f"{place}/disk.img", "O_RDWR") == errno.EBUSY
        other.call("mkdir", f"{place}/meanwhile")
    last = [recorder.acked() for recorder in load]
    assert min(last) >= 2 * RECORDS - 1
    with Agent(cluster.node("n3")) as other:
        assert other.lost("files", f"{place}/files", last[1]) == []
    assert "hung for 5000 ms: killed" in (node.dir / "csvlockd.log").read_text(encoding="utf-8")
