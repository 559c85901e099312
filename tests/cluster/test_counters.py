# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads and writes of mapped, leased ranges send no message, whatever other nodes look at meanwhile."""
import pytest

from agents import Agent, Follower
from commands import adm, volume

SIZE = 16 << 20  # bytes of the image
OPERATIONS = 10000

# Lists the folder again and again, and says so after each time.
_LIST = 'while ls -l "$0" >/dev/null; do echo listed; done'


def raw_image(node, path):
    node.run(["fallocate", "-l", str(SIZE), path])


def fixed_vhd(node, path):
    adm(node, "vhd", "create", path, "--size", str(SIZE))


def messages(node):
    """What a node has sent on behalf of the volume."""
    counters = volume(node)["counters"]
    return counters["cluster_msgs_sent"], counters["lock_requests"]


@pytest.mark.parametrize("name, make", [("disk.img", raw_image), ("disk.vhd", fixed_vhd)])
def test_io_on_a_leased_image_sends_nothing(cluster, place, name, make):
    one, two = cluster.node("n1"), cluster.node("n2")
    make(one, f"{place}/{name}")
    with Agent(one, seconds=120) as holder:
        holder.open("disk", f"{place}/{name}", "O_RDWR")
        holder.fill("disk", SIZE)
        with Follower(two, ["sh", "-c", _LIST, place]) as lister:
            # The first looks take the holder's inode lock down to shared; from then on nothing moves.
            lister.wait_more(2)
            assert holder.random_io("disk", SIZE, 16, 1) == "good"
            lister.wait_more(2)
            before, listed = messages(one), lister.lines
            assert holder.random_io("disk", SIZE, OPERATIONS, 2) == "good"
            assert messages(one) == before
            assert lister.lines > listed + 10
        # They do count: a new file takes locks.
        one.run(["touch", f"{place}/new"])
        assert messages(one) != before
