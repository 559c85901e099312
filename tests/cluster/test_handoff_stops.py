# SPDX-License-Identifier: GPL-2.0-or-later
"""Each step of a handoff with a real csvfs dying there: the one that is at it, or the one at the other end.

n1 and n2 run the csvfs of the test build (make VARIANT=bugs all), which stops at places by name (lib/bug.h). Whatever
dies: both disks have one owner, `handoff status` says who, he can write and nobody else can, and what was acknowledged
is there.
"""
import json
import os
import signal
import subprocess
import uuid

import pytest

from agents import Agent, errno_of
from daemons import pid_of
from harness import procs
from harness.errors import HarnessError, WaitTimeout
from harness.instance import BIN, MOUNT_POINT, ROOT
from harness.wait import wait_until

BUGS = ROOT / "build" / "bugs" / "bin"
STOP = "/run/csvfs/stop"
NODES = ("n1", "n2")  # source, destination
WRITTEN = "acknowledged"

# (place, the node that comes there, what is asked for)
PLACES = [("ARM.begin", "n2", "prepare"), ("ARM.answer", "n2", "prepare"),
          ("COMMIT.begin", "n1", "commit"), ("COMMIT.quiet", "n1", "commit"), ("COMMIT.transaction", "n1", "commit"),
          ("COMMIT.durable", "n1", "commit"), ("COMMIT.home", "n1", "commit"), ("COMMIT.answer", "n1", "commit"),
          ("ACTIVATE.begin", "n2", "commit"), ("ACTIVATE.taken", "n2", "commit"), ("ACTIVATE.answer", "n2", "commit"),
          ("REVOKE.begin", "n1", "commit"), ("RUN.marked", "n2", "write"),
          ("RETURN.begin", "n2", "takeback"), ("RETURN.quiet", "n2", "takeback"),
          ("RETURN.transaction", "n2", "takeback"), ("RETURN.durable", "n2", "takeback"),
          ("RETURN.answer", "n2", "takeback")]

# Where the disks stay, or come back to, the source. The commit block decides; a destination that dies before its first
# write, and before the source was told that it has taken up, gives them back by its recovery.
BEFORE_COMMIT = {"ARM.begin", "ARM.answer", "COMMIT.begin", "COMMIT.quiet", "COMMIT.transaction"}
KEPT = {"n1": BEFORE_COMMIT | {p[0] for p in PLACES if p[0].startswith("RETURN")},
        "n2": {p[0] for p in PLACES} - {"REVOKE.begin", "RUN.marked"}}


