# SPDX-License-Identifier: GPL-2.0-or-later
"""Byte-range locks that are waited for, across nodes: who gets them, in which order, and what ends the wait."""
import contextlib
import errno
import os
import signal

import pytest

from agents import Agent, errno_of
from commands import adm
from daemons import kill_program
from harness import csvfs
from harness.instance import VOLUME
from harness.wait import wait_until
from takeover import TAKE_OVER_S

SOON_S = 5    # two messages between nodes, many times over
MANY = 10000
MANY_S = 120  # so many locks, each of them two messages between nodes


def ranges(node, path):
    """What csvlockd of the node knows of a file's byte ranges."""
    inode = int(node.run(["stat", "-c", "%i", path]).stdout)
    return [r for r in adm(node, "lock", "dump", VOLUME)["ranges"] if r["inode"] == inode]


def waiters(node, path):
    """pids of those who wait, in order."""
    return [r["pid"] for r in ranges(node, path) if r["state"] == "waits"]


def begin(agent, path, operation, *arguments):
    """Starts what has to wait; returns when it is in csvlockd's line."""
    agent.begin(operation, *arguments)
    wait_until(f"{operation} on {agent.node.name} to wait", lambda: agent.child.pid in waiters(agent.node, path), 10)


@pytest.fixture
def path(trio, place):
    """A file that all agents have open as f."""
    for agent in trio:
        agent.open("f", f"{place}/f", "O_RDWR|O_CREAT")
    return f"{place}/f"


@pytest.mark.parametrize("lock, wait, unlock", [
    (("posix_lock", "f", "w", 0, 10), ("posix_wait", "f", "w", 5, 1), ("posix_lock", "f", "u", 0, 10)),
    (("ofd_lock", "f", "w", 0, 10), ("ofd_wait", "f", "r", 5, 1), ("ofd_lock", "f", "r", 0, 10)),
    (("flock", "f", "LOCK_EX"), ("flock_wait", "f", "LOCK_SH"), ("flock", "f", "LOCK_UN")),
    (("posix_lock", "f", "w", 0, 0), ("ofd_wait", "f", "w", 9, 9), ("close", "f")),
])
def test_granted_when_it_goes(trio, path, lock, wait, unlock):
    one, two, _ = trio
    getattr(one, lock[0])(*lock[1:])
    if wait[0] == "flock_wait":  # FUSE tells the thread of a flock, which is the process here
        two.begin(*wait)
        wait_until("the flock to wait", lambda: waiters(two.node, path), 10)
    else:
        begin(two, path, *wait)
    getattr(one, unlock[0])(*unlock[1:])
    two.finish(SOON_S)
    assert waiters(two.node, path) == []


def test_first_come_first_served(cluster, trio, path):
    one, two, three = trio
    one.posix_lock("f", "w", 0, 10)
    with Agent(one.node) as four:
        four.open("f", path, "O_RDWR")
        begin(three, path, "posix_wait", "f", "w", 0, 10)
        begin(four, path, "posix_wait", "f", "w", 0, 10)
        begin(two, path, "posix_wait", "f", "w", 9, 1)
        line = [three.child.pid, four.child.pid, two.child.pid]
        for node in cluster.nodes:
            assert waiters(node, path) == line
        holder = one
        for agent in (three, four, two):
            holder.posix_lock("f", "u", 0, 10)
            agent.finish(SOON_S)
            line.remove(agent.child.pid)
            assert waiters(one.node, path) == line
            holder = agent


def test_waiting_sends_nothing(trio, path):
    """csvlockd says when the lock goes; nobody asks for it again and again."""
    one, two, _ = trio

    def sent():
        return adm(two.node, "status")["volumes"][0]["counters"]["cluster_msgs_sent"]

    one.posix_lock("f", "w", 0, 10)
    begin(two, path, "posix_wait", "f", "w", 0, 10)
    before = sent()
    with pytest.raises(Exception, match="does not answer"):
        two.finish(1.5)  # 15 tries, when it was asked for ten times a second
    assert sent() - before < 8
    one.posix_lock("f", "u", 0, 10)
    two.finish(SOON_S)


def test_deadlock_across_nodes(trio, path):
    """Three processes on three nodes in a circle: the last one is told, keeps what it has, and can give way."""
    for number, agent in enumerate(trio):
        agent.posix_lock("f", "w", number * 10, 10)
    one, two, three = trio
    begin(one, path, "posix_wait", "f", "w", 10, 10)
    begin(two, path, "posix_wait", "f", "r", 25, 1)
    assert errno_of(three.posix_wait, "f", "w", 0, 1) == errno.EDEADLK
    with Agent(one.node) as other:
        other.open("f", path, "O_RDWR")
        assert errno_of(other.posix_lock, "f", "r", 20, 1) == errno.EAGAIN
    three.posix_lock("f", "u", 20, 10)
    two.finish(SOON_S)
    two.posix_lock("f", "u", 0, 0)
    one.finish(SOON_S)


def test_deadlock_of_upgrades(trio, path):
    one, two, _ = trio
    for agent in (one, two):
        agent.posix_lock("f", "r", 0, 10)
    begin(one, path, "posix_wait", "f", "w", 0, 10)
    assert errno_of(two.posix_wait, "f", "w", 0, 10) == errno.EDEADLK
    two.posix_lock("f", "u", 0, 10)
    one.finish(SOON_S)


def test_no_deadlock_of_open_files(trio, path):
    """OFD locks are nobody's in particular: both wait, as with the kernel's, until somebody gives way."""
    one, two, _ = trio
    one.ofd_lock("f", "w", 0, 10)
    two.ofd_lock("f", "w", 10, 10)
    begin(one, path, "ofd_wait", "f", "w", 10, 10)
    begin(two, path, "ofd_wait", "f", "w", 0, 10)
    two.kill()
    one.finish(SOON_S)


