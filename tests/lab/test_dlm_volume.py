# SPDX-License-Identifier: GPL-2.0-or-later
"""A volume with lock=dlm on all machines: the kernel's DLM grants its locks, gated by the fence agent."""
import re

import pytest

from agents import errno_of
from commands import adm, refused, volume
from disks import EVENT_S
from harness import csvfs
from harness.instance import MOUNT_POINT
from harness.wait import wait_until

FOLDER = f"{MOUNT_POINT}/dlm"


def spaces(node):
    """The volume's lockspaces in a machine's kernel."""
    return re.findall(r"^name\s+(csv[0-9a-f]{32})$", node.run(["dlm_tool", "ls"]).stdout, re.M)


@pytest.fixture
def folder(lab):
    """An empty one, on the lab."""
    lab.nodes[0].run(["sh", "-c", 'rm -rf "$0" && mkdir "$0"', FOLDER])
    return FOLDER


def test_csvlockd_is_killed(lab, folder, trio):
    """Its locks stay in the kernel, as orphans; the next one adopts what the csvfs has (L3, L4)."""
    one, two, _ = trio
    node = lab.nodes[0]
    one.open("d", f"{folder}/disk.raw", "O_RDWR|O_CREAT")
    one.pwrite("d", "before", 0)
    space = spaces(node)
    node.run(["pkill", "-KILL", "-P", str(node.pid_of("csvlockd"))])  # its supervisor starts another one
    one.pwrite("d", "after!", 0)
    one.open("new", f"{folder}/new", "O_RDWR|O_CREAT")  # a lock that it had, or asks for
    assert errno_of(two.open, "d", f"{folder}/disk.raw", "O_RDWR")
    two.open("other", f"{folder}/other", "O_RDWR|O_CREAT")  # and one that is wanted from it
    assert spaces(node) == space
    assert volume(node)["state"] == "online"
    one.close("d")
    wait_until("the lease to be given back", lambda: not errno_of(two.open, "d", f"{folder}/disk.raw", "O_RDWR"), EVENT_S)


def test_lockspace_is_left(lab, folder):
    """A node without a mount is in no lockspace, and mounts again."""
    node = lab.nodes[2]
    csvfs.csvadm(node, ["umount", MOUNT_POINT])
    wait_until("n3 to leave the lockspace", lambda: not spaces(node), 300)
    lab.mount([node])
    node.run(["touch", f"{folder}/again"])
    assert lab.nodes[0].run(["ls", folder]).stdout == "again\n"


def test_engine(lab):
    """All mounts use the DLM, in one lockspace."""
    assert {volume(node)["engine"] for node in lab.nodes} == {"dlm"}
    assert len({tuple(spaces(node)) for node in lab.nodes}) == 1


def test_refused_without_our_agent(lab):
    """Any other agent would let the DLM grant before the replay."""
    node = lab.nodes[2]
    csvfs.csvadm(node, ["umount", MOUNT_POINT])
    node.run(["sh", "-c", "cp /etc/dlm/dlm.conf /run/dlm.conf && sed -i 's|^fence_all .*|fence_all /bin/true|' /etc/dlm/dlm.conf"])
    try:
        refused(node, 1, "mount", lab.lun, MOUNT_POINT, "-o", "lock=dlm,node=n3", parts=("lock=dlm", "fence_all"), timeout=120)
    finally:
        node.run(["cp", "/run/dlm.conf", "/etc/dlm/dlm.conf"])


def test_all_that_was_left_is_sound(lab):
    """After deaths, power cuts and restarts of the target; unmounted everywhere."""
    for node in lab.nodes:
        csvfs.csvadm(node, ["umount", MOUNT_POINT])
    assert adm(lab.nodes[0], "check", lab.lun)["clean"] is True
