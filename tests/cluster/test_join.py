# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes that mount: with no slot left, without the one that made the reservation, after one that stood still."""
import json
import subprocess

import pytest

from agents import Agent
from commands import adm, slot, volume
from harness import csvfs
from harness.instance import BIN, MOUNT_POINT

SECOND = "/run/csv/second"  # mount point of the second LUN's volume
RESERVED = 7


def witness(cluster, name, lun, *words):
    """The LUN as lun-witness sees it, from a node."""
    return cluster.node(name).run([BIN / "lun-witness", lun, *map(str, words)], timeout=20).stdout


def reservation(cluster, name):
    """Registered keys and the reservation's type."""
    return json.loads(witness(cluster, name, cluster.lun, "keys"))


@pytest.fixture
def small(cluster):
    """A volume of two slots, mounted on n1 and n2."""
    url = cluster.instance.lun_url(2)
    adm(cluster.node("n1"), "format", url, "--name", "small", "--cluster", cluster.instance.name, "--slots", "2",
        "--journal", "8M", "--force")
    mount(cluster, url)
    yield url
    for node in cluster.nodes[:2]:
        if node.up and node.mounted(SECOND):
            node.run(["csvadm", "umount", SECOND], check=False)


def mount(cluster, url):
    for node in cluster.nodes[:2]:
        node.run(["mkdir", "-p", SECOND])
        adm(node, "mount", url, SECOND, "-o", f"lock=cpg,node={node.name},log={node.dir}/second.log", timeout=120)


def test_no_slot_is_clean(cluster, small):
    """Both slots are in use at a power cut. The first mounter recovers one itself, then the other."""
    for name in ("n1", "n2"):
        with Agent(cluster.node(name)) as agent:
            agent.open("file", f"{SECOND}/{name}", "O_RDWR|O_CREAT")
            agent.pwrite("file", f"from {name}", 0)
            agent.fsync("file")
    for node in cluster.nodes:
        cluster.kill(node.name)
    cluster.target.stop()
    cluster.target.start()
    cluster.power_on(cluster.nodes)
    cluster.mount(cluster.nodes)
    mount(cluster, small)
    for name in ("n1", "n2"):
        with Agent(cluster.node("n2" if name == "n1" else "n1")) as agent:
            agent.open("file", f"{SECOND}/{name}", "O_RDONLY")
            assert agent.pread("file", 100, 0) == f"from {name}"
    slots = adm(cluster.node("n1"), "volume", "info", "small")["slots"]
    assert [slot["state"] for slot in slots] == ["live", "live"]
    for node in cluster.nodes[:2]:
        node.run(["csvadm", "umount", SECOND])
    assert adm(cluster.node("n1"), "check", small)["clean"]


def pr_key(number, incarnation):
    """Reservation key of one life of a slot (docs/FORMAT.md)."""
    return 0xC5F5 << 48 | number << 32 | incarnation


def test_mounter_that_stood_still(cluster):
    """It has registered the key of a slot's next life and is about to write the block; another takes the slot."""
    node = cluster.node("n1")
    before = volume(node)
    node.run(["csvadm", "umount", MOUNT_POINT])
    key = pr_key(before["slot"], before["incarnation"] + 1)
    words = [BIN / "lun-witness", cluster.lun, "sleep", hex(key), str(1 + before["slot"])]
    sleeper = cluster.node("n3").popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with sleeper:
        assert sleeper.stdout.readline() == "ready\n"
        csvfs.mount(node, cluster.lun)
        assert sleeper.communicate("\n", timeout=30)[0] == "refused\n"
    now = volume(node)
    assert now["slot"] == before["slot"] and now["incarnation"] > before["incarnation"] + 1
    ours = slot(node, now["slot"])
    assert ours["state"] == "live" and ours["incarnation"] == now["incarnation"]
    assert f"0x{key:016x}" not in reservation(cluster, "n3")["keys"]


def test_reservation_outlives_its_maker(cluster):
    """F1: who made it has unmounted; the target restarts; those who come back make it again, without any fence."""
    maker = cluster.nodes[-1].name  # harness: the first to mount
    cluster.node(maker).run(["csvadm", "umount", MOUNT_POINT])
    assert reservation(cluster, maker)["type"] == RESERVED
    cluster.target.stop()
    cluster.target.start()
    cluster.wait_until("the others to come back to the target",
                       lambda: len(reservation(cluster, maker)["keys"]) == 2, 30)
    cluster.wait_until("them to reserve", lambda: reservation(cluster, maker)["type"] == RESERVED, 5)
    with Agent(cluster.node("n1")) as agent:
        agent.call("mkdir", f"{MOUNT_POINT}/after-{maker}-left")
        agent.call("rmdir", f"{MOUNT_POINT}/after-{maker}-left")
