# SPDX-License-Identifier: GPL-2.0-or-later
"""One cell of the matrix: a fault, in the middle of something; what it costs, and that nothing is lost."""
import os
import time
import uuid

from agents import Agent, errno_of
from harness.errors import HarnessError
from harness.instance import MOUNT_POINT
from records import RECORDS, SLOTS
from recoverylog import STEPS, clock_ahead, parts, recovery_times
from takeover import take_over

from .beds import life
from .columns import Load
from .heirs import Heirs

VICTIM = "n1"


class CellFailed(Exception):
    """Something is not as it must be."""


def require(condition, text):
    if not condition:
        raise CellFailed(text)


class Scene:
    """What row and column share: the nodes, the places, and the moment of the fault."""

    def __init__(self, bed, row):
        self.bed, self.row, self.cluster = bed, row, bed.cluster
        self.victim = self.cluster.node(VICTIM)
        self.others = [node for node in self.cluster.nodes if node is not self.victim]
        # Not the destination of a handoff, which has a part of its own; and never fewer than one.
        self.heirs_nodes = self.others if row.everybody else self.others[1:2]
        self.killed, self.loads, self.handoff, self.second = [], [], None, None
        self.died = self.died_at = None
        self.place = f"{MOUNT_POINT}/{uuid.uuid4().hex[:8]}"
        self.image, self.folder = f"{self.place}/disk.img", f"{self.place}/files"
        self.victim.run(["mkdir", self.place, self.folder])

    def add_load(self, kind, path, endless):
        self.loads.append(Load(self.victim, kind, path, endless))

    def out(self):
        """The nodes whose mounts have to be new ones afterwards."""
        return [] if self.row.goes_on else [self.victim, *self.killed]

    def mark(self):
        """This is the moment of the fault."""
        self.died, self.died_at = time.time(), time.monotonic()

    def close(self):
        for load in self.loads:
            with load.recorder:
                pass
        if self.handoff:
            self.handoff.close()


def split(scene):
    """Ms of detection, fence and replay, by a survivor's log; what it does not tell is None. And the recoverer."""
    best, by = {}, None
    for node in reversed(scene.others):
        if node in scene.killed and not scene.row.late:
            continue
        ahead = clock_ahead(node)
        times, who = recovery_times(scene.bed.log(node), scene.victim.name, scene.died + ahead)
        if set(times) == set(STEPS):
            return parts(times, scene.died + ahead), who
        best, by = (times, who) if len(times) > len(best) else (best, by)
    require(scene.row.late, f"no survivor's log tells of {scene.victim.name}'s recovery: only of {sorted(best)}, by {by}")
    return dict.fromkeys(("detect_ms", "fence_ms", "replay_ms")), by


def nothing_lost(scene, node, last):
    """The victim's acknowledged records are there, seen from a node."""
    with Agent(node, seconds=scene.bed.seconds) as agent:
        for load in scene.loads:
            lost = agent.lost(load.kind, load.path, last[load])
            require(lost == [], f"acknowledged by {scene.victim.name} up to {last[load]} and lost of {load.path}: {lost}")


def inherit(scene, heir):
    """The image has a new owner, whose records differ from all that the victim may still try to write: (first, last)."""
    first = scene.acked[scene.loads[0]] + 1 + SLOTS
    return first, take_over(heir, scene.place, first, scene.bed.seconds, first)


def still_inherited(scene, heir, numbers):
    """Nothing that the victim did since has reached the LUN, and it has acknowledged nothing more."""
    first, last = numbers
    with Agent(heir, seconds=scene.bed.seconds) as agent:
        late = agent.lost("image", scene.image, last, first)
    require(late == [], f"a late write of {scene.victim.name} is in the image: records {late} are gone")
    for load in scene.loads:
        final = load.recorder.acked()
        # One may have been durable, and not told yet, when the node stopped.
        require(final <= scene.acked[load] + 1,
                f"{scene.victim.name} acknowledged up to {final} in {load.path}, after it was fenced at {scene.acked[load]}")
    nothing_lost(scene, heir, {load: load.recorder.acked() if load is not scene.loads[0] else -1 for load in scene.loads})


def handoff_is_kept(scene):
    """A source that dies before the commit: the disk stays with it, and the waiting writer is told so."""
    if not scene.handoff or scene.row.late:
        return None  # whoever might tell has died
    witness = next(node for node in reversed(scene.others) if node not in scene.killed)
    scene.cluster.wait_until("the handoff to be kept", lambda: scene.handoff.is_kept(witness), scene.bed.seconds)
    require(not scene.handoff.waiter_wrote(), "the destination wrote into an image that was not handed over")
    return "kept"


