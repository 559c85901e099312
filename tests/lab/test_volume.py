# SPDX-License-Identifier: GPL-2.0-or-later
"""csvfs on the kernel's block device: made and filled on one machine, used on another."""
import json

import pytest

from harness.instance import BIN

POINT = "/run/csv/lab"


def csvadm(node, *words):
    """csvadm's object; None where it has nothing to say."""
    text = node.run([BIN / "csvadm", "--json", *words]).stdout
    return json.loads(text) if text else None


@pytest.fixture
def volume(lab):
    """A new volume on LUN 3; what a test has mounted is unmounted."""
    made = csvadm(lab.nodes[0], "format", lab.disk(3), "--name", "labvol", "--force",
                  "--slots", "4", "--journal", "8M")  # a check reads all journals
    assert made["volume"] == "labvol"
    yield lab.disk(3)
    for node in lab.nodes:
        if node.mounted(POINT):
            csvadm(node, "umount", POINT)


def test_local_mount_on_a_block_device(lab, volume):
    one, two = lab.nodes[:2]
    for node in (one, two):
        node.run(["mkdir", "-p", POINT])
    csvadm(one, "mount", volume, POINT, "-o", "lock=local")
    assert one.mounted(POINT)
    one.run(["sh", "-c", 'mkdir "$0/d" && cp /usr/bin/bash "$0/d/file" && sync "$0/d/file"', POINT])
    wanted = one.run(["sha256sum", "/usr/bin/bash"]).stdout.split()[0]
    csvadm(one, "umount", POINT)
    assert csvadm(one, "check", volume)["clean"] is True
    csvadm(two, "mount", volume, POINT, "-o", "lock=local")
    assert two.run(["sha256sum", f"{POINT}/d/file"]).stdout.split()[0] == wanted
    two.run(["rm", "-r", f"{POINT}/d"])
    csvadm(two, "umount", POINT)
    assert csvadm(two, "check", volume)["clean"] is True