def test_flock_upgrade_of_two(trio, path):
    """flock(2): who waits for the exclusive lock has given up its shared one."""
    one, two, _ = trio
    for agent in (one, two):
        agent.flock("f", "LOCK_SH")
    one.begin("flock_wait", "f", "LOCK_EX")
    wait_until("the upgrade to wait", lambda: waiters(one.node, path), 10)
    two.begin("flock_wait", "f", "LOCK_EX")
    one.finish(SOON_S)
    one.flock("f", "LOCK_UN")
    two.finish(SOON_S)


def test_signal_ends_the_wait(trio, path):
    one, two, three = trio
    one.posix_lock("f", "w", 0, 10)
    begin(two, path, "posix_wait", "f", "w", 0, 10)
    begin(three, path, "posix_wait", "f", "w", 0, 10)
    os.kill(two.child.pid, signal.SIGUSR1)
    assert errno_of(two.finish) == errno.EINTR
    assert waiters(one.node, path) == [three.child.pid]
    one.posix_lock("f", "u", 0, 10)
    three.finish(SOON_S)
    assert errno_of(two.posix_lock, "f", "r", 0, 1) == errno.EAGAIN


def test_holders_process_dies(trio, path):
    one, two, _ = trio
    with Agent(one.node) as doomed:
        doomed.open("f", path, "O_RDWR")
        doomed.posix_lock("f", "w", 0, 10)
        begin(two, path, "posix_wait", "f", "w", 0, 10)
        doomed.kill()
        two.finish(SOON_S)


def test_holders_csvfs_dies(trio, path):
    one, two, _ = trio
    one.posix_lock("f", "w", 0, 10)
    begin(two, path, "posix_wait", "f", "w", 0, 10)
    kill_program(one.node, "csvfs")
    two.finish(TAKE_OVER_S)


def test_holders_node_dies(cluster, trio, path):
    one, two, three = trio
    one.posix_lock("f", "w", 0, 10)
    begin(two, path, "posix_wait", "f", "w", 0, 10)
    cluster.kill("n1")
    three.begin("posix_wait", "f", "r", 20, 1)  # conflicts with nothing, but nothing is granted before the replay
    two.finish(TAKE_OVER_S)
    three.finish(TAKE_OVER_S)


def test_waiters_node_dies(cluster, trio, path):
    """Its place in the line goes with it."""
    one, two, three = trio
    one.posix_lock("f", "w", 0, 10)
    begin(two, path, "posix_wait", "f", "w", 0, 10)
    begin(three, path, "posix_wait", "f", "w", 0, 10)
    cluster.kill("n2")
    one.posix_lock("f", "u", 0, 10)
    three.finish(TAKE_OVER_S)


@pytest.mark.parametrize("who", [0, 1])
def test_csvlockd_ends(trio, path, who):
    """The holder's or the waiter's: the lock stands, and is waited for."""
    one, two, _ = trio
    one.posix_lock("f", "w", 0, 10)
    begin(two, path, "posix_wait", "f", "w", 0, 10)
    node = trio[who].node
    kill_program(node, "csvlockd")
    csvfs.begin_lockd(node)
    csvfs.wait_lockd(node)
    csvfs.wait_online(node)
    wait_until("the request to wait again", lambda: waiters(one.node, path) == [two.child.pid], 10)
    one.posix_lock("f", "u", 0, 10)
    two.finish(SOON_S)


@pytest.mark.parametrize("killed", [None, "csvlockd"])
def test_exclusive_under_load(cluster, trio, path, killed):
    """Six processes on three nodes lock two of four counters each, in any order: nothing is added twice or lost, and
    nobody waits for ever. With deadlocks by the dozen, and while a csvlockd dies."""
    slots, count = 4, 100
    trio[0].pwrite("f", "\0" * slots * 4096, 0)
    with contextlib.ExitStack() as stack:
        people = [stack.enter_context(Agent(node, seconds=MANY_S)) for node in cluster.nodes for _ in range(2)]
        for seed, agent in enumerate(people):
            agent.open("f", path, "O_RDWR")
            agent.begin("add_in_pairs", "f", slots, count, seed)
        if killed:
            wait_until("some to have been added", lambda: trio[2].sum("f", slots) > 100, MANY_S)
            kill_program(trio[0].node, killed)
            csvfs.begin_lockd(trio[0].node)
            csvfs.wait_lockd(trio[0].node)
        deadlocks = sum(agent.finish() for agent in people)
    assert trio[1].sum("f", slots) == 2 * count * len(people)
    assert deadlocks
    assert ranges(trio[0].node, path) == []


def test_ten_thousand(trio, path):
    """They outlive the csvlockd of their node, and go with their process."""
    one, two, _ = trio
    with Agent(one.node, seconds=MANY_S) as many:
        many.open("f", path, "O_RDWR")
        many.posix_many("f", "w", MANY, 2)
        assert len(ranges(two.node, path)) == MANY
        begin(two, path, "posix_wait", "f", "r", 0, 0)
        kill_program(one.node, "csvlockd")
        csvfs.begin_lockd(one.node)
        csvfs.wait_lockd(one.node)
        csvfs.wait_online(one.node)
        assert errno_of(one.posix_lock, "f", "r", 2 * MANY - 2, 1) == errno.EAGAIN
        assert len([r for r in ranges(two.node, path) if r["state"] == "holds"]) == MANY
        many.kill()
        two.finish(SOON_S)
