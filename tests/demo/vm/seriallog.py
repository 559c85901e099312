# SPDX-License-Identifier: GPL-2.0-or-later
"""Follows a guest's serial log and notes when each line arrived, in the host's monotonic ns.

The guest's own clock stands still while it is paused, so a blackout can only be seen from outside. The log is
read as it grows, every POLL_S: that is the precision of all times here.
"""
import re
import threading
import time
from dataclasses import dataclass

POLL_S = 0.002
WAIT_POLL_S = 0.01
RECORD = re.compile(r"R (\d+) (\d+)")


class GuestError(Exception):
    """The guest has printed a line E, or did not say in time what it should."""


@dataclass
class Record:
    """An acknowledged record: its number, the guest's clock in ms, the host's clock in ns."""
    number: int
    guest_ms: int
    host_ns: int


class SerialLog:
    """Lines (host_ns, text) and records of a log file that may not exist yet; `with` stops the thread."""

    def __init__(self, path):
        self.path = path
        self.lines = []
        self.records = []
        self.error = None  # first line E
        self._rest = b""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self):
        source = None
        while not self._ended.is_set():
            try:
                source = source or open(self.path, "rb")
                data = source.read()
            except FileNotFoundError:
                data = b""
            if data:
                self._take(data, time.monotonic_ns())
            else:
                self._ended.wait(POLL_S)
        if source:
            self._take(source.read(), time.monotonic_ns())
            source.close()

    def _take(self, data, now):
        *whole, self._rest = (self._rest + data).split(b"\n")
        for raw in whole:
            text = raw.decode("utf-8", "replace").rstrip("\r")
            self.lines.append((now, text))
            match = RECORD.fullmatch(text)
            if match:
                self.records.append(Record(int(match[1]), int(match[2]), now))
            elif text.startswith("E ") and self.error is None:
                self.error = text

    def close(self):
        """Reads what is there and ends."""
        self._ended.set()
        self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def last(self):
        """Highest acknowledged number, -1 if none."""
        return max((record.number for record in list(self.records)), default=-1)

    def wait_until(self, condition, deadline_s, what):
        """Waits for condition(self); a line E ends it at once."""
        deadline = time.monotonic() + deadline_s
        while not condition(self):
            if self.error:
                raise GuestError(self.error)
            if time.monotonic() > deadline:
                raise GuestError(f"no {what} within {deadline_s:.0f} s; last lines: "
                                 f"{[text for _, text in self.lines[-5:]]}")
            time.sleep(WAIT_POLL_S)

    def wait_line(self, start, deadline_s, after=0):
        """First line that starts so, at or after index `after` of lines; (host_ns, text)."""
        found = []

        def seen(log):
            found[:] = [line for line in log.lines[after:] if line[1].startswith(start)][:1]
            return found

        self.wait_until(seen, deadline_s, f"line {start!r}")
        return found[0]

    def wait_records(self, count, deadline_s):
        """Waits until that many more records are acknowledged than now."""
        target = len(self.records) + count
        self.wait_until(lambda log: len(log.records) >= target, deadline_s, f"{count} more records")

    def gap_around(self, begin_ns, end_ns):
        """Longest silence, in ms, between two successive records that touches begin..end (host ns)."""
        records = list(self.records)
        gaps = [after.host_ns - before.host_ns for before, after in zip(records, records[1:])
                if after.host_ns >= begin_ns and before.host_ns <= end_ns]
        return max(gaps, default=0) / 1e6

    def count_between(self, begin_ns, end_ns):
        """Records that arrived in that time."""
        return sum(begin_ns <= record.host_ns <= end_ns for record in list(self.records))

    def rate(self):
        """Records a second over all the log's first and last record."""
        records = list(self.records)
        if len(records) < 2:
            return 0.0
        return (len(records) - 1) / ((records[-1].host_ns - records[0].host_ns) / 1e9)

    def missing(self):
        """Numbers between the first and the last that were never acknowledged."""
        numbers = {record.number for record in list(self.records)}
        return sorted(set(range(min(numbers), max(numbers) + 1)) - numbers) if numbers else []
