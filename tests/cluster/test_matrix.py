# SPDX-License-Identifier: GPL-2.0-or-later
"""A few cells of the kill matrix, which `make matrix` plays whole; and a cluster of two, split three times."""
import sys

import pytest

from harness import leftovers
from harness.instance import ROOT

sys.path.append(str(ROOT / "tests" / "matrix"))

from kill import cell, duel  # noqa: E402
from kill.beds import Duel, Host  # noqa: E402
from kill.columns import COLUMNS  # noqa: E402
from kill.rows import row  # noqa: E402

# Those that no other test has: with a second death, within a handoff, in the middle of renames.
CELLS = [("node-killed", "names"), ("node-frozen", "handoff"), ("csvfs-killed", "names"), ("csvfs-frozen", "writes"),
         ("csvlockd-crashed", "handoff"), ("target-restarted", "names"), ("second-death", "writes"),
         ("recoverer-dies", "names")]
SPLITS = 3


@pytest.fixture(scope="module")
def bed(session_cluster):
    """The tests' cluster, checked at the end; with its own mounts again afterwards."""
    session_cluster.heal()
    made = Host(session_cluster)
    yield made
    for node in session_cluster.nodes:
        node.options = []
    session_cluster.heal()
    assert made.check() == []


@pytest.fixture
def whole(bed):
    yield bed
    bed.cluster.heal()


@pytest.mark.parametrize("row_name, column_name", CELLS, ids=["-".join(c) for c in CELLS])
def test_cell(whole, row_name, column_name):
    entry = cell.play(whole, row(row_name), next(c for c in COLUMNS if c.name == column_name))
    assert entry["records"] > 0


def test_split():
    bed = Duel()
    bed.cluster.down()
    bed.cluster.up()
    try:
        for _ in range(SPLITS):
            assert duel.split_once(bed)["winner"] in ("n1", "n2")
        assert bed.check() == []
    finally:
        bed.cluster.down()
    assert leftovers.find(bed.cluster.instance) == []
