# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input on a cluster: one clear line, the right exit code, nothing changed."""
import os
import signal

import pytest

from commands import adm, refused, volume
from harness import csvfs
from harness.instance import MOUNT_POINT

MOUNT_OPTIONS = ["-o", "lock=cpg"]


@pytest.fixture
def outsider(cluster):
    """n3 without the volume; its csvlockd and corosync run."""
    node = cluster.node("n3")
    node.run(["csvadm", "umount", MOUNT_POINT])
    return node


def other_lun(cluster):
    return cluster.instance.lun_url(2)


def test_volume_of_another_cluster(cluster, outsider):
    adm(outsider, "format", other_lun(cluster), "--name", "vol2", "--cluster", "elsewhere", "--force")
    before = adm(outsider, "volume", "info", other_lun(cluster))
    refused(outsider, 9, "mount", other_lun(cluster), MOUNT_POINT, *MOUNT_OPTIONS, parts=("elsewhere",))
    assert adm(outsider, "volume", "info", other_lun(cluster)) == before
    assert not outsider.mounted(MOUNT_POINT)


def test_lun_without_a_volume(cluster, outsider):
    with open(cluster.target.backing_file(2), "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.truncate(0)
        file.truncate(size)
    refused(outsider, 9, "mount", other_lun(cluster), MOUNT_POINT, *MOUNT_OPTIONS, parts=(other_lun(cluster),))


def test_live_volume_is_not_formatted(cluster):
    """Not even with --force, and not locally mounted either, while a node has it."""
    node = cluster.node("n2")
    refused(node, 3, "format", cluster.lun, "--name", "vol1", "--force")
    node.run(["mkdir", "-p", "/run/other"])
    refused(node, 3, "mount", cluster.lun, "/run/other", "-o", "lock=local")
    assert volume(node)["state"] == "online"


def test_no_quorum(cluster, outsider):
    cluster.net_cut("n3")
    cluster.wait_members(["n3"], ["n3"], quorate=False)
    refused(outsider, 5, "--timeout", "20", "mount", cluster.lun, MOUNT_POINT, *MOUNT_OPTIONS, parts=("quorum",))
    assert not outsider.mounted(MOUNT_POINT)


def test_no_corosync(cluster, outsider):
    os.kill(outsider.pid_of("corosync"), signal.SIGKILL)
    cluster.wait_members(["n1", "n2"], ["n1", "n2"])
    refused(outsider, 5, "mount", cluster.lun, MOUNT_POINT, *MOUNT_OPTIONS, parts=("corosync",))
    os.kill(outsider.pid_of("csvlockd"), signal.SIGKILL)
    refused(outsider, 5, "mount", cluster.lun, MOUNT_POINT, *MOUNT_OPTIONS, parts=("csvlockd",))
    refused(outsider, 5, "status", parts=("csvlockd",))


def test_target_out_of_reach(cluster, outsider):
    """Nobody listens there; then no answer at all."""
    closed = cluster.lun.replace("/iqn", ":3999/iqn")
    refused(outsider, 6, "mount", closed, MOUNT_POINT, *MOUNT_OPTIONS)
    cluster.lun_cut("n3")
    refused(outsider, 6, "mount", cluster.lun, MOUNT_POINT, *MOUNT_OPTIONS)
    assert not outsider.mounted(MOUNT_POINT)


@pytest.mark.parametrize("code, words, part", [
    (4, ["mount", "{lun}", "/run/nowhere"], "/run/nowhere"),
    (4, ["mount", "{lun}9", MOUNT_POINT], "LUN"),
    (2, ["mount", "iscsi://nonsense", MOUNT_POINT], "iscsi://"),
    (2, ["mount", "{lun}", MOUNT_POINT, "-o", "colour=blue"], "colour"),
    (2, ["mount", "{lun}", MOUNT_POINT, "-o", "lock=magic"], "magic"),
    (4, ["umount", "/run"], ""),
    (4, ["lock", "list", "nosuch"], "nosuch"),
    (4, ["volume", "info", "nosuch"], "nosuch"),
    (2, ["vhd", "create", MOUNT_POINT + "/x.vhd", "--size", "many"], "many"),
    (4, ["vhd", "create", MOUNT_POINT + "/no/x.vhd", "--size", "1M"], ""),
    (2, ["frobnicate"], "frobnicate"),
])
def test_wrong_names(cluster, code, words, part):
    node = cluster.node("n2")
    refused(node, code, *[word.format(lun=cluster.lun) for word in words], parts=(part,))
    assert csvfs.volume_state(node) == "online"


def test_mount_options_that_mean_nothing(cluster, outsider):
    """What a mount in a cluster cannot heed is refused, not ignored."""
    refused(outsider, 2, "mount", cluster.lun, MOUNT_POINT, "-o", "lock=cpg,node=elsewhere", parts=("elsewhere", "n3"))
    refused(outsider, 2, "mount", cluster.lun, MOUNT_POINT, "-o", "lock=cpg,ro", parts=("read-only",))
    assert not outsider.mounted(MOUNT_POINT)


def test_registered_is_what_the_target_says(cluster, outsider):
    """Not what the group says: a member without a mount has no key; who has no way to a LUN does not know."""
    registered = {n["name"]: n["pr_registered"] for n in adm(cluster.node("n1"), "node", "list")["nodes"]}
    assert registered == {"n1": True, "n2": True, "n3": False}
    assert {n["pr_registered"] for n in adm(outsider, "node", "list")["nodes"]} == {None}


def test_foreign_content_is_not_formatted(cluster, outsider):
    """VMFS has its signatures at 1 and 2 MiB, LUKS2 a second header at 4 MiB; a GPT's last copy is at the end."""
    lun = other_lun(cluster)
    adm(outsider, "format", lun, "--name", "x", "--force", "--takeover")
    path = cluster.target.backing_file(2)
    second = bytearray(b"SKUL\xba\xbe\x00\x02" + bytes(4088))
    second[256:264] = (4 << 20).to_bytes(8, "big")
    for at, magic, name in ((1 << 20, b"\x0d\xd0\x01\xc0", "VMFS"), (2 << 20, b"\x5e\xf1\xab\x2f", "VMFS"),
                            (4 << 20, bytes(second), "LUKS")):
        with open(path, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.truncate(0)
            file.truncate(size)
            file.seek(at)
            file.write(magic.ljust(4096, b"\1"))
            file.flush()
            os.fsync(file.fileno())
        refused(outsider, 9, "format", lun, "--name", "v", parts=(name, "--force"))
