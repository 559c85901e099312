# SPDX-License-Identifier: GPL-2.0-or-later
"""The handoff of images between real mounts: data, handles and leases on both sides."""
import errno
import json

import pytest

from agents import errno_of
from daemons import kill_program
from harness.csvfs import volume_state
from harness.instance import BIN

KEPT, BUSY = 10, 3


def csvadm(node, *words, check=0):
    done = node.run([BIN / "csvadm", "--json", *words], check=False, timeout=150)
    assert done.returncode == check, f"{words}: exit {done.returncode}: {done.stdout} {done.stderr}"
    return json.loads(done.stdout)


def lease(node, path):
    return csvadm(node, "vhd", "info", path)["lease"]


@pytest.fixture
def disks(place):
    return [f"{place}/web1.raw", f"{place}/web1-data.raw"]


def open_all(agent, disks, flags="O_RDWR|O_CREAT"):
    for n, path in enumerate(disks):
        agent.open(f"d{n}", path, flags)


def prepare(cluster, disks, frm="n1", to="n2"):
    return csvadm(cluster.node(frm), "handoff", "prepare", *disks, "--to", to)["id"]


def fails_with(code, fn, *arguments):
    with pytest.raises(OSError) as caught:
        fn(*arguments)
    assert caught.value.errno == code


def opens(agent, path):
    try:
        agent.open("now", path, "O_RDWR")
    except OSError:
        return False
    agent.close("now")
    return True


def test_moves_both_disks(cluster, trio, disks):
    source, destination, third = trio
    open_all(source, disks)
    for name in ("d0", "d1"):
        source.pwrite(name, "written at the source", 0)
    ident = prepare(cluster, disks)
    open_all(destination, disks, "O_RDWR")
    assert destination.pread("d0", 21, 0) == "written at the source"
    source.pwrite("d0", "still", 0)
    destination.begin("pwrite", "d0", "here!", 100)  # waits
    done = csvadm(cluster.node("n1"), "handoff", "commit", ident)
    assert done["outcome"] == "moved" and done["owner"] == "n2"
    assert done["ms"]["drain"] is not None and done["ms"]["journal"] > 0
    assert destination.finish() == 5
    destination.pwrite("d1", "and there", 200)
    # H5: the source may close its things, and no more.
    fails_with(errno.ESTALE, source.pwrite, "d0", "late", 0)
    fails_with(errno.ESTALE, source.pread, "d0", 4, 0)
    source.fsync("d0")
    source.close("d0")
    source.close("d1")
    csvadm(cluster.node("n2"), "handoff", "finish", ident)
    third.open("look", disks[0], "O_RDONLY")
    assert third.pread("look", 21, 0) == "still" + "written at the source"[5:]
    assert third.pread("look", 5, 100) == "here!"
    fails_with(errno.EBUSY, third.open, "steal", disks[0], "O_RDWR")
    destination.close("d0")
    destination.close("d1")
    cluster.wait_until("the lease to be given back", lambda: opens(third, disks[0]), 10)  # close(2) does not wait for it


def test_there_and_back(cluster, trio, disks):
    source, destination, _ = trio
    open_all(source, disks)
    source.pwrite("d0", "one", 0)
    first = prepare(cluster, disks)
    open_all(destination, disks, "O_RDWR")
    csvadm(cluster.node("n1"), "handoff", "commit", first)
    destination.pwrite("d0", "two", 3)
    source.close("d0")
    source.close("d1")
    second = prepare(cluster, disks, "n2", "n1")
    open_all(source, disks, "O_RDWR")
    csvadm(cluster.node("n2"), "handoff", "commit", second)
    source.pwrite("d0", "three", 6)
    assert source.pread("d0", 11, 0) == "onetwothree"


def locks_of_qemu(agent, name):
    """The bytes that QEMU locks: shared by all who allow writing, and what it tests to keep others out."""
    agent.ofd_lock(name, "w", 100, 2)
    agent.ofd_lock(name, "w", 200, 2)


def test_byte_ranges_do_not_stay_behind(cluster, trio, disks):
    """What the source had locked is gone with the commit, though nobody there unlocks any more."""
    source, destination, third = trio
    open_all(source, disks)
    for name in ("d0", "d1"):
        locks_of_qemu(source, name)
    ident = prepare(cluster, disks)
    open_all(destination, disks, "O_RDWR")
    fails_with(errno.EAGAIN, destination.ofd_lock, "d0", "w", 100, 2)
    csvadm(cluster.node("n1"), "handoff", "commit", ident)
    for name in ("d0", "d1"):
        locks_of_qemu(destination, name)
    # H5: the source may unlock, or lock, as it likes: it touches nothing at the destination.
    source.ofd_lock("d0", "u", 100, 2)
    source.ofd_lock("d0", "w", 100, 2)
    source.close("d0")
    third.open("r", disks[0], "O_RDONLY")
    fails_with(errno.EAGAIN, third.ofd_lock, "r", "r", 100, 2)


def test_byte_ranges_when_the_source_dies(cluster, trio, disks):
    """The node dies with the commit's answer: the destination's VM gets its locks all the same."""
    source, destination, _ = trio
    open_all(source, disks)
    for name in ("d0", "d1"):
        locks_of_qemu(source, name)
    ident = prepare(cluster, disks)
    open_all(destination, disks, "O_RDWR")
    csvadm(cluster.node("n1"), "handoff", "commit", ident)
    cluster.kill("n1")
    for name in ("d0", "d1"):
        locks_of_qemu(destination, name)
    destination.pwrite("d0", "runs on", 0)


