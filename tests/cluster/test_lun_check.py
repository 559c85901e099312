# SPDX-License-Identifier: GPL-2.0-or-later
"""csvadm lun check over libiscsi: what tgtd honours; nothing is left behind, whatever ends it."""
import json
import os
import signal
import time

import pytest

from commands import adm, refused, volume
from harness import csvfs
from harness.instance import BIN

WANTED = {"block": 512, "preempt_abort": False, "compare_write": False, "unmap": True, "aptpl": False,
          "enforced": True, "fit": True, "against": []}


@pytest.fixture
def lun(cluster):
    """A LUN that nobody uses."""
    return cluster.instance.lun_url(2)


def check(node, lun):
    """Its answer; a key or reservation left by an earlier one would show."""
    said = adm(node, "lun", "check", lun)
    assert {name: said[name] for name in WANTED} == WANTED
    assert {5, 7} <= set(said["pr_types"])
    return said


def test_fit(cluster, lun):
    with open(cluster.target.backing_file(2), "r+b") as file:
        file.seek(-4096, 2)
        file.write(b"\xa5" * 4096)
    for node in cluster.nodes:
        assert check(node, lun)["size"] == cluster.target.backing_file(2).stat().st_size
    with open(cluster.target.backing_file(2), "rb") as file:
        file.seek(-4096, 2)
        assert file.read() == b"\xa5" * 4096


def test_in_use(cluster):
    """Refused on every node, and the mounts notice nothing."""
    before = [volume(node) for node in cluster.nodes]
    for node in cluster.nodes:
        refused(node, 3, "lun", "check", cluster.lun)
    for node, was in zip(cluster.nodes, before):
        assert [volume(node)[name] for name in ("state", "slot", "incarnation")] \
            == [was[name] for name in ("state", "slot", "incarnation")]


def test_other_content(cluster, lun, tmp_path):
    """A filesystem may be in use by somebody who knows nothing of reservations."""
    image = cluster.target.backing_file(2)
    cluster.node("n1").run(["mkfs.ext4", "-q", "-F", image, "64M"])
    try:
        refused(cluster.node("n2"), 9, "lun", "check", lun, parts=("ext4", "--destructive"))
        assert adm(cluster.node("n2"), "lun", "check", lun, "--destructive")["fit"] is True
    finally:
        with open(image, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.truncate(0)
            file.truncate(size)


def test_local_mount(cluster, lun):
    """A mount with lock=local has a key, too."""
    one, two = cluster.nodes[:2]
    adm(one, "format", lun, "--name", "local", "--force", "--slots", "2", "--journal", "8M")
    check(two, lun)
    one.run(["mkdir", "-p", "/run/csv/local"])
    csvfs.csvadm(one, ["mount", lun, "/run/csv/local", "-o", "lock=local"])
    try:
        refused(two, 3, "lun", "check", lun, parts=("node n1 has volume local mounted",))
    finally:
        one.run([BIN / "csvadm", "umount", "/run/csv/local"])
    check(two, lun)


def test_no_lun(cluster, tmp_path):
    image = tmp_path / "image"
    image.write_bytes(b"")
    image.open("r+b").truncate(1 << 30)
    refused(cluster.node("n1"), 1, "lun", "check", image, parts=("no reservations",))
    refused(cluster.node("n1"), 2, "lun", "check")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM], ids=["interrupted", "terminated"])
def test_ended_on_the_way(cluster, lun, end):
    """At whatever moment: the probe is brought to its end first."""
    node = cluster.node("n1")
    began = time.monotonic()
    check(node, lun)
    whole = time.monotonic() - began
    for part in range(10):
        child = node.popen([BIN / "csvadm", "--json", "lun", "check", lun])
        time.sleep(whole * part / 10)
        child.send_signal(end)
        child.wait(60)
        again = json.loads(node.run([BIN / "csvadm", "--json", "lun", "check", lun]).stdout)
        assert {5, 7} <= set(again["pr_types"]), part
