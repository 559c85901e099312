# SPDX-License-Identifier: GPL-2.0-or-later
"""A cluster of two is split while both write: exactly one goes on, the other finds itself fenced (F5).

Each has quorum (two_node) and fences the other; PREEMPT at the target is the arbiter.
"""
import os
import statistics
import time
import uuid

from agents import Agent, Recorder
from harness import csvfs
from harness.errors import HarnessError
from harness.instance import MOUNT_POINT
from records import RECORDS, SIZE
from recoverylog import clock_ahead, recovery_times

from .beds import life
from .cell import CellFailed, require
from .columns import HEIR_AT
from .heirs import Heir


class Side:
    """A node of the two, with an image that it writes and the wish to write the other's."""

    def __init__(self, bed, node, place):
        self.bed, self.node = bed, node
        self.image = f"{place}/{node.name}.img"
        self.before = life(node)
        node.run(["fallocate", "-l", str(HEIR_AT + SIZE), self.image])
        self.recorder = Recorder(node, "image", self.image)
        self.heir = None

    def want(self, other):
        """Ready to take the other's image."""
        self.heir = Heir(self.node, self.bed.seconds, "write_through", other.image, "heir", HEIR_AT)

    def out(self):
        """Whether its csvfs says that it is out."""
        return csvfs.volume_state(self.node) in ("fenced", "failed")

    def lost(self, image, last):
        """Records of an image that this node does not find."""
        with Agent(self.node, seconds=self.bed.seconds) as agent:
            return agent.lost("image", image, last)

    def close(self):
        with self.recorder:
            pass
        if self.heir:
            self.heir.close()


def winner_of(sides, seconds):
    """The side that has got the other's image, and the other one."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for side, other in (sides, sides[::-1]):
            if side.heir.done:
                return side, other
        time.sleep(0.005)
    raise CellFailed(f"nobody goes on after the split: {[str(side.heir.error) for side in sides]}")


def check_loser(bed, winner, loser):
    """It is out, has not got what it wanted, and its process was told so. Returns its last acknowledged record."""
    bed.cluster.wait_until(f"{loser.node.name} to find itself fenced", loser.out, bed.seconds)
    bed.cluster.wait_until(f"the writer on {loser.node.name} to fail", loser.recorder.failed, bed.seconds)
    last = loser.recorder.acked()
    require(not loser.heir.done, "both have got the other's image")
    require(not winner.out(), f"{winner.node.name}, which has won, is out too")
    lost = winner.lost(loser.image, last)
    require(lost == [], f"acknowledged by {loser.node.name} up to {last} and lost: {lost}")
    return last


def heal(bed, winner, loser):
    """The cable is in again; the loser comes back by csvadm node rejoin, the winner has never been away."""
    cluster, names = bed.cluster, [node.name for node in bed.cluster.nodes]
    cluster.net_heal(names[0])
    cluster.wait_members(names, names, quorate=True)
    bed.expelled(loser.node)
    bed.settle({loser.node: loser.before})
    require(life(winner.node) == winner.before, f"{winner.node.name} has won and lost its life: {winner.before}")
    require(life(loser.node) != loser.before, f"{loser.node.name} has lost and kept its life")


def split_once(bed):
    """One round; its entry in the report."""
    cluster, place = bed.cluster, f"{MOUNT_POINT}/{uuid.uuid4().hex[:8]}"
    cluster.nodes[0].run(["mkdir", place])
    sides = [Side(bed, node, place) for node in cluster.nodes]
    try:
        for side, other in (sides, sides[::-1]):
            side.recorder.wait_lines(RECORDS, bed.seconds)
            side.want(other)
        died, died_at = time.time(), time.monotonic()
        cluster.net_cut(cluster.nodes[0].name)
        for side in sides:
            side.heir.begin()
        winner, loser = winner_of(sides, bed.seconds)
        entry = {"winner": winner.node.name, "first_write_ms": (winner.heir.done - died_at) * 1000,
                 **decision(bed, winner, loser, died), "load": os.getloadavg()[0]}
        winner.recorder.wait_more(RECORDS, bed.seconds)
        last = check_loser(bed, winner, loser)
        heal(bed, winner, loser)
        own = winner.recorder.acked()
        for image, number in ((winner.image, own), (loser.image, last)):
            lost = loser.lost(image, number)
            require(lost == [], f"acknowledged up to {number} and lost of {image}: {lost}")
        entry["records"] = own + last + 2
        return entry
    finally:
        for side in sides:
            side.close()


def decision(bed, winner, loser, died):
    """Ms from the cut to the fence, and to the end of the replay, by the winner's log."""
    ahead = clock_ahead(winner.node)
    times, _ = recovery_times(bed.log(winner.node), loser.node.name, died + ahead)
    return {f"{step}_ms": (times[step] - died - ahead) * 1000 if step in times else None
            for step in ("out", "fenced", "replayed")}


def try_once(bed):
    """split_once(), whatever becomes of it."""
    try:
        return split_once(bed)
    except (CellFailed, HarnessError, OSError, AssertionError) as error:
        failure = f"{type(error).__name__}: {error}"
        print(failure, flush=True)
        bed.restart()
        return {"failed": failure}


def line_of(number, entry):
    if "failed" in entry:
        return f"{number:4}  FAILED"
    return (f"{number:4}  {entry['winner']} goes on: the other noticed after {entry['out_ms']:.0f} ms, fenced {entry['fenced_ms']:.0f},"
            f" replayed {entry['replayed_ms']:.0f}, its image written {entry['first_write_ms']:.0f}; {entry['records']} records")


def summary(entries):
    """Who wins how often, and how long it takes."""
    good = [e for e in entries if "failed" not in e]
    lines = [f"{name} went on {sum(e['winner'] == name for e in good)} times" for name in sorted({e["winner"] for e in good})]
    for key, text in (("fenced_ms", "decided (fence verified)"), ("first_write_ms", "first write to the other's image")):
        values = sorted(e[key] for e in good if e[key] is not None)
        if values:
            lines.append(f"{text}: median {statistics.median(values):.0f} ms, p90 {values[int(0.9 * (len(values) - 1))]:.0f},"
                         f" {values[0]:.0f} to {values[-1]:.0f}")
    return "\n".join(lines)