def test_byte_ranges_come_back(cluster, trio, disks):
    """A take-back: the source has its locks again, the destination has none."""
    source, destination, third = trio
    open_all(source, disks)
    locks_of_qemu(source, "d0")
    ident = prepare(cluster, disks)
    open_all(destination, disks, "O_RDWR")
    csvadm(cluster.node("n1"), "handoff", "commit", ident)
    locks_of_qemu(destination, "d0")
    destination.ofd_lock("d0", "w", 300, 2)
    csvadm(cluster.node("n2"), "handoff", "takeback", ident)
    third.open("r", disks[0], "O_RDONLY")
    fails_with(errno.EAGAIN, third.ofd_lock, "r", "r", 100, 2)
    third.ofd_lock("r", "r", 300, 2)
    destination.close("d0")
    fails_with(errno.EAGAIN, third.ofd_lock, "r", "r", 100, 2)
    source.close("d0")
    cluster.wait_until("the source's locks to go", lambda: errno_of(third.ofd_lock, "r", "r", 100, 2) == 0, 10)


def test_abort_and_third_start(cluster, trio, disks):
    """H3: while it is prepared nobody else may have it."""
    source, destination, third = trio
    open_all(source, disks)
    ident = prepare(cluster, disks)
    open_all(destination, disks, "O_RDWR")
    fails_with(errno.EBUSY, third.open, "x", disks[0], "O_RDWR")
    destination.begin("pwrite", "d0", "never", 0)
    done = csvadm(cluster.node("n1"), "handoff", "abort", ident)
    assert done["outcome"] == "kept"
    fails_with(errno.EBUSY, destination.finish)
    source.pwrite("d0", "mine", 0)
    assert third.open("r", disks[0], "O_RDONLY") is None and third.pread("r", 4, 0) == "mine"


def test_takeback(cluster, trio, disks):
    """H6: before the first write, not after."""
    source, destination, _ = trio
    open_all(source, disks)
    source.pwrite("d0", "one", 0)
    ident = prepare(cluster, disks)
    open_all(destination, disks, "O_RDWR")
    csvadm(cluster.node("n1"), "handoff", "commit", ident)
    assert destination.pread("d0", 3, 0) == "one"
    done = csvadm(cluster.node("n2"), "handoff", "takeback", ident)
    assert done["outcome"] == "kept" and done["owner"] == "n1"
    source.pwrite("d0", "two", 0)
    fails_with(errno.ESTALE, destination.pwrite, "d0", "no", 0)
    destination.close("d0")
    destination.close("d1")
    again = prepare(cluster, disks)
    open_all(destination, disks, "O_RDWR")
    csvadm(cluster.node("n1"), "handoff", "commit", again)
    destination.pwrite("d0", "three", 0)
    csvadm(cluster.node("n1"), "handoff", "takeback", again, check=BUSY)
    assert csvadm(cluster.node("n3"), "handoff", "status", again)["outcome"] == "moved"
    fails_with(errno.ESTALE, source.pwrite, "d0", "x", 0)


def test_destination_dies_before_commit(cluster, trio, disks):
    source, _, third = trio
    open_all(source, disks)
    ident = prepare(cluster, disks)
    cluster.kill("n2")
    cluster.wait_until("the handoff to be kept",
                       lambda: csvadm(cluster.node("n1"), "handoff", "status", ident)["outcome"] == "kept", 30)
    source.pwrite("d0", "goes on", 0)
    third.open("r", disks[0], "O_RDONLY")
    assert third.pread("r", 7, 0) == "goes on"


def test_source_dies_after_commit(cluster, trio, disks):
    source, destination, third = trio
    open_all(source, disks)
    source.pwrite("d0", "acknowledged", 0)
    ident = prepare(cluster, disks)
    open_all(destination, disks, "O_RDWR")
    csvadm(cluster.node("n1"), "handoff", "commit", ident)
    cluster.kill("n1")
    destination.pwrite("d0", "on", 100)
    cluster.wait_until("the death to be known",
                       lambda: csvadm(cluster.node("n3"), "handoff", "status", ident)["state"] == "done", 30)
    assert csvadm(cluster.node("n3"), "handoff", "status", ident)["owner"] == "n2"
    third.open("r", disks[0], "O_RDONLY")
    assert third.pread("r", 12, 0) == "acknowledged"
    cluster.wait_until("the recovery to be through", lambda: volume_state(cluster.node("n3")) == "online", 30)


def test_daemon_is_restarted(cluster, trio, disks):
    """csvlockd of the source dies while the handoff is prepared; it goes on with another one."""
    source, destination, _ = trio
    open_all(source, disks)
    ident = prepare(cluster, disks)
    node = cluster.node("n1")
    kill_program(node, "csvlockd")
    cluster.start("n1")
    cluster.wait_until("the record to be back",
                       lambda: node.run([BIN / "csvadm", "handoff", "status", ident], check=False).returncode == 0, 20)
    open_all(destination, disks, "O_RDWR")
    done = csvadm(node, "handoff", "commit", ident)
    assert done["outcome"] == "moved"
    destination.pwrite("d0", "moved", 0)
    fails_with(errno.ESTALE, source.pwrite, "d0", "x", 0)
