# SPDX-License-Identifier: GPL-2.0-or-later
"""up and down as commands: side by side, interrupted, killed, repeated."""
import os
import shutil
import signal
import subprocess

import pytest

from harness import Cluster, Instance, fabric, wait_until
from harness.instance import ROOT
from harness.leftovers import find


def command(instance, name, *words, **options):
    """Start one of the harness's commands for an instance; returns the Popen."""
    env = dict(os.environ, CSV_CLUSTER=instance.name)
    return subprocess.Popen([ROOT / "tests/cluster" / name, *words], env=env, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)


def finish(child, code=0):
    """Wait for a command and check its exit code; returns what it said."""
    said, _ = child.communicate(timeout=60)
    assert child.returncode == code, said
    return said


@pytest.fixture
def instance(instance_name):
    """An instance of the test's own, gone afterwards whatever happened."""
    made = Instance(f"{instance_name}-life")
    finish(command(made, "down"))
    yield made
    finish(command(made, "down"))
    assert find(made) == []


def half_up(instance):
    """An `up` in the middle of its work."""
    child = command(instance, "up", "--no-csvfs", "--nodes", "2")
    wait_until("the target's and a node's namespace", lambda: len(fabric.existing(instance)) > 2, 10)
    return child


def test_up_down_leaves_nothing(instance):
    child = command(instance, "up", "--no-csvfs", "--nodes", "1", "--lun-size", "64M", "--luns", "2")
    assert "1 nodes" in finish(child)
    env = (instance.state / "env").read_text()
    assert 'NODES="n1"' in env and f'LUN="{instance.lun_url()}"' in env
    assert "namespace" in finish(command(instance, "leftovers"), code=1)
    assert "is up already" in finish(command(instance, "up", "--no-csvfs"), code=1)
    finish(command(instance, "down"))
    assert finish(command(instance, "leftovers")) == ""
    finish(command(instance, "down"))
    assert not instance.state.exists()


def test_interrupted_up_leaves_nothing(instance):
    child = half_up(instance)
    child.send_signal(signal.SIGINT)
    assert "interrupted" in finish(child, code=130)
    assert find(instance) == []


def test_killed_up(instance):
    """down removes what a killed up has left; so does the next up."""
    child = half_up(instance)
    child.kill()
    child.communicate()
    finish(command(instance, "up", "--no-csvfs", "--nodes", "1"))
    finish(command(instance, "down"))
    assert find(instance) == []


def test_down_without_state_directory(instance):
    """Namespaces and marks are enough to find everything."""
    finish(command(instance, "up", "--no-csvfs", "--nodes", "1"))
    shutil.rmtree(instance.state)
    for name in fabric.existing(instance):
        fabric.delete(name)  # the namespaces live on, nameless, with their processes
    assert any(line.startswith("process") for line in find(instance))
    finish(command(instance, "down"))
    assert find(instance) == []


def test_name_of_another_source_tree_is_refused(instance, tmp_path):
    """Neither up nor down of another tree touches a running cluster of the same name."""
    finish(command(instance, "up", "--no-csvfs", "--nodes", "1"))
    shutil.copytree(ROOT / "tests/cluster", tmp_path / "tests/cluster")
    for name in ("up", "down"):
        done = subprocess.run([tmp_path / "tests/cluster" / name] + ["--no-csvfs"] * (name == "up"),
                              env=dict(os.environ, CSV_CLUSTER=instance.name),
                              stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1 and "of another source tree" in done.stderr
    assert not (tmp_path / "build").exists()
    assert Cluster.load(instance.name).node("n1").up


def test_two_instances_at_once(bare_cluster, instance):
    """Same addresses, other cluster: neither sees the other, nor falls with it."""
    other = Cluster(instance.name, nodes=2, lun_size="64M", use_csvfs=False)
    other.up()
    names = ["n1", "n2"]
    other.wait_members(names, names, quorate=True)
    bare_cluster.wait_members(["n1"], ["n1", "n2", "n3"], quorate=True)
    listed = other.node("n1").run(["iscsi-ls", f"iscsi://{other.target.portal[0]}"]).stdout
    assert other.instance.iqn in listed and bare_cluster.instance.iqn not in listed
    other.down()
    bare_cluster.wait_members(["n1"], ["n1", "n2", "n3"], quorate=True)
    assert bare_cluster.node("n1").run(["iscsi-inq", bare_cluster.lun]).returncode == 0


def test_without_csvfs_binaries(instance, monkeypatch, tmp_path):
    """A missing build is reported before anything is made."""
    monkeypatch.setattr("harness.csvfs.BIN", tmp_path)
    with pytest.raises(Exception, match="not built: build/bin/csvlockd.*--no-csvfs"):
        Cluster(instance.name).up()
    assert find(instance) == []
