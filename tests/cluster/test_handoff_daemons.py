# SPDX-License-Identifier: GPL-2.0-or-later
"""The handoff through real csvlockds on real corosync, with mounts that only have leases (ghostfs.py).

What real mounts do with data is test_handoff.py's affair; here every daemon can be killed at every step, and
`csvadm handoff status` must tell what the leases say.
"""
import json
import subprocess
from pathlib import Path

import pytest

from conftest import run_cluster
from harness import Cluster
from harness.csvfs import wait_lockd
from harness.instance import BIN
from harness.wait import wait_until

GHOST = Path(__file__).with_name("ghostfs.py")
KEPT, USAGE, BUSY, NOENT = 10, 2, 3, 4


@pytest.fixture(scope="module")
def daemons(request, instance_name):
    yield from run_cluster(request, Cluster(f"{instance_name}-ho", token_ms=400, use_csvfs=False))


class World:
    """Three csvlockds, three ghosts; the VM web1 has its disks open on n1."""

    def __init__(self, cluster, tmp_path):
        self.cluster, self.tmp = cluster, tmp_path
        self.disk = tmp_path / "disk"
        self.disk.write_text(json.dumps([{"holder": None, "epoch": 0, "id": None, "run": False}] * 2))
        self.hooks = tmp_path / "hooks"
        self.hooks.mkdir()
        self.ghosts = {}
        logs = {node.name: node.dir / "csvlockd.log" for node in cluster.nodes}
        sizes = {name: log.stat().st_size if log.exists() else 0 for name, log in logs.items()}
        for node in cluster.nodes:
            node.path("/run/csvfs/lockd.sock").unlink(missing_ok=True)
            node.spawn("csvlockd", [BIN / "csvlockd", "--foreground"], env={"CSV_HOOK_DIR": str(self.hooks)})
        for node in cluster.nodes:
            wait_lockd(node)
        # A ghost, unlike csvfs, does not mount again when a view overtakes it.
        for name, log in logs.items():
            wait_until(f"csvlockd of {name} to see all others",
                       lambda log=log, name=name: b"3 members, quorate" in log.read_bytes()[sizes[name]:], 20)

    def ghost(self, name, *options, mount=None):
        node = self.cluster.node(name)
        log = open(self.tmp / f"{name}.ghost", "a+b")
        number = int(name[1:])
        child = node.popen(["/usr/bin/env", f"GHOST_CLUSTER={self.name()}", "/usr/bin/python3", GHOST, mount or self.tmp,
                            str(number), self.disk, *options], stdout=log, stderr=log)
        self.ghosts[name] = child
        wait_until(f"ghost of {name} to be attached", lambda: b"ATTACHED" in self.log(name), 20)

    def log(self, name):
        return (self.tmp / f"{name}.ghost").read_bytes()

    def name(self):
        done = self.cluster.node("n1").run(["corosync-cmapctl", "-g", "totem.cluster_name"])
        return done.stdout.split("=")[1].strip()

    def csvadm(self, node, *words, check=0):
        done = self.cluster.node(node).run([BIN / "csvadm", "--json", *words], check=False, timeout=60)
        assert done.returncode == check, f"{words}: exit {done.returncode}: {done.stdout} {done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip().startswith("{") else {}

    def begin(self, node, *words):
        return self.cluster.node(node).popen([BIN / "csvadm", "--json", *words], stdout=subprocess.PIPE,
                                             stderr=subprocess.PIPE, text=True)

    def prepare(self, *more, check=0):
        return self.csvadm("n1", "handoff", "prepare", "--vm", "web1", "--to", "n2", *more, check=check)

    def leases(self):
        return json.loads(self.disk.read_text())

    def holders(self):
        return {lease["holder"][0] for lease in self.leases()}

    def status(self, ident, node="n3"):
        return self.csvadm(node, "handoff", "status", ident)

    def wait_outcome(self, ident, outcome, node="n3"):
        wait_until(f"handoff {ident} to be {outcome}",
                   lambda: self.status(ident, node)["outcome"] == outcome
                   and self.status(ident, node)["state"] in ("done", "active"), 30)

    def close(self):
        for child in self.ghosts.values():
            child.kill()
            child.wait()
        for node in self.cluster.nodes:
            pid = node.pid_of("csvlockd")
            if pid:
                subprocess.run(["kill", "-KILL", str(pid)], check=False)
                wait_until("csvlockd to be gone", lambda n=node: not n.pid_of("csvlockd"), 10)


@pytest.fixture
def world(daemons, tmp_path):
    made = World(daemons, tmp_path)
    yield made
    made.close()


def plain(world, source=(), destination=(), third=()):
    world.ghost("n1", "source", *source)
    world.ghost("n2", *destination)
    world.ghost("n3", *third)


def test_moves(world):
    plain(world)
    made = world.prepare()
    assert made["state"] == "prepared" and made["outcome"] is None and made["owner"] == "n1"
    assert [f["path"] for f in made["files"]] == ["web1.vhd", "web1-data.vhd"]
    done = world.csvadm("n1", "handoff", "commit", made["id"])
    assert done["outcome"] == "moved" and done["owner"] == "n2"
    assert done["ms"]["journal"] == 1.5 and done["ms"]["messages"] > 0
    assert world.holders() == {2}
    assert done["files"][0]["epoch"] == 2
    again = world.csvadm("n1", "handoff", "commit", made["id"])
    assert again["outcome"] == "moved"
    assert world.csvadm("n2", "handoff", "finish", made["id"])["state"] == "done"
    assert world.status(made["id"])["outcome"] == "moved"


def test_aborts_and_takes_back(world):
    plain(world)
    first = world.prepare()
    busy = world.prepare(check=BUSY)
    assert first["id"] in busy["error"]["message"]
    assert world.csvadm("n1", "handoff", "abort", first["id"])["outcome"] == "kept"
    assert world.holders() == {1}
    second = world.prepare()
    world.csvadm("n1", "handoff", "commit", second["id"])
    assert world.csvadm("n1", "handoff", "takeback", second["id"])["outcome"] == "kept"
    assert world.holders() == {1}
    third = world.prepare()
    world.csvadm("n1", "handoff", "commit", third["id"])
    world.disk.write_text(json.dumps([{**lease, "run": True} for lease in world.leases()]))
    world.csvadm("n1", "handoff", "takeback", third["id"], check=BUSY)
    assert world.status(third["id"])["outcome"] == "moved"


def test_bad_requests(world):
    plain(world)
    assert "n9" in world.csvadm("n1", "handoff", "prepare", "--vm", "web1", "--to", "n9",
                                check=NOENT)["error"]["message"]
    world.csvadm("n1", "handoff", "prepare", "--vm", "other", "--to", "n2", check=NOENT)
    world.csvadm("n1", "handoff", "prepare", "--to", "n2", check=USAGE)
    world.csvadm("n1", "handoff", "commit", "00" * 16, check=NOENT)
    world.csvadm("n1", "handoff", "commit", "zz", check=USAGE)
    made = world.prepare()
    world.csvadm("n2", "handoff", "commit", made["id"], check=USAGE)  # the source's to do


def test_hook_program(world):
    plain(world)
    def hook(verb, *more, check=0):
        done = world.cluster.node("n1").run([BIN / "csv-handoff", verb, "--vm", "web1", *more], check=False)
        assert done.returncode == check, done.stdout + done.stderr
        return json.loads(done.stdout)
    assert hook("commit", check=NOENT)["error"]["code"] == "noent"
    assert hook("prepare", "--to", "n2")["state"] == "prepared"
    assert hook("commit")["outcome"] == "moved"
    assert hook("finish")["state"] == "done"


@pytest.mark.parametrize("verb", ["ARM", "COMMIT", "ACTIVATE"])
@pytest.mark.parametrize("point", ["die", "stall"])
def test_a_mount_dies(world, verb, point):
    """After its work and before it could tell, or killed before it did anything."""
    victim = "n1" if verb == "COMMIT" else "n2"
    option = f"{point}={verb}"
    plain(world, source=[option] if victim == "n1" else [], destination=[option] if victim == "n2" else [])
    call = world.begin("n1", "handoff", "prepare", "--vm", "web1", "--to", "n2")
    if verb != "ARM":
        ident = json.loads(call.communicate(timeout=30)[0])["id"]
        call = world.begin("n1", "handoff", "commit", ident)
    wait_until(f"{verb} to reach {victim}", lambda: verb.encode() in world.log(victim), 20)
    world.ghosts[victim].kill()
    out, err = call.communicate(timeout=60)
    listed = world.csvadm("n3", "handoff", "status")["handoffs"]
    assert len(listed) == 1
    ident = listed[0]["id"]
    moved = verb == "COMMIT" and point == "die"
    world.wait_outcome(ident, "moved" if moved else "kept")
    assert world.holders() == ({2} if moved else {1})
    if verb != "ARM":
        assert call.returncode == (0 if moved else KEPT), out + err
    owner = world.status(ident)["owner"]
    assert owner == ("n2" if moved else None if victim == "n1" else "n1")


@pytest.mark.parametrize("verb", ["COMMIT", "ACTIVATE"])
@pytest.mark.parametrize("victim", ["n1", "n2"])
def test_a_node_dies(world, verb, victim):
    """The whole node: its csvlockd and corosync too. The third node tells how it ended."""
    at = "n1" if verb == "COMMIT" else "n2"
    plain(world, source=["stall=COMMIT"] if at == "n1" else [], destination=["stall=ACTIVATE"] if at == "n2" else [])
    ident = world.prepare()["id"]
    call = world.begin("n1", "handoff", "commit", ident)
    wait_until(f"{verb} to reach {at}", lambda: verb.encode() in world.log(at), 20)
    world.cluster.kill(victim)
    if verb == "COMMIT" and victim == "n2":
        world.ghosts["n1"].kill()  # or the source would never say
    if verb == "ACTIVATE" and victim == "n1":
        world.ghosts["n2"].kill()
    moved = verb == "ACTIVATE" and victim == "n1"
    try:
        world.wait_outcome(ident, "moved" if moved else "kept")
        assert world.holders() == ({2} if moved else {1})
    finally:
        call.kill()
        call.communicate()
        world.cluster.heal()


def test_definition_and_launch(world):
    plain(world)
    definition = world.tmp / "web1.ini"
    definition.write_text("[vm]\nname = web1\n")
    hook = world.hooks / "vm-launch"
    hook.write_text("#!/bin/sh\necho \"$1 $2 $CSV_DEFINITION_SHA256\" > " + str(world.tmp / "launched") +
                    "\nsleep 300 >/dev/null 2>&1 &\n"
                    "echo '{\"schema\": 1, \"pid\": '$!', \"incoming\": \"tcp:10.77.3.2:4444\"}'\n")
    hook.chmod(0o777)
    words = ["--definition", definition, "--launch", "--uri", "tcp:10.77.3.2"]
    refused = world.prepare(*words, check=1)
    assert "vm-launch" in refused["reason"]
    hook.chmod(0o755)
    made = world.prepare(*words)
    assert made["uri"] == "tcp:10.77.3.2:4444"
    path, uri, digest = (world.tmp / "launched").read_text().split()
    assert (path, uri) == (str(definition), "tcp:10.77.3.2:0") and len(digest) == 64
    world.csvadm("n1", "handoff", "abort", made["id"])
    wait_until("the incoming VM to be ended",
               lambda: subprocess.run(["pgrep", "-f", "sleep 300"], capture_output=True).returncode == 1, 10)


def test_wrong_definition(world):
    """What the destination reads is not what the source has sent the hash of."""
    elsewhere = world.tmp / "elsewhere"
    for folder, text in ((world.tmp, ""), (elsewhere, "memory = 1\n")):
        (folder / "x").mkdir(parents=True)
        (folder / "x" / "web1.ini").write_text("[vm]\nname = web1\n" + text)
    world.ghost("n1", "source")
    world.ghost("n2", mount=elsewhere)
    world.ghost("n3")
    outside = world.prepare("--definition", "/etc/hostname", check=USAGE)
    assert "not on the volume" in outside["error"]["message"]
    refused = world.prepare("--definition", world.tmp / "x" / "web1.ini", check=8)
    assert "not the one that was sent" in refused["reason"]
    assert refused["outcome"] == "kept" and world.holders() == {1}
