# SPDX-License-Identifier: GPL-2.0-or-later
"""Links, namespaces and the node command."""
import json
import subprocess

import pytest

from harness import fabric
from harness.instance import MOUNT_POINT, ROOT, address

NAMES = ["n1", "n2", "n3"]


def ping(node, host, seconds=1):
    """Whether a host answers one packet within a time."""
    words = ["busybox", "ping", "-q", "-c", "1", "-W", str(seconds), host]
    return node.run(words, check=False).returncode == 0


@pytest.mark.parametrize("net", ["stor", "clus", "mig", "guest"])
def test_nodes_ping_each_other(bare_cluster, net):
    for node in bare_cluster.nodes:
        for other in bare_cluster.nodes:
            assert ping(node, other.address(net)), f"{node.name} to {other.name} on {net}"


def test_cut_and_heal_storage(bare_cluster):
    node = bare_cluster.node("n2")
    host = bare_cluster.target.portal[0]
    assert ping(node, host)
    bare_cluster.lun_cut("n2")
    assert not ping(node, host)
    assert ping(bare_cluster.node("n1"), host)
    assert ping(node, address("clus", 1))
    bare_cluster.lun_heal("n2")
    # More than a second: the failed ping left an ARP query that is repeated only then.
    assert ping(node, host, seconds=5)


def test_fabric_shows_where_a_guest_is(bare_cluster):
    """The guest bridge has learnt n2's address behind n2's port."""
    node = bare_cluster.node("n2")
    ping(node, address("guest", 1))
    vmbr = json.loads(node.run(["ip", "-json", "link", "show", "vmbr0"]).stdout)[0]["address"]
    netns = bare_cluster.instance.netns(fabric.FABRIC)
    table = json.loads(subprocess.check_output(["bridge", "-netns", netns, "-json", "fdb", "show", "br", "br-guest"]))
    assert [entry["ifname"] for entry in table if entry["mac"] == vmbr] == ["n2-guest"]


def test_host_network_untouched(bare_cluster):
    """No link, address or route of the test bed is on the host itself."""
    seen = subprocess.check_output("ip address; ip route", shell=True, text=True)
    assert "10.77." not in seen
    assert "br-stor" not in seen


def test_private_directories(bare_cluster):
    """Each node has its own; they are kept over a crash, /run is not."""
    for node in bare_cluster.nodes:
        node.run(["sh", "-c", "hostname >/etc/csvfs/who; hostname >/var/lib/csvfs/who; hostname >/run/who"])
        node.run(["test", "-d", MOUNT_POINT])
    bare_cluster.kill("n3")
    bare_cluster.start("n3")
    for name in NAMES:
        done = bare_cluster.node(name).run(["cat", "/etc/csvfs/who", "/var/lib/csvfs/who"])
        assert done.stdout == f"{name}\n{name}\n"
    assert bare_cluster.node("n3").run(["test", "-e", "/run/who"], check=False).returncode == 1


def test_node_command(bare_cluster):
    """Input, output and exit code pass through."""
    command = [ROOT / "tests/cluster/node", "n2", "sh", "-c", "hostname; cat; exit 7"]
    done = subprocess.run(command, input="hello\n", stdout=subprocess.PIPE, text=True,
                          env={"CSV_CLUSTER": bare_cluster.instance.name, "PATH": "/usr/sbin:/usr/bin"})
    assert (done.returncode, done.stdout) == (7, "n2\nhello\n")
