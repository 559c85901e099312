# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens, as it happens: one line each with the seconds since the demo began."""
import sys
import time


class DemoFailed(Exception):
    """Something is not as the demo says it must be."""


class Timeline:
    """Prints lines with a running clock; `now_ms` is the clock of every figure in the report."""

    def __init__(self):
        self.start = time.monotonic()
        self.colour = sys.stdout.isatty()

    def now_ms(self):
        """Ms since the demo began."""
        return (time.monotonic() - self.start) * 1000

    def title(self, text):
        """A part of the demo begins."""
        text = f"\033[1m{text}\033[0m" if self.colour else text
        print(f"\n{self.now_ms() / 1000:7.1f} s  {text}", flush=True)

    def say(self, text):
        """One event."""
        print(f"{self.now_ms() / 1000:7.1f} s    {text}", flush=True)

    def steps(self, steps):
        """The steps of a migration, as bars on one scale."""
        end = max((s["end_ms"] for s in steps), default=0) or 1
        for step in steps:
            left = int(40 * step["start_ms"] / end)
            width = max(1, round(40 * (step["end_ms"] - step["start_ms"]) / end))
            bar = " " * left + "#" * min(width, 41 - left)
            print(f"             {step['name']:18} {step['start_ms']:9.1f} .. {step['end_ms']:9.1f} ms  |{bar:41}|",
                  flush=True)


def require(condition, text):
    """The demo's assertion."""
    if not condition:
        raise DemoFailed(text)
