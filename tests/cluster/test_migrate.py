# SPDX-License-Identifier: GPL-2.0-or-later
"""Live migration of a running one-sector guest by csvadm migrate: real QEMU on both nodes."""
import json
import re
import select
import subprocess
from pathlib import Path

import pytest

from harness.instance import BIN, ROOT
from harness.wait import wait_until
from vm import bootsector, disk

FAILED, UNREACHABLE, KEPT = 1, 6, 10
MONITOR = Path(__file__).with_name("monitor.py")
VM_LAUNCH = ROOT / "migrate" / "hook" / "vm-launch"


def run_json(node, *words, check=0):
    done = node.run(words, check=False, timeout=150)
    assert done.returncode == check, f"{words}: exit {done.returncode}: {done.stdout} {done.stderr}"
    return json.loads(done.stdout)


def csvadm(node, *words, check=0):
    return run_json(node, BIN / "csvadm", "--json", *words, check=check)


@pytest.fixture
def web1(cluster, place, tmp_path):
    """A VM running on n1, and every node with the hook; all its processes end with the test."""
    image, definition = tmp_path / "web1.raw", tmp_path / "web1.ini"
    disk.create_raw(image, bootsector.DISK_SIZE)
    bootsector.install(image)
    definition.write_text(bootsector.definition("web1", "web1.raw"))
    n1 = cluster.node("n1")
    for name in ("web1.raw", "web1.ini"):
        n1.run(["cp", tmp_path / name, f"{place}/{name}"])
    for node in cluster.nodes:
        node.run(["install", "-D", "-m", "755", VM_LAUNCH, "/etc/csvfs/hooks/vm-launch"])
    started = [launch(n1, f"{place}/web1.ini")]
    yield place, started
    for node in cluster.nodes:
        node.run(["fuser", "-k", "-KILL", "/run/csvfs/vm/web1.lock"], check=False)


def launch(node, definition):
    return run_json(node, "/usr/bin/env", f"CSV_VM_EXEC={BIN}/csv-vm-exec", "/usr/bin/python3", VM_LAUNCH, definition)


def records(node):
    """What the guest has said on its serial line, on this node."""
    log = node.dir / "vm" / "web1.log"
    return log.read_text(errors="replace") if log.exists() else ""


def traced_ms(source, destination):
    """From the last write at the source to the first at the destination, as their csvfs have logged it."""
    def newest(node, which):
        text = (node.dir / "csvfs.log").read_text(encoding="utf-8", errors="replace")
        return int(re.findall(which + r" the handoff at (\d+) ns", text)[-1])
    return (newest(destination, "first I/O after") - newest(source, "last I/O before")) / 1e6


def test_migrates(cluster, web1):
    place, _ = web1
    n1, n2 = cluster.node("n1"), cluster.node("n2")
    wait_until("the guest to write", lambda: len(records(n1)) > 100, 30)
    handles = csvadm(n1, "handle", "list", "--vm", "web1")["handles"]
    assert [h["state"] for h in handles if h["mode"] == "rw"] == ["leased"]
    done = csvadm(n1, "migrate", "web1", "--to", "n2", "--uri", f"tcp:{n2.address('mig')}")
    assert done["outcome"] == "moved"
    names = [s["name"] for s in done["steps"]]
    assert names == ["connect_create", "memory_copy", "final_copy", "storage_handoff", "online", "cleanup_announce"]
    assert done["storage_step_ms"] > 0 and done["bytes"] > 0
    # Durations of two nodes added up, against wall clocks, which here are one and the same.
    traced = traced_ms(n1, n2)
    assert abs(done["blackout_ms"] - traced) < max(10, traced / 4), (done["blackout_ms"], traced)
    before = len(records(n2))
    wait_until("the guest to go on", lambda: len(records(n2)) > before + 100, 30)
    owner = csvadm(n2, "handle", "list", "--vm", "web1")["handles"]
    assert [h["state"] for h in owner if h["mode"] == "rw"] == ["leased"]
    back = csvadm(n2, "migrate", "web1", "--to", "n1", "--uri", f"tcp:{n1.address('mig')}")
    assert back["outcome"] == "moved"
    before = len(records(n1))
    wait_until("the guest to go on", lambda: len(records(n1)) > before + 100, 30)


# ---- deaths right after the commit ------------------------------------------------------------

