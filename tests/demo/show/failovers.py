# SPDX-License-Identifier: GPL-2.0-or-later
"""The two failovers: a node killed outright, and a node frozen with writes queued, then thawed."""
import json
import subprocess
import time

from harness.wait import wait_until

from .stage import BIN
from .timeline import require

RECOVERY_S = 60
AROUND_RECORDS = 20
BLOCK = 4096


def witness(stage, *words):
    """Output of the program that looks at the LUN without csvfs."""
    argv = stage.cluster.node("n3").enter_words() + [str(BIN / "lun-witness"), stage.cluster.lun, *map(str, words)]
    return subprocess.run(argv, stdout=subprocess.PIPE, check=True, timeout=30).stdout


def registered_keys(stage):
    """READ KEYS, from outside."""
    return json.loads(witness(stage, "keys"))["keys"]


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
        self.stage, self.node = stage, node
        self.start = time.monotonic()

    def wait_write(self):
        """Ms from the death to the first acknowledged write."""
        words = ["dd", f"if={self.stage.image}", f"of={self.stage.image}", f"bs={BLOCK}", "count=1",
                 "conv=notrunc,fsync", "oflag=direct", "status=none"]
        wait_until(f"a write to the VHD on {self.node}",
                   lambda: self.stage.cluster.node(self.node).run(words, check=False, timeout=RECOVERY_S).returncode == 0,
                   RECOVERY_S, every=0.02)
        return (time.monotonic() - self.start) * 1000


def split(stage, survivor, resume_ms):
    """How the recovery's time divides, by the survivors' own account (docs/RECOVERY.md); ms."""
    parts = [volume["recovery"] for node in ("n2", "n3") if node != stage.down
             for volume in stage.adm(node, "status")["volumes"] if volume.get("recovery")]
    require(parts, "no survivor tells of a recovery")
    last = max(parts, key=lambda part: part["since"])
    fence, replay = last["fence_ms"], last["replay_ms"]
    return {"detect_ms": max(0.0, resume_ms - fence - replay), "fence_ms": fence, "replay_ms": replay,
            "resume_ms": resume_ms}


def restart(stage, node, last):
    """Boots the VM on a node; the guest must find every acknowledged record."""
    boot_ms = stage.boot(node)
    ready = next(text for _, text in reversed(stage.log.lines) if text.startswith("READY"))
    require(int(ready.split()[1]) > last, f"the guest says {ready}, acknowledged were records up to {last}")
    stage.log.wait_records(AROUND_RECORDS, 30)
    stage.timeline.say(f"VM runs on {node}: {ready}, {last} was the last acknowledged before; boot {boot_ms:.0f} ms")
    return boot_ms


def kill(stage, victim, survivor):
    """Power gone: the survivor fences, replays, starts the VM again."""
    last = stage.log.last()
    stage.down = victim
    stage.cluster.poweroff(victim)
    resume_ms = Survivor(stage, survivor).wait_write()
    entry = {"kind": "kill", **split(stage, survivor, resume_ms), "late_writes_refused": None}
    stage.timeline.say(f"{victim} is dead; {survivor} writes the VHD after {resume_ms:.0f} ms (fence"
                       f" {entry['fence_ms']:.0f}, replay {entry['replay_ms']:.0f})")
    entry["guest_boot_ms"] = restart(stage, survivor, last)
    return entry


def freeze(stage, victim, survivor):
    """A node stops with writes queued, is fenced, and wakes up: its late writes must not reach the LUN."""
    key = key_of(stage, victim)
    require(key in registered_keys(stage), f"{victim}'s key {key} is not registered")
    last = stage.log.last()
    stage.down = victim
    stage.cluster.freeze(victim)
    resume_ms = Survivor(stage, survivor).wait_write()
    entry = {"kind": "freeze", **split(stage, survivor, resume_ms)}
    stage.new_log()  # the frozen VM will wake up and complain in the old one
    stage.timeline.say(f"{victim} is frozen; {survivor} writes the VHD after {resume_ms:.0f} ms")
    entry["guest_boot_ms"] = restart(stage, survivor, last)
    before = stage.log.last()
    stage.cluster.thaw(victim)
    wait_until(f"csvfs on {victim} to say fenced", lambda: state_of(stage, victim) == "fenced", RECOVERY_S)
    require(key not in registered_keys(stage), f"{victim}'s key is still registered")
    stage.log.wait_records(AROUND_RECORDS, 30)
    require(stage.log.last() > before, "the new owner's guest has stopped")
    entry["late_writes_refused"] = True
    # As an administrator would: the old VM's process is ended with all that holds the fenced mount, and the node rejoins.
    stage.cluster.kill(victim)
    stage.cluster.start(victim)
    stage.timeline.say(f"{victim} is thawed: its csvfs says fenced, its key is gone, the VM on {survivor} goes on; {victim} has"
                       f" rejoined")
    return entry
