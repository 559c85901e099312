# SPDX-License-Identifier: GPL-2.0-or-later
"""The LUN, from every node, and faults of the target."""
import subprocess

import pytest


def inquiry(cluster, name):
    """Run iscsi-inq on a node; returns its exit code."""
    return cluster.node(name).run(["iscsi-inq", cluster.lun], check=False, timeout=10).returncode


def test_lun_from_every_node(bare_cluster):
    for node in bare_cluster.nodes:
        assert inquiry(bare_cluster, node.name) == 0
        listed = node.run(["iscsi-ls", "-s", f"iscsi://{bare_cluster.target.portal[0]}"]).stdout
        assert bare_cluster.instance.iqn in listed
        assert "Lun:1" in listed


def test_lun_is_sparse_and_thin(bare_cluster):
    info = bare_cluster.target.backing_file(1).stat()
    assert info.st_size == 8 << 30
    assert info.st_blocks * 512 < 1 << 20
    # Page 0xb2, logical block provisioning: UNMAP and both WRITE SAMEs.
    done = bare_cluster.node("n1").run(["iscsi-inq", "-e", "1", "-c", "178", bare_cluster.lun])
    flags = dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
    assert flags["lbpu"] == "1" and flags["lbpws"] == "1" and flags["lbpws10"] == "1"


def test_stop_and_start(bare_cluster):
    bare_cluster.target.stop()
    assert inquiry(bare_cluster, "n1") != 0
    bare_cluster.target.start()
    assert inquiry(bare_cluster, "n1") == 0


def test_freeze_and_thaw(bare_cluster):
    """A frozen target gives no answer, not an error; thawed it answers what has waited."""
    bare_cluster.target.freeze()
    child = bare_cluster.node("n2").popen(["iscsi-inq", bare_cluster.lun],
                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.5)
    bare_cluster.target.thaw()
    assert child.wait(10) == 0
