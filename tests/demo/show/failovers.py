# SPDX-License-Identifier: GPL-2.0-or-later
"""The two failovers: a node killed outright, and a node frozen with writes queued, then thawed."""
import errno
import time

import late
from agents import Agent, errno_of
from harness.instance import MOUNT_POINT
from harness.wait import wait_until
from recoverylog import STEPS, clock_ahead, parts, recovery_times

from .timeline import require

RECOVERY_S = 60  # on a node that is not slower than its host
AROUND_RECORDS = 20
BLOCK = 4096


def key_of(stage, node):
    """Reservation key of a node's mount, as the slot table has it."""
    info = stage.adm("n3", "volume", "info", stage.cluster.lun)
    return next(slot["pr_key"] for slot in info["slots"] if slot["node"] == node and slot["state"] == "live")


def state_of(stage, node):
    """State of the volume on a node."""
    volumes = stage.adm(node, "status", codes=(0, 5, 6))["volumes"]
    return volumes[0]["state"] if volumes else None


class Survivor:
    """Tries to write the VHD on the survivor from the moment of the death on: its first block, with its own content."""

    def __init__(self, stage, node):
        self.stage, self.node = stage, stage.cluster.node(node)
        self.clock_ahead = clock_ahead(self.node)
        self.start, self.died = time.monotonic(), time.time()
        self.resume_ms = None

    def wait_write(self):
        """Waits for the first acknowledged write; notes the ms from the death to it."""
        words = ["dd", f"if={self.stage.image}", f"of={self.stage.image}", f"bs={BLOCK}", "count=1",
                 "conv=notrunc,fsync", "oflag=direct", "status=none"]
        limit = RECOVERY_S * self.node.slowness
        wait_until(f"a write to the VHD on {self.node.name}",
                   lambda: self.node.run(words, check=False, timeout=limit).returncode == 0, limit, every=0.02)
        self.resume_ms = (time.monotonic() - self.start) * 1000


def split(stage, victim, survivor):
    """How the recovery's time divides, by the log of the survivor's csvlockd; ms from the death. And the recoverer."""
    name, died = survivor.node.name, survivor.died + survivor.clock_ahead
    log = survivor.node.dir / "csvlockd.log"
    times, by = recovery_times(log.read_text(encoding="utf-8", errors="replace"), victim, died)
    require(set(times) == set(STEPS) and by, f"{name} tells of {sorted(times)} in {victim}'s recovery, by {by}")
    divided = {**parts(times, died), "resume_ms": survivor.resume_ms}
    whole = sum(divided[name] for name in ("detect_ms", "fence_ms", "replay_ms"))
    require(whole <= divided["resume_ms"], f"the VHD was written after {divided['resume_ms']:.0f} ms, {whole:.0f} ms is when"
                                         f" {victim} was replayed")
    return divided, by


def say_parts(entry):
    """For the timeline."""
    return (f"detection {entry['detect_ms']:.0f} ms, fence {entry['fence_ms']:.0f} ms, replay {entry['replay_ms']:.0f} ms,"
            f" first write after {entry['resume_ms']:.0f} ms")


def restart(stage, node, last):
    """Boots the VM on a node; the guest must find every acknowledged record."""
    boot_ms = stage.boot(node)
    ready = next(text for _, text in reversed(stage.log.lines) if text.startswith("READY"))
    require(int(ready.split()[1]) > last, f"the guest says {ready}, acknowledged were records up to {last}")
    stage.log.wait_records(AROUND_RECORDS, 30)
    stage.timeline.say(f"VM runs on {node}: {ready}, {last} was the last acknowledged before; boot {boot_ms:.0f} ms")
    return boot_ms


def kill(stage, victim, survivor, restart=restart):
    """Power gone: the survivors fence and replay, one of them starts the VM again by restart(stage, node, last record)."""
    last = stage.log.last()
    heir = Survivor(stage, survivor)
    stage.cluster.poweroff(victim)
    heir.wait_write()
    times, by = split(stage, victim, heir)
    entry = {"kind": "kill", **times, "late_writes_refused": None}
    stage.timeline.say(f"{victim} is dead, {by} recovers it, {survivor} writes the VHD: {say_parts(entry)}")
    entry["guest_boot_ms"] = restart(stage, survivor, last)
    return entry


class Late:
    """Writes to an image of the victim's that are under way when it freezes."""

    def __init__(self, stage, victim):
        self.cluster = stage.cluster
        self.path = f"{MOUNT_POINT}/late.img"
        self.agent = Agent(self.cluster.node(victim), seconds=RECOVERY_S)
        self.blocks = late.make(self.agent, self.cluster, self.path)
        self.content = None

    def begin(self):
        """Threads that write without end."""
        self.agent.write_behind("disk", late.texts("late"), True)

    def take_over(self, survivor):
        """The survivor writes the same blocks."""
        self.content = late.texts("new")
        with Agent(self.cluster.node(survivor), seconds=RECOVERY_S) as heir:
            wait_until(f"{survivor} to get {self.path}",
                       lambda: errno_of(heir.open, "disk", self.path, "O_RDWR") == 0, RECOVERY_S)
            heir.pwrite("disk", "".join(self.content), 0)
            heir.fsync("disk")

    def refused(self):
        """Whether every late write failed and none has reached the LUN; the victim must be awake."""
        outcomes = self.agent.outcomes()
        kept = late.on_lun(self.cluster, self.blocks) == self.content
        require(len(outcomes) == late.WRITERS and set(outcomes) == {errno.EIO}, f"late writes ended with errno {outcomes}")
        require(kept, "a late write of the frozen node has reached the LUN")
        return True

    def close(self):
        """Ends the victim's process."""
        self.agent.__exit__()


def freeze(stage, victim, survivor):
    """A node stops with writes queued, is fenced, and wakes up: its late writes must not reach the LUN."""
    key = key_of(stage, victim)
    require(key in late.keys(stage.cluster), f"{victim}'s key {key} is not registered")
    writes = Late(stage, victim)
    writes.begin()
    last = stage.log.last()
    heir = Survivor(stage, survivor)
    stage.cluster.freeze(victim)
    heir.wait_write()
    times, by = split(stage, victim, heir)
    entry = {"kind": "freeze", **times}
    writes.take_over(survivor)
    stage.new_log()  # the frozen VM will wake up and complain in the old one
    stage.timeline.say(f"{victim} is frozen, {by} recovers it, {survivor} writes the VHD: {say_parts(entry)}")
    entry["guest_boot_ms"] = restart(stage, survivor, last)
    before = stage.log.last()
    stage.cluster.thaw(victim)
    wait_until(f"csvfs on {victim} to say fenced", lambda: state_of(stage, victim) == "fenced", RECOVERY_S)
    entry["late_writes_refused"] = writes.refused()
    require(key not in late.keys(stage.cluster), f"{victim}'s key is still registered")
    stage.log.wait_records(AROUND_RECORDS, 30)
    require(stage.log.last() > before, "the new owner's guest has stopped")
    writes.close()
    # As an administrator would: the old VM's process is ended with all that holds the fenced mount, and the node rejoins.
    stage.cluster.kill(victim)
    stage.cluster.start(victim)
    stage.timeline.say(f"{victim} is thawed: its csvfs says fenced, {late.WRITERS} late writers got EIO, the blocks are"
                       f" {survivor}'s, its key is gone, the VM on {survivor} goes on; {victim} has rejoined")
    return entry
