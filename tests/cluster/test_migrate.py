# SPDX-License-Identifier: GPL-2.0-or-later
"""Live migration of a running one-sector guest by csvadm migrate: real QEMU on both nodes."""
import json

import pytest

from harness.instance import BIN, ROOT
from harness.wait import wait_until
from vm import bootsector, disk

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
    """Numbers that the guest has acknowledged on its serial line, on this node."""
    done = node.run(["sh", "-c", "cat /var/log/csvfs/vm/web1.log 2>/dev/null"], check=False)
    return done.stdout


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
    before = len(records(n2))
    wait_until("the guest to go on", lambda: len(records(n2)) > before + 100, 30)
    owner = csvadm(n2, "handle", "list", "--vm", "web1")["handles"]
    assert [h["state"] for h in owner if h["mode"] == "rw"] == ["leased"]
    back = csvadm(n2, "migrate", "web1", "--to", "n1", "--uri", f"tcp:{n1.address('mig')}")
    assert back["outcome"] == "moved"
    before = len(records(n1))
    wait_until("the guest to go on", lambda: len(records(n1)) > before + 100, 30)
