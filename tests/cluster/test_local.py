# SPDX-License-Identifier: GPL-2.0-or-later
"""lock=local on a LUN that several hosts reach: one mount at a time, and nobody passes over it."""
import errno
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from agents import Agent, errno_of
from commands import adm, refused, volume
from harness import csvfs, procs
from harness.instance import BIN, MOUNT_POINT
from harness.wait import wait_until

POINT = "/run/local"
BLOCK = 4096
MANY = 65  # blocks: superblock and all slots


class Lun:
    """LUN 2, with a volume of no cluster."""

    def __init__(self, cluster):
        self.cluster, self.url = cluster, cluster.instance.lun_url(2)
        for node in cluster.nodes:
            node.run(["mkdir", "-p", POINT])

    def format(self, *more):
        adm(self.cluster.node("n3"), "format", self.url, "--name", "solo", "--slots", "2", "--journal", "16M", "--force",
            *more)

    @staticmethod
    def options(node, *more):
        return ["-o", ",".join(("lock=local", f"log={node.dir}/local.log", *more))]

    def mount(self, name, *more):
        node = self.cluster.node(name)
        return adm(node, "mount", self.url, POINT, *self.options(node, *more))

    def refused(self, name, *more, parts=()):
        node = self.cluster.node(name)
        return refused(node, 3, "mount", self.url, POINT, *self.options(node, *more), parts=parts)

    def umount(self, name):
        return adm(self.cluster.node(name), "umount", POINT)

    def pid(self, name, lun=None):
        """The csvfs that serves the LUN on a node, or None."""
        for pid in self.cluster.node(name).pids():
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"csvfs") and (lun or self.url).encode() in words:
                return pid
        return None

    def kill(self, name, lun=None):
        pid = self.pid(name, lun)
        os.kill(pid, signal.SIGKILL)
        wait_until("the end of csvfs", lambda: not procs.alive(pid), 10)
        self.cluster.node(name).run(["umount", "-l", POINT])

    def keys(self):
        return json.loads(self.cluster.node("n3").run([BIN / "lun-witness", self.url, "keys"]).stdout)["keys"]

    def clear(self):
        for node in self.cluster.nodes:
            pid = self.pid(node.name)
            if pid:
                os.kill(pid, signal.SIGKILL)
                os.kill(pid, signal.SIGCONT)
                wait_until("the end of csvfs", lambda p=pid: not procs.alive(p), 10)
            if node.mounted(POINT):
                node.run(["umount", "-l", POINT])
        self.format("--takeover")
        assert self.keys() == []


@pytest.fixture
def lun(cluster):
    made = Lun(cluster)
    made.clear()
    yield made
    made.clear()


def write(cluster, name, text, file="f"):
    cluster.node(name).run(["dd", f"of={POINT}/{file}", "conv=fsync", "status=none"], input=text)


def read(cluster, name, file="f"):
    return cluster.node(name).run(["cat", f"{POINT}/{file}"]).stdout


def test_only_one_host_has_it(cluster, lun):
    """Another host's mount, format and check are refused by name; afterwards it may."""
    n2 = cluster.node("n2")
    lun.mount("n1")
    write(cluster, "n1", "of n1")
    assert len(lun.keys()) == 1
    for more in ((), ("ro",)):
        assert "node n1" in lun.refused("n2", *more, parts=("takeover",))
    for more in ((), ("--force",)):
        refused(n2, 3, "format", lun.url, "--name", "mine", *more, parts=("node n1",))
    refused(n2, 8, "check", lun.url, parts=("node n1",))
    lun.refused("n1")  # nor a second time here
    write(cluster, "n1", "still of n1")
    left = lun.umount("n1")
    assert (left["volume"], left["slot"], left["incarnation"]) == ("solo", 0, 1)
    assert lun.keys() == []
    lun.mount("n2")
    assert read(cluster, "n2") == "still of n1"
    lun.umount("n2")
    assert adm(n2, "check", lun.url)["clean"]


