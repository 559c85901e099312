# SPDX-License-Identifier: GPL-2.0-or-later
"""dlm_controld with an agent: what it waits for, and what it does not. The agent here does as a file says."""
import uuid

import pytest

from harness.instance import BIN
from harness.wait import wait_until
from spaces import Space

FENCE_S = 300

_AGENT = """#!/bin/sh
echo "$(hostname) $(tr '\\n' ' ')" >>{folder}/asked
test -e {folder}/allow
"""


class Agent:
    """A stand-in for csv-dlm-fence, the same on all machines."""

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "csv-dlm-fence"
        folder.mkdir()
        self.path.write_text(_AGENT.format(folder=folder), encoding="utf-8")
        self.path.chmod(0o755)
        self.allow()

    def allow(self):
        """It succeeds from now on."""
        self.folder.joinpath("allow").touch()

    def refuse(self):
        """It fails from now on; forget what it was asked for before."""
        self.folder.joinpath("allow").unlink(missing_ok=True)
        self.folder.joinpath("asked").unlink(missing_ok=True)

    def asked(self):
        """What it was asked for, a list of (machine, words)."""
        try:
            lines = self.folder.joinpath("asked").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [(line.split()[0], line.split()[1:]) for line in lines]

    def wait_asked(self, count, number):
        """Wait until it was asked so many times for a node."""
        wait_until(f"dlm_controld to have node {number} fenced",
                   lambda: len([1 for _, words in self.asked() if f"node={number}" in words]) >= count, FENCE_S)


@pytest.fixture(scope="module")
def module_agent(session_lab):
    """The lab with fencing on, for as long as these tests."""
    lab = session_lab
    agent = Agent(lab.state / "agent")
    lab.agent = str(agent.path)
    lab.restart()
    yield agent
    lab.agent = None
    lab.restart()


@pytest.fixture
def agent(module_agent, lab):
    """As a fresh one; when the test is over it allows everything, so that the lab can be healed."""
    module_agent.refuse()
    yield module_agent
    module_agent.allow()
    lab.heal()


@pytest.fixture
def spaces(lab, agent):
    """A csv-dlm-space on each machine, all in one new lockspace; the third machine will not live."""
    name = f"csv{uuid.uuid4().hex[:8]}"
    found = [Space(node, name) for node in lab.nodes]
    for space in found:
        space.expect("joined")
    yield found
    agent.allow()
    for space in found[:2]:
        space.finish()
    found[2].leave()


def test_grants_wait_for_the_agent(lab, agent, spaces):
    one, two, three = spaces
    two.lock(1, "other", "PR")
    three.lock(1, "res", "EX")
    one.say("lock 1 res EX")
    three.expect("bast 1 EX")
    lab.kill("n3")
    agent.wait_asked(1, 3)
    one.expect_nothing()
    two.say("convert 1 NL")  # anything that is asked of a stopped lockspace waits
    two.expect_nothing()
    agent.wait_asked(4, 3)  # failed, it is called again, here or elsewhere
    assert {machine for machine, _ in agent.asked()} <= {"n1", "n2"}
    assert all(words[0] == "node=3" for _, words in agent.asked())
    one.expect_nothing()
    agent.allow()
    one.expect("done 1 0 EX")
    two.expect("done 1 0 NL")


def test_process_that_dies_while_the_lockspace_waits(lab, agent, spaces):
    """csvlockd dies while another machine is being fenced: its successor gets its locks, but not before the fence."""
    one, two, _ = spaces
    one.lock(1, "res", "EX")
    lab.kill("n3")
    agent.wait_asked(1, 3)
    one.say("hangup")
    one.say("start")
    one.say("adopt 11 res EX")
    two.say("lock 1 res PR")
    agent.wait_asked(3, 3)
    two.expect_nothing()
    agent.allow()
    one.await_line("done 11 0 EX")
    one.say("unlock 11")
    two.expect("done 1 0 PR")


def test_node_that_is_back_counts_as_fenced(lab, agent, spaces):
    """Why csvlockd may not lean on the agent alone: dlm_controld does not wait for it when the dead node is back.

    Its locks are granted to others while the agent has not succeeded once.
    """
    one, _, three = spaces
    three.lock(1, "res", "EX")
    one.say("lock 1 res EX")
    three.expect("bast 1 EX")
    lab.kill("n3")
    agent.wait_asked(1, 3)
    one.expect_nothing()
    lab.start("n3")
    one.expect("done 1 0 EX")


def test_check_accepts_it(lab, agent):
    done = lab.nodes[0].run([BIN / "csv-dlm-space", "--check"])
    assert done.stdout == ""
