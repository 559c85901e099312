# SPDX-License-Identifier: GPL-2.0-or-later
"""Files without a name whose opener or unlinker dies: their space comes back while the others stay mounted (U4)."""
from pathlib import Path

import pytest

from agents import Agent
from commands import volume
from harness import csvfs

SIZE = 256 << 20
SLACK = 8 << 20   # what else is going on: a directory, an orphan block
BACK_S = 30


def free(node):
    """Free bytes as the node sees them."""
    return volume(node)["free"]


@pytest.fixture
def big(cluster, place):
    """A file of written-out size, and how much was free before it came."""
    node = cluster.node("n2")
    before = free(node)
    node.run(["fallocate", "-l", str(SIZE), f"{place}/big"])
    assert free(node) < before - SIZE + SLACK
    return f"{place}/big", before


def wait_space(cluster, name, before):
    cluster.wait_until("the file's space to come back", lambda: free(cluster.node(name)) > before - SLACK, BACK_S)


def unlink(node, path):
    """For good: the name does not come back with the node's end."""
    with Agent(node) as agent:
        agent.open("d", str(Path(path).parent), "O_RDONLY|O_DIRECTORY")
        agent.call("unlink", path)
        agent.fsync("d")


def test_opener_dies(cluster, big):
    """n2, which unlinked it, frees it when n1 has been recovered, by whomever."""
    path, before = big
    with Agent(cluster.node("n1")) as one:
        one.open("f", path, "O_RDWR")
        unlink(cluster.node("n2"), path)
        assert one.nlink("f") == 0
        cluster.kill("n1")
    assert free(cluster.node("n2")) < before - SIZE + SLACK
    wait_space(cluster, "n2", before)


def test_unlinker_dies(cluster, big):
    """n2, which has it open, frees it when it closes it; n1's list is another's by then."""
    path, before = big
    with Agent(cluster.node("n2")) as two:
        two.open("f", path, "O_RDWR")
        unlink(cluster.node("n1"), path)
        cluster.kill("n1")
        recovered(cluster)
        two.pwrite("f", "still here", 0)
        assert two.pread("f", 10, 0) == "still here"
        assert free(cluster.node("n2")) < before - SIZE + SLACK
        two.close("f")
    wait_space(cluster, "n2", before)


def test_opener_and_unlinker_die(cluster, big):
    """Nobody is left who knew the file: who adopts it frees it."""
    path, before = big
    with Agent(cluster.node("n1")) as one:
        one.open("f", path, "O_RDWR")
        unlink(cluster.node("n1"), path)
        cluster.kill("n1")
    wait_space(cluster, "n2", before)


def recovered(cluster):
    """n1's slot has been replayed and the others go on."""
    cluster.wait_until("the recovery of n1", lambda: any(volume(cluster.node(n))["recovery"] for n in ("n2", "n3")), BACK_S)
    for name in ("n2", "n3"):
        csvfs.wait_online(cluster.node(name))
