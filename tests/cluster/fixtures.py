# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of tests that run on any kind of cluster; they want one named `cluster`."""
import uuid

import pytest

from agents import Agent, Recorder
from harness.instance import MOUNT_POINT
from records import RECORDS, SIZE, SLOTS


@pytest.fixture
def place(cluster):
    """A directory of the test's own, on the volume."""
    path = f"{MOUNT_POINT}/{uuid.uuid4().hex[:8]}"
    cluster.node("n1").run(["mkdir", path])
    return path


@pytest.fixture
def load(cluster, place):
    """On n1: one recorder into an image, one into new files."""
    node = cluster.node("n1")
    node.run(["mkdir", f"{place}/files"])
    node.run(["fallocate", "-l", str(SIZE * SLOTS), f"{place}/disk.img"])
    with Recorder(node, "image", f"{place}/disk.img") as image, Recorder(node, "files", f"{place}/files") as files:
        image.wait_more(RECORDS)
        files.wait_more(RECORDS)
        yield image, files


@pytest.fixture
def trio(cluster):
    """An agent on each node."""
    agents = [Agent(node) for node in cluster.nodes]
    yield agents
    for agent in agents:
        with agent:
            pass
