# SPDX-License-Identifier: GPL-2.0-or-later
"""csvfs in the machines: csvlockd and the volume on all three, and one of them loses its power."""
import pytest

from harness import csvfs
from harness.instance import BIN, MOUNT_POINT

RECOVERY_S = 300


@pytest.fixture(scope="module")
def started_volume(session_lab):
    """csvlockd and the volume on every machine, for as long as these tests."""
    lab = session_lab
    lab.use_csvfs = True
    lab.start_lockd(lab.nodes)
    csvfs.format_volume(lab.nodes[0], lab.lun, lab.instance.name)
    lab.mount(lab.nodes)
    yield lab
    lab.use_csvfs = False
    for node in lab.nodes:
        node.run([BIN / "csvadm", "umount", MOUNT_POINT])
        node.run(["kill", "-TERM", str(node.pid_of("csvlockd"))])


@pytest.fixture
def volume(lab, started_volume):
    """The volume's place on every machine."""
    yield MOUNT_POINT
    lab.heal()


def checksum(node, path):
    """SHA-256 of a file as a machine reads it."""
    return node.run(["sha256sum", path], timeout=RECOVERY_S).stdout.split()[0]


def test_survivors_take_over_from_a_dead_machine(lab, volume):
    one, two, three = lab.nodes
    one.run(["sh", "-c", 'mkdir "$0/d" && cp /usr/bin/bash "$0/d/old" && sync "$0/d/old"', volume])
    wanted = checksum(one, "/usr/bin/bash")
    assert checksum(two, f"{volume}/d/old") == wanted
    # n1 has the folder's lock, and its journal is not empty.
    one.run(["sh", "-c", 'touch "$0/d/last" && sync "$0/d"', volume])
    lab.kill("n1")
    two.run(["mv", f"{volume}/d/old", f"{volume}/d/new"], timeout=RECOVERY_S)  # needs that lock
    assert checksum(three, f"{volume}/d/new") == wanted
    lab.start("n1")
    csvfs.wait_online(one)
    assert one.run(["ls", f"{volume}/d"]).stdout.split() == ["last", "new"]
    assert checksum(one, f"{volume}/d/new") == wanted
