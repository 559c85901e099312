# SPDX-License-Identifier: GPL-2.0-or-later
"""dlm_controld with an agent that fails for a while: what it waits for, and what it does not."""
import uuid

import pytest

from spaces import Space


@pytest.fixture
def agent(lab):
    """It fails until a test allows it to fence."""
    lab.fence.refuse()
    yield lab.fence


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
    """And so does whatever is asked of the lockspace meanwhile, also by who takes a dead process's place."""
    one, two, three = spaces
    one.lock(2, "other", "PR")
    two.lock(1, "held", "EX")
    three.lock(1, "res", "EX")
    one.say("lock 1 res EX")
    three.expect("bast 1 EX")
    lab.kill("n3")
    agent.wait_asked(1, 3)
    one.expect_nothing()
    one.say("convert 2 NL")
    two.say("hangup")
    two.say("start")
    two.say("adopt 11 held EX")
    agent.wait_asked(4, 3)  # failed, it is called again, here or elsewhere
    assert {machine for machine, _ in agent.asked()} <= {"n1", "n2"}
    assert all(words[0] == "node=3" for _, words in agent.asked())
    one.expect_nothing()
    agent.allow()
    assert {one.hear(), one.hear()} == {"done 1 0 EX", "done 2 0 NL"}
    two.await_line("done 11 0 EX")


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
    lab.power_on([lab.node("n3")])
    one.expect("done 1 0 EX")
