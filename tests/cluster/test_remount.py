# SPDX-License-Identifier: GPL-2.0-or-later
"""csvfs dies, its node does not: csvlockd mounts the volume again, without anybody's hand."""
import os
import signal

from agents import Agent, Recorder, errno_of
from commands import adm, volume
from daemons import kill_program, pid_of
from harness import csvfs
from harness.instance import MOUNT_POINT
from records import RECORDS, SIZE, SLOTS
from takeover import rejoined

BACK_S = 60


def is_back(node, before):
    """The volume is online under another life."""
    now = volume(node)
    return now.get("state") == "online" and (now["slot"], now["incarnation"]) != (before["slot"], before["incarnation"])


def wait_back(cluster, node, before):
    cluster.wait_until(f"the mount of {node.name} to come back", lambda: is_back(node, before), BACK_S)


def test_mount_comes_back(cluster, place):
    """At the same path; what was written and fsynced is there, and a new process works on."""
    node = cluster.node("n1")
    before = volume(node)
    node.run(["fallocate", "-l", str(SIZE * SLOTS), f"{place}/disk.img"])
    with Recorder(node, "image", f"{place}/disk.img") as image:
        image.wait_more(RECORDS)
        kill_program(node, "csvfs")
        last = image.acked()
    cluster.wait_until("the status to tell", lambda: volume(node).get("state") != "online", 10)
    wait_back(cluster, node, before)
    assert volume(node)["mount"] == MOUNT_POINT
    with Agent(node) as agent:
        assert agent.lost("image", f"{place}/disk.img", last) == []
    with Recorder(node, "image", f"{place}/disk.img", last + 1) as image:
        image.wait_more(RECORDS)
    mounts = node.run(["grep", "-c", MOUNT_POINT, "/proc/mounts"]).stdout
    assert int(mounts) == 1  # the dead one has been taken away
    rejoined(cluster, "n1", before)


def test_again_and_again(cluster):
    """Each death is a death of its own."""
    node = cluster.node("n1")
    for _ in range(3):
        before = volume(node)
        kill_program(node, "csvfs")
        wait_back(cluster, node, before)


def test_status_while_it_is_down(cluster):
    """Without quorum it cannot be mounted: status says so, and when there is quorum it is."""
    node = cluster.node("n1")
    before = volume(node)
    cluster.net_cut("n1")
    cluster.wait_members(["n1"], ["n1"], quorate=False)
    kill_program(node, "csvfs")
    cluster.wait_until("the status to tell why", lambda: "quorum" in (volume(node).get("reason") or ""), 20)
    down = volume(node)
    assert down["state"] == "down" and down["mount"] == MOUNT_POINT and down["uuid"] == before["uuid"]
    cluster.net_heal("n1")
    wait_back(cluster, node, before)


def test_csvlockd_restarted_meanwhile(cluster):
    """Both die; the csvlockd that comes finds the mount that nobody serves."""
    node = cluster.node("n1")
    before = volume(node)
    os.kill(pid_of(node, "csvlockd"), signal.SIGSTOP)
    kill_program(node, "csvfs")
    kill_program(node, "csvlockd")
    csvfs.begin_lockd(node)
    csvfs.wait_lockd(node)
    wait_back(cluster, node, before)


def test_given_up_by_hand(cluster):
    """csvadm umount of a dead mount: it does not come back."""
    node = cluster.node("n1")
    before = volume(node)
    cluster.net_cut("n1")
    cluster.wait_members(["n1"], ["n1"], quorate=False)
    kill_program(node, "csvfs")
    cluster.wait_until("the status to tell", lambda: volume(node).get("state") == "down", 20)
    node.run(["csvadm", "umount", MOUNT_POINT])
    assert not node.mounted(MOUNT_POINT)
    cluster.net_heal("n1")
    cluster.wait_members(["n1"], ["n1", "n2", "n3"], quorate=True)
    cluster.wait_until("csvlockd to give it up", lambda: volume(node) == {}, 20)
    with Agent(node) as agent:
        assert errno_of(agent.call, "stat", f"{MOUNT_POINT}/.") == 0  # the bare directory
    csvfs.mount(node, cluster.lun)
    rejoined(cluster, "n1", before)


def test_unmount_is_no_death(cluster):
    """However it is unmounted, nobody mounts it again."""
    node = cluster.node("n1")
    pid = pid_of(node, "csvfs")
    os.kill(pid, signal.SIGTERM)
    cluster.wait_until("csvfs to end", lambda: volume(node) == {} and not node.mounted(MOUNT_POINT), 20)
    assert node.run(["ls", "/run/csvfs/mounts"]).stdout == ""
    csvfs.mount(node, cluster.lun)
    assert len(node.run(["ls", "/run/csvfs/mounts"]).stdout.split()) == 1
    node.run(["umount", MOUNT_POINT])
    cluster.wait_until("csvfs to end", lambda: volume(node) == {}, 20)
    assert node.run(["ls", "/run/csvfs/mounts"]).stdout == ""
    assert adm(node, "status")["volumes"] == []
