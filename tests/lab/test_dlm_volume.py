# SPDX-License-Identifier: GPL-2.0-or-later
"""A volume with lock=dlm on all machines: the kernel's DLM grants its locks, gated by the fence agent."""
import json
import re

import pytest

from agents import Agent, errno_of
from disks import EVENT_S, Disk
from harness import csvfs
from harness.instance import BIN, MOUNT_POINT
from harness.wait import wait_until

FOLDER = f"{MOUNT_POINT}/dlm"
AGENT_S = 120  # for an operation of an agent: it may wait for the re-attach time, or a recovery


def status(node):
    """What csvadm says of the volume on a node."""
    return json.loads(node.run([BIN / "csvadm", "--json", "status"]).stdout)["volumes"][0]


def spaces(node):
    """The volume's lockspaces in a machine's kernel."""
    return re.findall(r"^name\s+(csv[0-9a-f]{32})$", node.run(["dlm_tool", "ls"]).stdout, re.M)


@pytest.fixture(scope="module")
def fenced_lab(session_lab):
    """csvlockd on every machine, and dlm_controld that fences by our agent, for as long as these tests."""
    lab = session_lab
    lab.agent = str(BIN / "csv-dlm-fence")
    lab.use_csvfs = True
    lab.restart()
    Disk(lab.nodes[0], lab.disk()).clear()  # of mounts that lost their power
    csvfs.csvadm(lab.nodes[0], ["format", lab.disk(), "--name", "vol1", "--cluster", lab.instance.name, "--force",
                                "--slots", "4", "--journal", "8M"])
    lab.use_lock("dlm")
    lab.mount(lab.nodes)
    yield lab
    for node in lab.nodes:
        csvfs.csvadm(node, ["umount", MOUNT_POINT])
    checked = json.loads(lab.nodes[0].run([BIN / "csvadm", "--json", "check", lab.disk()]).stdout)
    lab.agent, lab.use_csvfs = None, False
    lab.use_lock("cpg")
    lab.restart()
    assert checked["clean"] is True


@pytest.fixture
def volume(fenced_lab):
    """The lab, the volume online on all machines, with an empty folder."""
    assert all(node.mounted(MOUNT_POINT) for node in fenced_lab.nodes)
    fenced_lab.nodes[0].run(["sh", "-c", 'rm -rf "$0" && mkdir "$0"', FOLDER])
    yield fenced_lab
    fenced_lab.heal()


@pytest.fixture
def trio(volume):
    """An agent on each machine."""
    agents = [Agent(node, AGENT_S) for node in volume.nodes]
    yield agents
    for agent in agents:
        with agent:
            pass


def test_coherence(volume, trio):
    """Names, sizes and attributes that one machine changes the others see at once; then all three in turn."""
    assert {status(node)["engine"] for node in volume.nodes} == {"dlm"}
    assert all(len(spaces(node)) == 1 for node in volume.nodes)
    for turn in range(4):
        for n, writer in enumerate(trio):
            name = f"{FOLDER}/of-{turn}-{n}"
            writer.open("f", name, "O_RDWR|O_CREAT")
            writer.pwrite("f", "x" * (turn + 1), 0)
            writer.close("f")
            for node in volume.nodes:
                assert node.run(["stat", "-c", "%s", name]).stdout == f"{turn + 1}\n"
    names = {node.run(["ls", FOLDER]).stdout for node in volume.nodes}
    assert len(names) == 1 and len(names.pop().split()) == 12


def test_second_writer_is_refused(volume, trio):
    """The lease of an image, through the DLM's NOQUEUE."""
    one, two, _ = trio
    one.open("d", f"{FOLDER}/disk.raw", "O_RDWR|O_CREAT")
    one.pwrite("d", "mine", 0)
    assert errno_of(two.open, "d", f"{FOLDER}/disk.raw", "O_RDWR")
    one.close("d")
    wait_until("the lease to be given back", lambda: not errno_of(two.open, "d", f"{FOLDER}/disk.raw", "O_RDWR"), EVENT_S)
    assert two.pread("d", 4, 0) == "mine"


def test_handoff(volume, trio):
    one, two, _ = trio
    disk = f"{FOLDER}/vm.raw"
    one.open("d", disk, "O_RDWR|O_CREAT")
    one.pwrite("d", "written at the source", 0)
    made = json.loads(volume.nodes[0].run([BIN / "csvadm", "--json", "handoff", "prepare", disk, "--to", "n2"]).stdout)
    two.open("d", disk, "O_RDWR")
    done = json.loads(volume.nodes[0].run([BIN / "csvadm", "--json", "handoff", "commit", made["id"]]).stdout)
    assert done["outcome"] == "moved" and done["owner"] == "n2"
    two.pwrite("d", "there", 0)
    assert two.pread("d", 21, 0) == "there" + "written at the source"[5:]
    one.close("d")
    volume.nodes[1].run([BIN / "csvadm", "handoff", "finish", made["id"]])


def test_csvlockd_is_killed(volume, trio):
    """Its locks stay in the kernel, as orphans; the next one adopts what the csvfs has (L3, L4)."""
    one, two, _ = trio
    node = volume.nodes[0]
    one.open("d", f"{FOLDER}/disk.raw", "O_RDWR|O_CREAT")
    one.pwrite("d", "before", 0)
    space = spaces(node)
    node.run(["pkill", "-KILL", "-P", str(node.pid_of("csvlockd"))])  # its supervisor starts another one
    one.pwrite("d", "after!", 0)
    one.open("new", f"{FOLDER}/new", "O_RDWR|O_CREAT")  # a lock that it had, or asks for
    assert errno_of(two.open, "d", f"{FOLDER}/disk.raw", "O_RDWR")
    two.open("other", f"{FOLDER}/other", "O_RDWR|O_CREAT")  # and one that is wanted from it
    assert spaces(node) == space
    assert status(node)["state"] == "online"
    one.close("d")
    wait_until("the lease to be given back", lambda: not errno_of(two.open, "d", f"{FOLDER}/disk.raw", "O_RDWR"), EVENT_S)


def test_grant_after_replay(volume, trio):
    """A machine dies with an image's lease and a folder's lock: both are had after its fence and its replay."""
    one, two, three = trio
    one.open("d", f"{FOLDER}/disk.raw", "O_RDWR|O_CREAT")
    one.pwrite("d", "acknowledged", 0)
    one.fsync("d")
    for n in range(20):
        one.open("f", f"{FOLDER}/made-{n}", "O_RDWR|O_CREAT")
        one.fsync("f")
        one.close("f")
    volume.kill("n1")
    two.begin("open", "new", f"{FOLDER}/after", "O_RDWR|O_CREAT")  # needs the folder's lock
    two.finish(300)
    three.open("d", f"{FOLDER}/disk.raw", "O_RDWR")
    assert three.pread("d", 12, 0) == "acknowledged"
    names = volume.nodes[1].run(["ls", FOLDER]).stdout.split()
    assert {f"made-{n}" for n in range(20)} <= set(names)
    for node in volume.nodes[1:]:
        assert status(node)["state"] == "online"


def test_lockspace_is_left(volume):
    """A node without a mount is in no lockspace, and mounts again."""
    node = volume.nodes[2]
    csvfs.csvadm(node, ["umount", MOUNT_POINT])
    wait_until("n3 to leave the lockspace", lambda: not spaces(node), 300)
    volume.mount([node])
    node.run(["touch", f"{FOLDER}/again"])
    assert volume.nodes[0].run(["ls", FOLDER]).stdout == "again\n"