class Held:
    """A migration from n1 to n2 that waits before QMP commands: at first between the commit and migrate-continue."""

    def __init__(self, cluster, *more, first="migrate-continue"):
        self.n1, self.n2 = cluster.node("n1"), cluster.node("n2")
        self.proxy = self.n1.popen(["/usr/bin/python3", MONITOR, "/run/csvfs/vm/web1.qmp", first,
                                    *more],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.proxy.stdout.readline() == "ready\n"
        self.migrate = self.n1.popen([BIN / "csvadm", "--json", "migrate", "web1", "--to", "n2", "--uri",
                                      f"tcp:{self.n2.address('mig')}"],
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.wait()
        assert last_handoff(self.n1)["outcome"] == ("moved" if first == "migrate-continue" else None)

    def wait(self):
        """Until it is held."""
        wait_until("the command", lambda: select.select([self.proxy.stdout], [], [], 0)[0], 60,
                   dead=lambda: self.migrate.poll() is not None and self.migrate.stderr.read())
        assert self.proxy.stdout.readline() == "held\n"

    def go_on(self, word="go"):
        """Until it is held again."""
        self.proxy.stdin.write(word + "\n")
        self.proxy.stdin.flush()

    def end(self, word="go"):
        """Lets it go on to its end: its exit code, what it printed as JSON, its error line."""
        self.go_on(word)
        out, err = self.migrate.communicate(timeout=90)
        return self.migrate.returncode, json.loads(out), err

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in (self.migrate, self.proxy):
            child.kill()
            child.wait()
        for pipe in (self.proxy.stdin, self.proxy.stdout, self.migrate.stdout, self.migrate.stderr):
            pipe.close()


def last_handoff(node):
    return csvadm(node, "handoff", "status")["handoffs"][-1]


def qemus(node):
    """Processes that are web1 on this node: they have inherited its lock."""
    return node.run(["fuser", "/run/csvfs/vm/web1.lock"], check=False).stdout.split()


def kill_qemu(node):
    pids = qemus(node)
    assert pids
    node.run(["kill", "-KILL", *pids])
    wait_until("QEMU to be gone", lambda: not qemus(node), 10)


def goes_on(node):
    before = len(records(node))
    wait_until("the guest to go on", lambda: len(records(node)) > before + 100, 30)


def test_source_vm_dies_before_commit(cluster, web1):
    """The disks stay, and it is not said that the guest runs on."""
    with Held(cluster, first="migrate") as held:
        kill_qemu(held.n1)
        code, done, err = held.end()
    assert (code, done["outcome"]) == (FAILED, "kept"), (code, done, err)
    assert "the guest does not run" in err and "start it on this node" in err
    assert last_handoff(held.n1)["owner"] == "n1"
    wait_until("the incoming VM to be ended", lambda: not qemus(held.n2), 30)


def test_source_vm_dies_after_commit(cluster, web1):
    """Nobody is here to take the disks back to: moved, and no word of a guest that runs on."""
    place, _ = web1
    with Held(cluster) as held:
        kill_qemu(held.n1)
        code, done, err = held.end()
    assert (code, done["outcome"]) == (FAILED, "moved"), (code, done, err)
    assert "start it there" in err
    status = last_handoff(held.n1)
    assert (status["outcome"], status["owner"], status["state"]) == ("moved", "n2", "done")
    wait_until("the incoming VM to give up", lambda: not qemus(held.n2), 30)
    launch(held.n2, f"{place}/web1.ini")
    goes_on(held.n2)


def test_destination_vm_dies_after_commit(cluster, web1):
    """The disks come back, and kept is said of a guest that runs."""
    with Held(cluster) as held:
        kill_qemu(held.n2)
        code, done, err = held.end()
    assert (code, done["outcome"]) == (KEPT, "kept"), (code, done, err)
    status = last_handoff(held.n1)
    assert (status["outcome"], status["owner"]) == ("kept", "n1")
    goes_on(held.n1)


def test_take_back_is_not_answered(cluster, web1):
    """The destination's VM is dead, and csvlockd here with it: what became of the disks is not known."""
    with Held(cluster, "query-migrate") as held:
        kill_qemu(held.n2)
        held.go_on()
        held.wait()
        held.n1.run(["kill", "-KILL", str(held.n1.pid_of("csvlockd"))])
        code, done, err = held.end()
    assert (code, done["outcome"]) == (UNREACHABLE, None), (code, done, err)
    assert "handoff status" in err


def test_monitor_is_lost_after_commit(cluster, web1):
    """The connection to QEMU breaks, QEMU lives: it is asked again how the migration went."""
    with Held(cluster) as held:
        code, done, err = held.end("drop")
    assert (code, done["outcome"]) == (0, "moved"), (code, done, err)
    goes_on(held.n2)
    assert not qemus(held.n1)
