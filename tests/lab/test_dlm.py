# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's DLM across machines, through libdlm: what the lock engine builds on."""
import uuid

import pytest

from probes import Probe


@pytest.fixture
def probes(lab):
    """A probe on each machine, all in one new lockspace."""
    space = f"csv{uuid.uuid4().hex[:8]}"
    found = [Probe(node, space) for node in lab.nodes]  # joining waits for all that are in
    for probe in found:
        probe.expect("joined")
    yield found
    for probe in found:
        probe.leave()


def test_exclusion(probes):
    one, two, three = probes
    one.say("lock a res EX")
    one.expect("ast a 0 -")
    two.say("lock b res PR noqueue")
    two.expect("ast b EAGAIN -")  # and the holder is not told
    three.say("lock c other EX")  # another resource is free
    three.expect("ast c 0 -")
    two.say("lock b res PR")
    one.expect("bast a")
    two.expect_nothing()
    one.say("convert a NL")
    one.expect("ast a 0 -")
    two.expect("ast b 0 -")
    one.say("unlock a")
    one.expect("ast a EUNLOCK -")
    three.say("lock d res PR noqueue")  # shared
    three.expect("ast d 0 -")


def test_value_travels(probes):
    one, two, three = probes
    for probe in probes:
        probe.say("lock v res NL")
        probe.expect("ast v 0 -")
    one.say("convert v EX")
    one.expect("ast v 0 -")
    one.say("value v version-1")
    one.say("convert v NL")  # from EX: it writes the block
    one.expect("ast v 0 version-1")
    for probe in (two, three):
        probe.say("convert v PR")
        probe.expect("ast v 0 version-1")
        probe.say("convert v NL")
        probe.expect("ast v 0 version-1")
    two.say("convert v EX")
    two.expect("ast v 0 version-1")
    two.say("value v version-2")
    two.say("convert v NL")
    two.expect("ast v 0 version-2")
    one.say("convert v PR")
    one.expect("ast v 0 version-2")


def test_unlocking_ruins_the_value(probes):
    """Why a lock goes to NL before it is unlocked, when it was PW or EX and has a value block.

    libdlm 4.2.0 sends the block with every unlocking, never fills it in, and the kernel takes it whatever the flags.
    """
    one, two, three = probes
    for probe in (two, three):  # the last lock of a resource would take the value with it
        probe.say("lock v res NL")
        probe.expect("ast v 0 -")
    one.say("lock v res EX")
    one.expect("ast v 0 -")
    one.say("value v known")
    one.say("convert v NL")
    one.expect("ast v 0 known")
    one.say("unlock v")  # from NL: nothing happens to the value
    assert one.hear().startswith("ast v EUNLOCK ")
    two.say("convert v EX")
    two.expect("ast v 0 known")
    two.say("unlock v")
    assert two.hear().startswith("ast v EUNLOCK ")
    three.say("convert v PR")
    assert three.hear() not in ("ast v 0 known", "ast v 0 ?", "ast v 0 -")
