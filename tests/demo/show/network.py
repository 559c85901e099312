# SPDX-License-Identifier: GPL-2.0-or-later
"""What the network shows: behind which port the guest is, how much crossed the migration link."""
import json
import time

from harness.fabric import port
from harness.shell import run

from .guest import MAC
from .timeline import require


def guest_port(cluster):
    """Port of the fabric's guest bridge behind which the guest's MAC was last seen, or None."""
    words = ["ip", "netns", "exec", cluster.instance.netns("fab"), "bridge", "-j", "fdb", "show"]
    ports = [port(node.name, "guest") for node in cluster.nodes]
    for entry in json.loads(run(words).stdout):
        if entry.get("mac") == MAC and entry["ifname"] in ports:
            return entry["ifname"]
    return None


def wait_guest_port(cluster, node, seconds=5):
    """Waits until the switch knows the guest behind that node's port; the port seen last."""
    want = port(node, "guest")
    deadline = time.monotonic() + seconds
    seen = guest_port(cluster)
    while seen != want and time.monotonic() < deadline:
        time.sleep(0.01)
        seen = guest_port(cluster)
    return seen


def migration_bytes(cluster, node):
    """Bytes that a node has sent on its migration link, as its interface counts."""
    text = cluster.node(node).run(["ip", "-j", "-s", "link", "show", "mig0"]).stdout
    return json.loads(text)[0]["stats64"]["tx"]["bytes"]


def require_crossed(before, after, least):
    """RAM must have gone over the migration link."""
    require(after - before >= least, f"only {after - before} bytes crossed the migration link")
    return after - before