def mount_bugs(cluster, node):
    node.run([BUGS / "csvadm", "mount", cluster.lun, MOUNT_POINT, "-o",
              f"lock=cpg,node={node.name},log={node.dir}/csvfs.log"], timeout=60,
             env=node.environment() | {"CSV_STOP_FILE": STOP}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Stage:
    """What the stories share: the cluster, a process on each node, and a folder on the volume."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.folder = f"{MOUNT_POINT}/{uuid.uuid4().hex[:8]}"
        self.agents = {node.name: Agent(node) for node in cluster.nodes}
        self.agents["n3"].call("mkdir", self.folder)

    def remount(self, name):
        """After its csvfs has died."""
        node = self.cluster.node(name)
        with self.agents[name]:
            pass
        node.run(["umount", "-l", MOUNT_POINT])
        mount_bugs(self.cluster, node)
        self.agents[name] = Agent(node)

    def close(self):
        for agent in self.agents.values():
            with agent:
                pass


@pytest.fixture(scope="module")
def stage(session_cluster):
    if not (BUGS / "csvfs").exists():
        raise HarnessError("not built: build/bugs/bin/csvfs; run make VARIANT=bugs all")
    session_cluster.heal()
    for name in NODES:
        session_cluster.node(name).run([BIN / "csvadm", "umount", MOUNT_POINT])
        mount_bugs(session_cluster, session_cluster.node(name))
    made = Stage(session_cluster)
    yield made
    made.close()
    for name in NODES:
        session_cluster.node(name).run([BIN / "csvadm", "umount", MOUNT_POINT])
    session_cluster.heal()


def adm(node, *words):
    return json.loads(node.run([BIN / "csvadm", "--json", *words], timeout=60, check=False).stdout)


class Story:
    """One handoff of two disks from n1 to n2 in which one csvfs dies."""

    def __init__(self, stage):
        self.stage, self.cluster, self.agents = stage, stage.cluster, stage.agents
        self.disks = [f"{stage.folder}/{uuid.uuid4().hex[:8]}.raw" for _ in range(2)]
        self.fs = {name: pid_of(self.cluster.node(name), "csvfs") for name in NODES}
        self.opened = []
        self.calls = []
        self.open("n1", "O_RDWR|O_CREAT")
        for number in range(2):
            self.agents["n1"].pwrite(f"d{number}", WRITTEN, 0)
            self.agents["n1"].fsync(f"d{number}")

    def open(self, name, flags="O_RDWR"):
        for number, path in enumerate(self.disks):
            self.agents[name].open(f"d{number}", path, flags)
            self.opened.append((name, f"d{number}"))

    def call(self, node, *words):
        """Starts a command that may never be answered."""
        child = self.cluster.node(node).popen([BIN / "csvadm", "--json", "handoff", *words], stdout=subprocess.PIPE,
                                              stderr=subprocess.DEVNULL, text=True)
        self.calls.append(child)
        return child

    def status(self):
        return next(h for h in reversed(adm(self.cluster.node("n3"), "handoff", "status")["handoffs"])
                    if h["files"][0]["path"] and self.disks[0].endswith(h["files"][0]["path"]))

    def stop(self, place, at, how):
        self.cluster.node(at).run(["sh", "-c", f"echo {place} {how} > {STOP}.new; mv {STOP}.new {STOP}"])

    def prepare(self):
        return self.call("n1", "prepare", *self.disks, "--to", "n2")

    def go(self, place, at, request, how):
        """As far as the place: everything before it is over, and somebody is there."""
        if request == "prepare":
            self.stop(place, at, how)
            self.prepare()
            return
        ident = json.loads(self.prepare().communicate(timeout=30)[0])["id"]
        self.open("n2")
        if request == "commit":
            self.stop(place, at, how)
        commit = self.call("n1", "commit", ident)
        if request == "commit":
            return
        assert json.loads(commit.communicate(timeout=30)[0])["outcome"] == "moved"
        self.stop(place, at, how)
        if request == "write":
            self.agents["n2"].begin("pwrite", "d0", "waits for the run mark", 4096)
        else:
            self.call("n3", "takeback", ident)

    def wait_dead(self, victim):
        wait_until(f"the end of csvfs of {victim}", lambda: not procs.alive(self.fs[victim]), 15)

    def play(self, place, at, request, victim):
        self.go(place, at, request, "die" if victim == at else "hold")
        if victim != at:
            held = self.cluster.node(at).path(f"{STOP}.held")
            wait_until(f"{place} on {at}", held.exists, 15)
            os.kill(self.fs[victim], signal.SIGKILL)
            self.wait_dead(victim)
            held.unlink()
        self.wait_dead(victim)
        if request == "write" and victim == "n1":
            assert self.agents["n2"].finish() == len("waits for the run mark")

    def wait_status(self, outcome, owner):
        seen = []

        def there():
            now = self.status()
            seen[:] = [now["state"], now["outcome"], now["owner"]]
            return seen[0] in ("done", "active") and seen[1:] == [outcome, owner]
        try:
            wait_until("the outcome", there, 20)
        except WaitTimeout:
            raise AssertionError(f"{seen} instead of {outcome}, owner {owner}") from None

    def opens(self, name, number):
        """Whether the disk can be opened for writing; it stays open."""
        if errno_of(self.agents[name].open, f"d{number}", self.disks[number], "O_RDWR"):
            return False
        self.opened.append((name, f"d{number}"))
        return True

    def check(self, place, victim):
        """Whose the disks are: the status, the leases and what works say the same."""
        alive = NODES[1 - NODES.index(victim)]
        outcome = "kept" if place in KEPT[victim] else "moved"
        goes_on = outcome == ("kept" if alive == "n1" else "moved")
        self.wait_status(outcome, alive if goes_on else None)
        owner = alive if goes_on else "n3"
        for number in range(2):
            if not goes_on:
                if not (place.startswith("ARM") and alive == "n2"):  # else it has not even opened them
                    assert errno_of(self.agents[alive].pwrite, f"d{number}", "stale", 8192), "a second owner"
                wait_until("the disk to be free for another start", lambda n=number: self.opens("n3", n), 20)
            assert self.agents[owner].pwrite(f"d{number}", "owner", 8192) == 5
            self.agents[owner].fsync(f"d{number}")
        self.renew(victim)
        for number, path in enumerate(self.disks):
            assert not self.opens(victim, number), "a second owner"
            self.agents[victim].open(f"r{number}", path, "O_RDONLY")
            self.opened.append((victim, f"r{number}"))
            assert self.agents[victim].pread(f"r{number}", len(WRITTEN), 0) == WRITTEN
            assert self.agents[victim].pread(f"r{number}", 5, 8192) == "owner"

    def renew(self, victim):
        self.stage.remount(victim)
        self.fs[victim] = pid_of(self.cluster.node(victim), "csvfs")
        self.opened = [o for o in self.opened if o[0] != victim]

    def end(self):
        for name in NODES:
            if not procs.alive(self.fs[name]):  # the story has not come to its end
                self.renew(name)
        for name, what in self.opened:
            self.agents[name].close(what)
        for child in self.calls:
            child.kill()
            child.communicate()


@pytest.fixture
def story(stage):
    made = Story(stage)
    yield made
    made.end()


@pytest.mark.parametrize("victim", NODES)
@pytest.mark.parametrize("place_name, at, request_name", PLACES, ids=[p[0] for p in PLACES])
def test_dies_at(story, place_name, at, request_name, victim):
    story.play(place_name, at, request_name, victim)
    story.check(place_name, victim)
