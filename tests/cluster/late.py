# SPDX-License-Identifier: GPL-2.0-or-later
"""Late writes: a node stands still with writes on their way, and what then lies on the LUN.

The LUN is read by lun-witness, which shares no code with csvfs and holds no key.
"""
import errno
import json
import os

from harness.instance import BIN
from records import SIZE

WRITERS = 8
CHUNK = 1 << 20


def texts(word):
    """A block's content for each writer, never seen before on the LUN."""
    mark = os.urandom(8).hex()
    return [f"{word} {mark} {number:02}\n".ljust(SIZE, ".") for number in range(WRITERS)]


def block_of(path, content):
    """Number of the block of a sparse file that has this content; searched for, so that no map of ours is believed."""
    with open(path, "rb", buffering=0) as file:
        position = 0
        while True:
            try:
                position = os.lseek(file.fileno(), position, os.SEEK_DATA) // SIZE * SIZE
            except OSError as error:
                assert error.errno == errno.ENXIO
                return None
            found = os.pread(file.fileno(), CHUNK, position).find(content.encode())
            if found >= 0:
                return (position + found) // SIZE
            position += CHUNK


def make(agent, cluster, path):
    """An image of written blocks, open as "disk" in the agent; the blocks' numbers on the LUN."""
    agent.open("disk", path, "O_RDWR|O_CREAT")
    old = texts("old")
    agent.pwrite("disk", "".join(old), 0)
    agent.fsync("disk")
    blocks = [block_of(cluster.target.backing_file(1), text) for text in old]
    assert None not in blocks
    return blocks


def witness(cluster, *words):
    """The LUN's answer to a program that has nothing to do with csvfs."""
    return cluster.node("n3").run([BIN / "lun-witness", cluster.lun, *map(str, words)], timeout=20).stdout


def keys(cluster):
    """READ KEYS, from outside."""
    return json.loads(witness(cluster, "keys"))["keys"]


def on_lun(cluster, blocks):
    """What the blocks hold."""
    return [witness(cluster, "read", block, 1) for block in blocks]
