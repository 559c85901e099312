# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing is left of a cluster with csvfs, however it ended. (conftest.py asks the same of every session.)"""
import pytest

from agents import Agent
from harness import Cluster, leftovers
from harness.instance import MOUNT_POINT


@pytest.fixture
def small(instance_name):
    """A cluster of two nodes of the test's own."""
    made = Cluster(f"{instance_name}-left", nodes=2, lun_size="2G", token_ms=400)
    made.down()
    made.up()
    yield made
    made.down()


@pytest.mark.parametrize("fault", ["none", "freeze", "kill", "target"])
def test_down_leaves_nothing(small, fault):
    """With a process in the midst of things, a frozen node, a dead one, no target."""
    with Agent(small.node("n2")) as agent:
        agent.open("disk", f"{MOUNT_POINT}/disk.img", "O_RDWR|O_CREAT")
        agent.write_behind("disk", ["x" * 4096] * 4, True)
        if fault == "freeze":
            small.freeze("n2")
        elif fault == "kill":
            small.kill("n2")
        elif fault == "target":
            small.target.stop()
        small.down()
    assert leftovers.find(small.instance) == []
