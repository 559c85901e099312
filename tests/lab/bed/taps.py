# SPDX-License-Identifier: GPL-2.0-or-later
"""Links of the machines: a tap on the fabric's bridge for each net."""
from harness import fabric

from .qemu import NETS


def create(instance, box):
    """Make a machine's taps. They stay when it is off, as the cables of a host do."""
    lines = []
    for net in NETS:
        tap = fabric.port(box, net)
        lines += [f"tuntap add dev {tap} mode tap", f"link set {tap} master br-{net} up"]
    fabric.batch(instance.netns(fabric.FABRIC), lines)


def exist(instance, box):
    """Whether create() has been done."""
    return fabric.port(box, NETS[0]) in fabric.links(instance)


def set_link(instance, box, net, up):
    """Plug in or pull out a cable. The machine notices by what no longer comes: its card keeps its carrier."""
    fabric.batch(instance.netns(fabric.FABRIC), [f"link set {fabric.port(box, net)} {'up' if up else 'down'}"])