def test_blocks_that_cannot_be_read_do_not_hide_it(cluster, lun):
    """With superblocks and slots gone the key at the target still tells."""
    lun.mount("n1")
    path = cluster.target.backing_file(2)
    with open(path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for at, length in ((0, MANY * BLOCK), (129 * BLOCK, BLOCK), (size - BLOCK, BLOCK)):
            file.seek(at)
            file.write(os.urandom(length))
        file.flush()
        os.fsync(file.fileno())
    refused(cluster.node("n2"), 3, "format", lun.url, "--name", "mine", "--force", parts=("reservation key",))
    refused(cluster.node("n2"), 8, "check", lun.url, parts=("reservation key",))


def test_read_only_mounts_count_too(cluster, lun):
    lun.mount("n1", "ro")
    lun.refused("n2")
    refused(cluster.node("n2"), 3, "format", lun.url, "--name", "mine", "--force")
    lun.umount("n1")
    lun.mount("n2")


def test_two_that_come_at_once(cluster, lun):
    """At most one gets it, as often as it is tried."""
    won = 0
    for _ in range(8):
        children = [node.popen([BIN / "csvadm", "mount", lun.url, POINT, *lun.options(node)],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                    for node in cluster.nodes]
        said = [child.communicate(timeout=60)[1] for child in children]
        has = [node for node, child in zip(cluster.nodes, children) if child.returncode == 0]
        assert len(has) <= 1, said
        assert all(child.returncode in (0, 3) for child in children), said
        for node in has:
            won += 1
            lun.umount(node.name)
    assert lun.keys() == [] and won > 0


def test_after_a_crash_its_own_host_mounts_again(cluster, lun):
    """The key that was left keeps other hosts out, not the one that left it."""
    first = lun.mount("n1")
    write(cluster, "n1", "acknowledged")
    lun.kill("n1")
    assert len(lun.keys()) == 1
    lun.refused("n2", parts=("node n1", "takeover"))
    again = lun.mount("n1")
    assert again["incarnation"] == first["incarnation"] + 1
    assert read(cluster, "n1") == "acknowledged"
    assert len(lun.keys()) == 1
    lun.umount("n1")
    assert lun.keys() == []


def test_taken_over_from_a_host_that_lives(cluster, lun):
    """-o takeover fences whoever has it: what it writes later is refused, and it says so."""
    lun.mount("n1")
    write(cluster, "n1", "of n1")
    with Agent(cluster.node("n1")) as agent:
        agent.open("f", f"{POINT}/f", "O_RDWR")
        pid = lun.pid("n1")
        os.kill(pid, signal.SIGSTOP)
        lun.mount("n2", "takeover")
        assert read(cluster, "n2") == "of n1"
        write(cluster, "n2", "of n2")
        os.kill(pid, signal.SIGCONT)
        assert errno_of(agent.pwrite, "f", "LATE!", 0) == errno.EIO
    assert read(cluster, "n2") == "of n2"
    done = cluster.node("n1").run([BIN / "csvadm", "umount", POINT])
    assert "fenced" in done.stderr
    assert len(lun.keys()) == 1
    lun.umount("n2")
    assert adm(cluster.node("n2"), "check", lun.url)["clean"]


def test_the_key_comes_back_with_the_target(cluster, lun):
    """A target that was killed has forgotten the registration; the mount's guard brings it back."""
    lun.mount("n1")
    with Agent(cluster.node("n1")) as agent:
        agent.open("f", f"{POINT}/f", "O_RDWR|O_CREAT")
        cluster.target.stop()
        cluster.target.start()
        agent.pwrite("f", "after", 0)
        agent.fsync("f")
    wait_until("the key", lambda: len(lun.keys()) == 1, 30)
    lun.refused("n2")


@pytest.fixture
def idle_cluster(cluster):
    """The cluster's volume is mounted nowhere."""
    for node in cluster.nodes:
        adm(node, "umount", MOUNT_POINT)
    yield cluster
    for node in cluster.nodes:
        if node.mounted(POINT):
            node.run([BIN / "csvadm", "umount", POINT], check=False)


def test_a_cluster_does_not_pass_over_it(idle_cluster, lun):
    """lock=local on a cluster's volume keeps the cluster out, until its own host recovers what it left."""
    n1, n2 = idle_cluster.node("n1"), idle_cluster.node("n2")
    shared = idle_cluster.lun
    adm(n1, "mount", shared, POINT, *lun.options(n1))
    write(idle_cluster, "n1", "local", "from-local")
    refused(n2, 3, "mount", shared, MOUNT_POINT, "-o", "lock=cpg", parts=("node n1",))
    write(idle_cluster, "n1", "local still", "from-local")
    lun.kill("n1", shared)
    refused(n2, 3, "mount", shared, MOUNT_POINT, "-o", "lock=cpg", parts=("takeover",))
    csvfs.mount(n1, shared)
    csvfs.wait_online(n1)
    csvfs.mount(n2, shared)
    assert n2.run(["cat", f"{MOUNT_POINT}/from-local"]).stdout == "local still"
    refused(idle_cluster.node("n3"), 3, "mount", shared, POINT, *lun.options(n1))
    assert volume(n1)["state"] == volume(n2)["state"] == "online"


def test_a_cluster_takes_it_over(idle_cluster, lun):
    """Of a host that is dead for certain; what it had acknowledged is there."""
    n1, n2 = idle_cluster.node("n1"), idle_cluster.node("n2")
    adm(n1, "mount", idle_cluster.lun, POINT, *lun.options(n1))
    write(idle_cluster, "n1", "acknowledged", "taken")
    lun.kill("n1", idle_cluster.lun)
    adm(n2, "mount", idle_cluster.lun, MOUNT_POINT, "-o", f"lock=cpg,takeover,log={n2.dir}/csvfs.log")
    csvfs.wait_online(n2)
    assert n2.run(["cat", f"{MOUNT_POINT}/taken"]).stdout == "acknowledged"
    csvfs.mount(idle_cluster.node("n3"), idle_cluster.lun)


def test_a_reader_is_stopped_when_it_is_taken_over(idle_cluster, lun):
    """A read-only mount has no slot that could be marked; it must not go on to read what another changes."""
    n1, n2 = idle_cluster.node("n1"), idle_cluster.node("n2")
    adm(n1, "mount", idle_cluster.lun, POINT, *lun.options(n1))
    write(idle_cluster, "n1", "to be read", "for-readers")
    adm(n1, "umount", POINT)
    adm(n1, "mount", idle_cluster.lun, POINT, *lun.options(n1, "ro"))
    refused(n2, 3, "mount", idle_cluster.lun, MOUNT_POINT, "-o", "lock=cpg", parts=("takeover",))
    with Agent(n1) as agent:
        agent.open("f", f"{POINT}/for-readers", "O_RDONLY")
        assert agent.pread("f", 10, 0) == "to be read"
        adm(n2, "mount", idle_cluster.lun, MOUNT_POINT, "-o", f"lock=cpg,takeover,log={n2.dir}/csvfs.log")
        assert errno_of(agent.pread, "f", 10, 0) == errno.EIO
    assert "fenced" in n1.run([BIN / "csvadm", "umount", POINT]).stderr
