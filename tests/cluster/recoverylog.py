# SPDX-License-Identifier: GPL-2.0-or-later
"""What a csvlockd logs of a recovery (docs/RECOVERY.md), and how its time divides."""
import re
import time
from datetime import datetime, timezone

_STEP = r"(\S+)Z \w+ csvlockd\[\d+\] volume \S+: slot \d+ \(node (\S+)\) is {}"
STEPS = {step: re.compile(_STEP.format(step)) for step in ("out", "fenced", "replayed")}
RECOVERER = re.compile(r"(\S+)Z \w+ csvlockd\[\d+\] volume \S+: slot \d+ \(node (\S+)\) recovers")


def wall_clock(text):
    """Seconds since 1970 of a time as it stands in the log."""
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


def clock_ahead(node):
    """Seconds by which a node's clock, which its log bears, is ahead of ours; 0 if less than the question takes."""
    before = time.time()
    there = float(node.run(["date", "+%s.%N"]).stdout)
    after = time.time()
    ahead = there - (before + after) / 2
    return ahead if abs(ahead) > (after - before) / 2 else 0.0


def recovery_times(text, victim, since):
    """Wall clock in s of each step of the victim's recovery that the log tells after `since`, and who did it."""
    times, by = {}, None
    for line in text.splitlines():
        for step, pattern in STEPS.items():
            found = pattern.match(line)
            if found and found[2] == victim and wall_clock(found[1]) >= since:
                times.setdefault(step, wall_clock(found[1]))
        found = RECOVERER.match(line)
        if found and "out" in times and "replayed" not in times:
            by = found[2]
    return times, by


def parts(times, died):
    """Ms of detection, fence and replay, out of recovery_times() that have every step; `died`: wall clock in s."""
    return {"detect_ms": (times["out"] - died) * 1000, "fence_ms": (times["fenced"] - times["out"]) * 1000,
            "replay_ms": (times["replayed"] - times["fenced"]) * 1000}
