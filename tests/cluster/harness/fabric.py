# SPDX-License-Identifier: GPL-2.0-or-later
"""Network namespaces and links.

One fabric namespace holds four bridges, the "switches". Each box (node or
target) is joined by veth pairs that are created with their ends already in
their namespaces, so not even for a moment does a link appear on the host.

    node nX:  stor0  clus0  mig0  vmbr0--guest0      target:  stor0
                |      |      |           |                     |
    fabric:  nX-stor nX-clus nX-mig    nX-guest              tgt-stor
                |      |      |           |                     |
             br-stor br-clus br-mig   br-guest               br-stor
"""
import json
import os
import re

from .errors import HarnessError
from .instance import FABRIC_HOST, NETS, TARGET_HOST, address
from .shell import run
from .wait import wait_until

NETNS_DIR = "/run/netns"
FABRIC = "fab"
TARGET = "tgt"
_PORT = re.compile(r"(n\d+|[a-z]+)-(stor|clus|mig|guest)")  # what port() makes


def netns_path(name):
    """Path by which a named network namespace can be entered."""
    return f"{NETNS_DIR}/{name}"


def existing(instance):
    """Names of the instance's network namespaces, sorted."""
    try:
        names = os.listdir(NETNS_DIR)
    except FileNotFoundError:
        return []
    return sorted(name for name in names if instance.owns_netns(name))


def batch(netns, lines):
    """Run `ip` commands inside a namespace, all in one process."""
    run(["ip", "-netns", netns, "-batch", "-"], input="\n".join(lines) + "\n")


def bridge_lines(name):
    """Commands for a bridge that forwards from its first packet on."""
    return [f"link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            f"link set {name} up"]


def port(box, net):
    """Name of the fabric's end of a box's link; at most 15 bytes."""
    return f"{box}-{net}"


def create_fabric(instance):
    """Make the fabric namespace with its bridges."""
    name = instance.netns(FABRIC)
    run(["ip", "netns", "add", name])
    lines = ["link set lo up"]
    for net in NETS:
        lines += bridge_lines(f"br-{net}")
    # A foot in the guest net, so that a test can talk to guests from outside all nodes.
    lines.append(f"address add {address('guest', FABRIC_HOST)}/24 dev br-guest")
    batch(name, lines)


def join_lines(instance, box, net):
    """Commands, for the fabric, that plug a box into one net."""
    mine = port(box, net)
    return [f"link add {mine} type veth peer name {net}0"
            f" netns {instance.netns(box)}",
            f"link set {mine} master br-{net} up"]


def create_node(instance, number):
    """Make the namespace of node `number` with its links and its guest bridge."""
    box = f"n{number}"
    run(["ip", "netns", "add", instance.netns(box)])
    batch(instance.netns(FABRIC), [line for net in NETS for line in join_lines(instance, box, net)])
    lines = ["link set lo up"] + bridge_lines("vmbr0") + ["link set guest0 master vmbr0 up"]
    for net in NETS:
        device = "vmbr0" if net == "guest" else f"{net}0"
        lines += [f"address add {address(net, number)}/24 dev {device}", f"link set {device} up"]
    batch(instance.netns(box), lines)


def create_target(instance):
    """Make the namespace of the iSCSI target with its one link."""
    run(["ip", "netns", "add", instance.netns(TARGET)])
    batch(instance.netns(FABRIC), join_lines(instance, TARGET, "stor"))
    batch(instance.netns(TARGET), ["link set lo up",
                                   f"address add {address('stor', TARGET_HOST)}/24 dev stor0",
                                   "link set stor0 up"])


def set_link(instance, box, net, up):
    """Plug in or pull out a box's cable, at the fabric's end.

    The box keeps its addresses and sees its carrier go, as with a real cable.
    Up returns when both ends pass packets: the kernel takes up to a second.
    """
    mine = port(box, net)
    batch(instance.netns(FABRIC), [f"link set {mine} {'up' if up else 'down'}"])
    if up:
        ends = [(instance.netns(FABRIC), mine), (instance.netns(box), f"{net}0")]
        wait_until(f"carrier on both ends of {mine}",
                   lambda: all(operational(*end) for end in ends), 5)


def operational(netns, device):
    """Whether a link has its carrier and passes packets."""
    done = run(["ip", "-netns", netns, "-json", "link", "show", device], check=False)
    return any(link.get("operstate") == "UP" for link in json.loads(done.stdout or "[]"))


def unplug(instance, box):
    """Destroy all links of a node, both ends.

    Deleting its namespace would not do at once: TCP connections that have
    not ended keep a namespace and its links alive for minutes.
    """
    batch(instance.netns(FABRIC), [f"link delete {port(box, net)}" for net in NETS])


def links(instance):
    """Administrative state of the fabric's ports: {'n1-stor': True, ...}."""
    done = run(["ip", "-netns", instance.netns(FABRIC), "-json", "link", "show"])
    return {link["ifname"]: "UP" in link["flags"] for link in json.loads(done.stdout or "[]")
            if _PORT.fullmatch(link["ifname"])}


def delete(netns):
    """Remove a named namespace; its links go with it. Gone already is no error."""
    done = run(["ip", "netns", "delete", netns], check=False)
    if done.returncode != 0 and os.path.exists(netns_path(netns)):
        raise HarnessError(f"cannot delete namespace {netns}: {done.stderr.strip()}")
