# SPDX-License-Identifier: GPL-2.0-or-later
"""A fixed VHD of 1 TiB on a volume that has been used before."""
import json

import pytest

from agents import Agent
from commands import adm, volume
from harness import Cluster, csvfs
from harness.instance import BIN, MOUNT_POINT

TIB = 1 << 40
FILES = 200
BLOCKS_MAX = 200  # written for the VHD
READS = 500


@pytest.fixture(scope="module")
def large(instance_name):
    """One node with a volume of 2 TiB on a sparse LUN."""
    made = Cluster(f"{instance_name}-vhd", nodes=1, lun_size="2T", token_ms=400)
    made.down()
    made.up()
    try:
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def used(large):
    """Its node, after files of many sizes were made and every second one removed: free space is in pieces."""
    node = large.nodes[0]
    script = ('cd "$0"; for i in $(seq "$1"); do dd if=/dev/urandom of=f$i bs=$((i * 4096)) count=1 || exit 1; done;'
              ' for i in $(seq 1 2 "$1"); do rm f$i || exit 1; done; sync -f .')
    node.run(["sh", "-c", script, MOUNT_POINT, str(FILES)], timeout=120)
    # All of that goes home, so that what is counted from here on is the VHD's.
    node.run([BIN / "csvadm", "umount", MOUNT_POINT])
    csvfs.mount(node, large.lun)
    return node


def test_one_tebibyte(used, record_property):
    path = f"{MOUNT_POINT}/big.vhd"
    written = volume(used)["counters"]["blocks_written"]
    done = adm(used, "vhd", "create", path, "--size", "1T")
    blocks = volume(used)["counters"]["blocks_written"] - written
    record_property("blocks_written", blocks)
    record_property("elapsed_ms", done["elapsed_ms"])
    print(f"1 TiB in {done['elapsed_ms']:.1f} ms, {blocks} blocks written")
    assert blocks < BLOCKS_MAX
    assert done["virtual_size"] == TIB and done["allocated"] >= TIB
    with Agent(used) as agent:
        agent.open("big", path, "O_RDONLY")
        assert agent.zeros("big", TIB, READS, 1)
    info = json.loads(used.run(["qemu-img", "info", "--output=json", "-f", "vpc", path]).stdout)
    assert info["virtual-size"] == TIB
    assert adm(used, "vhd", "info", path)["type"] == "fixed"
