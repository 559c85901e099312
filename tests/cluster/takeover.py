# SPDX-License-Identifier: GPL-2.0-or-later
"""What another node must find, and can do, once a node is out: `place` has disk.img and files/ (conftest.py's load)."""
from agents import Agent, Recorder, errno_of
from commands import volume
from harness import csvfs
from harness.instance import MOUNT_POINT
from harness.wait import wait_until
from records import RECORDS

TAKE_OVER_S = 25  # notice, fence, replay; many times what it takes on a quiet machine


def nothing_lost(node, place, load):
    """Another node finds all that was acknowledged, and takes the image over."""
    last = [recorder.acked() for recorder in load]
    with Agent(node, seconds=TAKE_OVER_S) as survivor:
        assert survivor.lost("files", f"{place}/files", last[1]) == []
        assert survivor.lost("image", f"{place}/disk.img", last[0]) == []
    take_over(node, place, last[0] + 1)


def take_over(node, place, first, seconds=TAKE_OVER_S, checked=0):
    """The image can be written on this node as soon as its former holder has been recovered.

    Records from `first` on are written; returns the last. Those from `checked` on must then be there.
    """
    with Agent(node, seconds=seconds) as agent:
        wait_until(f"{node.name} to get the image",
                   lambda: errno_of(agent.open, "disk", f"{place}/disk.img", "O_RDWR") == 0,
                   seconds * node.slowness)
    with Recorder(node, "image", f"{place}/disk.img", first) as recorder:
        recorder.wait_more(RECORDS, seconds)
        last = recorder.acked()
    with Agent(node, seconds=seconds) as agent:
        assert agent.lost("image", f"{place}/disk.img", last, checked) == []
    return last


def rejoined(cluster, name, before):
    """The node is back under a new incarnation; its volume works."""
    node = cluster.node(name)
    csvfs.wait_online(node)
    now = volume(node)
    assert (now["slot"], now["incarnation"]) != (before["slot"], before["incarnation"])
    node.run(["ls", MOUNT_POINT])
