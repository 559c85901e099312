# SPDX-License-Identifier: GPL-2.0-or-later
"""The same on the kernel's iSCSI target, which has what tgtd refuses."""
import json

import pytest

from bed.lio import Lio
from disks import ALL_REGISTRANTS, BLOCK, KERNEL_TYPE, SECTOR, Disk, check_fence
from harness.instance import BIN


@pytest.fixture(scope="module")
def session_lio(session_lab):
    """A fourth machine, for as long as these tests."""
    machine = Lio(session_lab.instance)
    machine.start([session_lab.initiator(node) for node in session_lab.nodes])
    yield machine
    for node in session_lab.nodes:
        machine.logout(node)
    machine.kill()


@pytest.fixture
def disks(lab, session_lio):
    """Its LUN on two machines, with no reservation on it."""
    found = [Disk(node, session_lio.login(node)) for node in lab.nodes[:2]]
    found[0].clear()
    yield found
    lab.heal()


def test_reservation_through_ioctl(disks):
    one, two = disks
    assert one.ioctl("register", 0, one.key) == "ok"
    assert two.ioctl("register", 0, two.key) == "ok"
    assert one.ioctl("reserve", one.key, KERNEL_TYPE) == "ok"
    assert one.keys() == {one.key, two.key}
    assert ALL_REGISTRANTS in two.persist("--in", "--read-reservation").stdout
    assert one.ioctl("preempt-abort", one.key, two.key, KERNEL_TYPE) == "ok"
    assert one.keys() == {one.key}
    assert two.ioctl("register", two.key, 0).startswith("status ")  # a conflict: it has no registration any more
    assert one.ioctl("clear", one.key) == "ok"
    assert one.keys() == set()


def test_lun_check(disks):
    """It has all that csvfs asks for."""
    one, two = disks
    said = json.loads(one.node.run([BIN / "csvadm", "--json", "lun", "check", one.path]).stdout)
    assert said["fit"] is True and {1, 3, 5, 6, 7, 8} == set(said["pr_types"])
    assert [said[name] for name in ("preempt_abort", "compare_write", "aptpl")] == [True, True, True]
    assert two.keys() == set() and "there is NO reservation" in two.persist("--in", "--read-reservation").stdout


def test_compare_and_write(disks):
    one, two = disks
    old, new = b"o" * SECTOR, b"n" * SECTOR
    rest = bytes(BLOCK - SECTOR)
    one.write(old + rest, 7)
    assert one.compare_and_write(7, old, new)
    assert two.read(7) == new + rest
    assert not two.compare_and_write(7, old, b"x" * SECTOR)
    assert one.read(7) == new + rest


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
def test_preempted_machine_cannot_write(lab, disks, frozen):
    one, victim = disks

    def preempt_and_abort(other):
        assert one.ioctl("preempt-abort", one.key, other.key, KERNEL_TYPE) == "ok"

    check_fence(lab, one, victim, preempt_and_abort, frozen)
