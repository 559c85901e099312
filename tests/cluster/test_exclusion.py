# SPDX-License-Identifier: GPL-2.0-or-later
"""Two VMs can never write one image, on two nodes or on one; the refusal names the holder."""
import errno

import pytest

from agents import Agent, errno_of
from commands import adm
from vm import bootsector, paths
from vm.launcher import LaunchFailed
from vm.machine import Machine
from vm.seriallog import SerialLog

DISK = bootsector.DISK_SIZE
ACCEL = "tcg"  # a boot sector is fast enough under any


@pytest.fixture(scope="module")
def boot_sector():
    """The guest's code, built."""
    paths.build_all()
    return bootsector


def make_disk(node, place, kind):
    """A bootable image on the volume; (its name, its format as QEMU's driver has to be told)."""
    name, path = f"disk.{kind}", f"{place}/disk.{kind}"
    if kind == "vhd":
        adm(node, "vhd", "create", path, "--size", str(DISK))
    elif kind == "raw":
        node.run(["truncate", "-s", str(DISK), path])
    else:
        node.run(["qemu-img", "create", "-q", "-f", "qcow2", path, str(DISK)])
    driver = "qcow2" if kind == "qcow2" else "raw"
    node.run(["qemu-io", "-f", driver, "-c", f"write -q -s {paths.BOOTSECTOR} 0 512", path])
    return name, driver


def machine(node, definition):
    """A VM on a node, not started yet."""
    prefix = node.enter_words()
    return Machine(definition, "/run/csvfs", node.dir / "vm", prefix=prefix, env=node.environment())


def define(node, place, vm, disk):
    """Writes a VM's definition beside its disk."""
    name, driver = disk
    text = bootsector.definition(vm, name, ACCEL, driver, DISK)
    node.run(["sh", "-c", 'cat > "$0"', f"{place}/{vm}.ini"], input=text)
    return f"{place}/{vm}.ini"


def refusal_in_log(node, mark):
    """Lines of a node's csvfs log after byte `mark` that tell of a refused image."""
    with open(node.dir / "csvfs.log", encoding="utf-8", errors="replace") as file:
        file.seek(mark)
        return [line for line in file if "leased" in line or "held by" in line]


def log_end(node):
    return (node.dir / "csvfs.log").stat().st_size


@pytest.mark.parametrize("kind", ["vhd", "raw", "qcow2"])
def test_second_vm_is_refused(cluster, place, boot_sector, kind):
    one, two = cluster.node("n1"), cluster.node("n2")
    for node in (one, two):
        (node.dir / "vm").mkdir(exist_ok=True)
    disk = make_disk(one, place, kind)
    first, second = (define(one, place, f"{vm}-{kind}", disk) for vm in ("first", "second"))
    with SerialLog(one.dir / "vm" / f"first-{kind}.log") as log, machine(one, first) as holder:
        holder.start()
        log.wait_records(10, 30)
        for node in (two, one):
            mark = log_end(node)
            with machine(node, second) as intruder, pytest.raises(LaunchFailed) as caught:
                intruder.start()
            assert caught.value.status == 3, caught.value
            told = refusal_in_log(node, mark)
            assert told and "n1" in told[-1], (node.name, told)
        log.wait_records(10, 30)
        assert log.error is None


def test_second_process_is_refused(cluster, place):
    """Without QEMU's own locks: the lease alone keeps others out, and reading stays free. A VM without a name
    is its process."""
    one, two = cluster.node("n1"), cluster.node("n2")
    with Agent(one) as holder, Agent(one) as neighbour, Agent(two) as other:
        holder.open("disk", f"{place}/disk.img", "O_RDWR|O_CREAT")
        holder.pwrite("disk", "mine", 0)
        for agent in (neighbour, other):
            mark = log_end(agent.node)
            assert errno_of(agent.open, "disk", f"{place}/disk.img", "O_RDWR") == errno.EBUSY
            told = refusal_in_log(agent.node, mark)
            assert told and "n1" in told[-1] and str(holder.call("getpid")) in told[-1], told
            agent.open("look", f"{place}/disk.img", "O_RDONLY")
            assert agent.pread("look", 10, 0) == "mine"
            assert errno_of(agent.call, "truncate", f"{place}/disk.img", 0) == errno.EBUSY
        holder.close("disk")  # its release comes a little later
        cluster.wait_until("the lease to be free",
                           lambda: errno_of(other.open, "disk", f"{place}/disk.img", "O_RDWR") == 0, 10)
        other.pwrite("disk", "ours", 0)
        assert errno_of(holder.open, "disk", f"{place}/disk.img", "O_RDWR") == errno.EBUSY
        assert neighbour.pread("look", 10, 0) == "ours"


def test_killed_holder_frees_its_image(cluster, place):
    one, two = cluster.node("n1"), cluster.node("n2")
    with Agent(one) as holder, Agent(two) as other:
        holder.open("disk", f"{place}/disk.img", "O_RDWR|O_CREAT")
        assert errno_of(other.open, "disk", f"{place}/disk.img", "O_RDWR") == errno.EBUSY
        holder.kill()
        cluster.wait_until("the lease to be free",
                           lambda: errno_of(other.open, "disk", f"{place}/disk.img", "O_RDWR") == 0, 10)
