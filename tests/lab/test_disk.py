# SPDX-License-Identifier: GPL-2.0-or-later
"""The LUN as the kernel's block device: the same on all machines, its reservations, a fence that holds.

What the target cannot do is written down here too: a test that fails because it learned to is good news.
"""
import uuid

import pytest

from disks import ALL_REGISTRANTS, BLOCK, KERNEL_TYPE, Disk, check_fence


@pytest.fixture
def disks(lab):
    """LUN 2 on each machine, with no reservation on it."""
    found = [Disk(node, lab.disk(2)) for node in lab.nodes]
    found[0].clear()
    yield found
    lab.heal()
    found[0].clear()


def test_one_lun_on_all_machines(disks):
    described = {disk.node.run(["sg_vpd", "-p", "sn", disk.path]).stdout for disk in disks}
    assert len(described) == 1
    sizes = {disk.node.run(["blockdev", "--getsize64", disk.path]).stdout for disk in disks}
    assert sizes == {f"{2 << 30}\n"}
    for number, disk in enumerate(disks):
        data = uuid.uuid4().bytes * (BLOCK // 16)
        disk.write(data, number)
        for other in disks:
            assert other.read(number) == data


def test_reservation_through_sg_io(disks):
    one, two, three = disks
    one.register()
    two.register()
    one.reserve()
    assert one.keys() == {one.key, two.key}
    held = three.persist("--in", "--read-reservation").stdout
    assert ALL_REGISTRANTS in held
    data = bytes(BLOCK)
    assert one.write(data) and two.write(data)
    assert not three.write(data, check=False)
    assert three.read() == data  # a write-exclusive one lets everybody read
    one.persist("--out", "--register", f"--param-rk={one.key:#x}", "--param-sark=0")
    assert two.keys() == {two.key}
    assert not one.write(data, check=False) and two.write(data)  # it outlives who took it


def test_reservation_through_ioctl(disks):
    one, two, _ = disks
    # The kernel asks for a registration that outlives a power loss (APTPL), which tgtd has not.
    assert one.ioctl("register", 0, one.key).startswith("status ")
    assert one.keys() == set()
    # The other verbs work on what SG_IO has registered.
    one.register()
    two.register()
    assert one.ioctl("reserve", one.key, KERNEL_TYPE) == "ok"
    assert ALL_REGISTRANTS in two.persist("--in", "--read-reservation").stdout
    assert one.ioctl("preempt", one.key, two.key, KERNEL_TYPE) == "ok"
    assert one.keys() == {one.key}
    two.register()
    assert one.ioctl("preempt-abort", one.key, two.key, KERNEL_TYPE).startswith("status ")  # though tgtd advertises it
    assert one.keys() == {one.key, two.key}
    assert one.ioctl("clear", one.key) == "ok"
    assert one.keys() == set()


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
def test_preempted_machine_cannot_write(lab, disks, frozen):
    one, victim, _ = disks
    check_fence(lab, one, victim, one.preempt, frozen)