def settle(scene, out):
    """All nodes are back, and none had to be helped."""
    helped = scene.bed.settle(out)
    require(helped == [], f"did not come back by themselves, nor by csvadm node rejoin: {helped}")


def play_out(scene, heirs, entry, before):
    """The victim is out: survivors take over, then it wakes up, or is repaired, and nothing changes."""
    entry["image_ms"], entry["folder_ms"] = heirs.wait()
    times, entry["recoverer"] = split(scene)
    entry.update(times, resume_ms=entry["image_ms"])
    heir = next(node for node in reversed(scene.others) if node not in scene.killed or scene.row.late)
    scene.acked = {load: load.last() for load in scene.loads}
    nothing_lost(scene, heir, scene.acked)
    entry["handoff"] = handoff_is_kept(scene)
    heirs.close()
    numbers = inherit(scene, heir)
    scene.bed.repair(scene.row, scene)
    settle(scene, before)
    still_inherited(scene, heir, numbers)


def works_on(scene, load):
    """A process of the victim's goes on, or has been told that its last write is not durable, where that may be."""
    try:
        load.recorder.wait_more(RECORDS, scene.bed.seconds)
    except HarnessError:
        if not (scene.row.may_fail and load.recorder.failed()):
            raise


def owner_goes_on(scene, heirs):
    """The victim works as before, and what it has is its own; ms until a survivor had its turn in the directory."""
    _, folder_ms = heirs.wait()
    for load in scene.loads:
        if load.endless:
            works_on(scene, load)
    with Agent(scene.heirs_nodes[0], seconds=scene.bed.seconds) as other:
        refused = errno_of(other.open, "disk", scene.image, "O_RDWR")
        require(refused or scene.loads[0].recorder.failed(), "a second writer of an image whose owner is alive")
    return folder_ms


def play_on(scene, heirs, entry, before):
    """Nobody is fenced; a handoff that was prepared can be committed."""
    entry["folder_ms"] = entry["resume_ms"] = owner_goes_on(scene, heirs)
    heirs.close()
    scene.row.repair(scene)
    if scene.handoff:
        entry["handoff"], wrote = scene.handoff.commit()
        require(wrote == (entry["handoff"] == "moved"), f"the handoff is {entry['handoff']}, the destination wrote: {wrote}")
        scene.handoff.finish()
    scene.acked = {load: load.recorder.acked() for load in scene.loads}
    settle(scene, {})
    nothing_lost(scene, scene.heirs_nodes[0], scene.acked)
    inherit(scene, scene.heirs_nodes[0])


def check_lives(scene, before):
    """Who was out is back under a new incarnation, everybody else under the one he had."""
    for node in scene.cluster.nodes:
        changed = life(node) != before[node.name]
        require(changed == (node in scene.out()), f"{node.name} had slot and incarnation {before[node.name]}, now {life(node)}")


def play(bed, row, column):
    """The cell's entry in the report."""
    entry = {"row": row.name, "column": column.name, "goes_on": row.goes_on, "load": os.getloadavg()[0]}
    start = time.monotonic()
    scene = Scene(bed, row)
    heirs = None
    try:
        column.start(scene)
        before = {node.name: life(node) for node in scene.cluster.nodes}
        heirs = None if row.late else Heirs(scene, scene.heirs_nodes)
        row.strike(scene)
        heirs = heirs or Heirs(scene, scene.heirs_nodes)
        heirs.begin(image=not row.goes_on)
        row.follow(scene)
        if row.expels:
            bed.expelled(scene.victim)
        (play_on if row.goes_on else play_out)(scene, heirs, entry, {node: before[node.name] for node in scene.out()})
        check_lives(scene, before)
        entry["records"] = sum(scene.acked.values()) + len(scene.acked)
    except BaseException:
        bed.wake()
        raise
    finally:
        if heirs:
            heirs.close()
        scene.close()
        entry["seconds"] = time.monotonic() - start
    return entry


def try_cell(bed, row, column):
    """play(), whatever becomes of it; after a failure the cluster is whole again, or the matrix ends."""
    why = bed.impossible(row.name, column.name)
    if why:
        return {"row": row.name, "column": column.name, "impossible": why}
    try:
        return play(bed, row, column)
    except (CellFailed, HarnessError, OSError, AssertionError) as error:
        failure = f"{type(error).__name__}: {error}"
        print(f"{row.name} {column.name}: {failure}", flush=True)
        bed.restart()
        return {"row": row.name, "column": column.name, "failed": failure}
