# SPDX-License-Identifier: GPL-2.0-or-later
"""What csvlockd's evictions lean on (docs/PROTOCOL.md, Members that hang): corosync does not let a member that dispatches
nothing hold up its group, and loses none of its messages."""
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from harness import procs
from harness.wait import wait_until

TOOL = Path(__file__).with_name("cpgtool.py")
SIZE = 1000
TOTAL = 8 << 20  # many times the MiB that corosync shares with a client
COUNT = -(-TOTAL // SIZE)


@pytest.fixture
def sitter(bare_cluster):
    """A stopped member of the group on n1: its process, its pid as the host knows it."""
    node = bare_cluster.node("n1")
    child = node.popen([TOOL, "flow", "sit"], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "joined\n"
        wait_until("the member to stand still", lambda: procs.state_of(child.pid) in procs.STOPPED, 10)
        yield child
    finally:
        child.kill()
        child.wait()


def test_a_stopped_member_holds_nobody_up(bare_cluster, sitter):
    done = bare_cluster.node("n2").run([TOOL, "flow", "send", str(TOTAL), str(SIZE)], timeout=120)
    assert json.loads(done.stdout)["count"] == COUNT
    assert procs.state_of(sitter.pid) in procs.STOPPED
    os.kill(sitter.pid, signal.SIGCONT)
    told = json.loads(sitter.stdout.readline())
    assert (told["count"], told["bytes"]) == (COUNT, COUNT * SIZE)
