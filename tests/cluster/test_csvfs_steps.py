# SPDX-License-Identifier: GPL-2.0-or-later
"""The harness's steps for csvfs itself, with stubs in place of its programs.

What they check is order and arguments: csvlockd on every node, one format,
a mount on every node, and all of it again for a node that was killed.
"""
from pathlib import Path

import pytest

from harness import Cluster, HarnessError, csvfs, leftovers
from harness.instance import MOUNT_POINT

STUBS = Path(__file__).with_name("stubs")


@pytest.fixture
def stubbed(instance_name, monkeypatch):
    """A two-node cluster, not up yet, whose csvfs programs are stubs."""
    monkeypatch.setattr(csvfs, "BIN", STUBS)
    made = Cluster(f"{instance_name}-stub", nodes=2, token_ms=400, lun_size="64M")
    made.down()
    yield made
    made.down()
    assert leftovers.find(made.instance) == []


def test_up_kill_start_heal(stubbed):
    stubbed.up()
    for node in stubbed.nodes:
        assert node.pid_of("csvlockd") and node.mounted(MOUNT_POINT)
    node = stubbed.node("n2")
    stubbed.kill("n2")
    stubbed.start("n2")
    assert node.pid_of("csvlockd") and node.mounted(MOUNT_POINT)
    node.run(["umount", MOUNT_POINT])
    assert csvfs.volume_state(node) == "failed"
    stubbed.heal()
    assert csvfs.volume_state(node) == "online"


@pytest.fixture
def replace(monkeypatch, tmp_path):
    """A function that puts a failing shell script in place of one of the stubs."""
    def put(program, script):
        for stub in STUBS.iterdir():
            if stub.name != program:
                (tmp_path / stub.name).symlink_to(stub)
        (tmp_path / program).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / program).chmod(0o755)
        monkeypatch.setattr(csvfs, "BIN", tmp_path)
    return put


def test_failing_step_is_reported_and_leaves_nothing(stubbed, replace, capfd):
    """What csvadm says reaches the user; the half-made cluster is gone."""
    replace("csvadm", "echo csvadm: LUN too small >&2; exit 2")
    with pytest.raises(HarnessError, match="n1: exit 2: .*format(.|\n)*LUN too small"):
        stubbed.up()
    assert "n1/csvadm.log" in capfd.readouterr().err
    assert leftovers.find(stubbed.instance) == []


def test_dead_csvlockd_is_noticed_at_once(stubbed, replace):
    replace("csvlockd", "echo no such key: colour >&2; exit 1")
    with pytest.raises(HarnessError, match="csvlockd of n. has ended:\n.*no such key"):
        stubbed.up()
