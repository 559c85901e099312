# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's monitor for tests: commands, events and a migration's states, all with deadlines.

Synchronous, one thread: what arrives while something else is awaited is kept in `events`. Every message gets
the host's monotonic time of its arrival in ns as "host_ns"; QEMU's own stamps are of the wall clock.
"""
import time

from .launcher import vm_launch

QmpError = vm_launch.LaunchError
STATE_DEADLINE_S = 60.0


class Timeout(Exception):
    """What was awaited did not come."""


class Client(vm_launch.Qmp):
    """A connection to one QEMU; the only one, for QEMU serves one at a time."""

    def read_message(self):
        """The next message, stamped."""
        message = super().read_message()
        message["host_ns"] = time.monotonic_ns()
        return message

    def wait_event(self, matches, deadline_s=STATE_DEADLINE_S):
        """First event, also of those that are already here, for which matches(event) holds."""
        deadline = time.monotonic() + deadline_s
        seen = 0
        while True:
            for event in self.events[seen:]:
                if matches(event):
                    return event
            seen = len(self.events)
            self._read_event(deadline)

    def _read_event(self, deadline):
        left = deadline - time.monotonic()
        before = self.sock.gettimeout()
        try:
            if left <= 0:
                raise TimeoutError
            self.sock.settimeout(left)
            self.events.append(self.read_message())
        except TimeoutError as error:
            names = [event.get("data", {}).get("status") or event["event"] for event in self.events[-8:]]
            raise Timeout(f"not seen in time; last events: {', '.join(names) or 'none'}") from error
        finally:
            self.sock.settimeout(before)

    def wait_migration(self, *states, deadline_s=STATE_DEADLINE_S):
        """The MIGRATION event with one of the states; a failed migration ends the wait at once."""
        event = self.wait_event(
            lambda event: event["event"] == "MIGRATION" and event["data"]["status"] in (*states, "failed"), deadline_s)
        if event["data"]["status"] not in states:
            raise QmpError(f"migration failed: {self.execute('query-migrate').get('error-desc')}", 1)
        return event

    def migrate(self, uri, at_pause=None, deadline_s=STATE_DEADLINE_S):
        """Migrates the VM away; at_pause() runs while it stands still before the switch-over.

        Returns host times in ns: start, stopped (the guest), paused (pre-switchover), continued, completed.
        """
        self.events.clear()
        times = {"start": time.monotonic_ns()}
        self.execute("migrate", uri=uri)
        times["paused"] = self.wait_migration("pre-switchover", deadline_s=deadline_s)["host_ns"]
        times["stopped"] = next(event["host_ns"] for event in self.events if event["event"] == "STOP")
        if at_pause:
            at_pause()
        times["continued"] = time.monotonic_ns()
        self.execute("migrate-continue", state="pre-switchover")
        times["completed"] = self.wait_migration("completed", deadline_s=deadline_s)["host_ns"]
        return times

    def status(self):
        """running, paused, inmigrate, postmigrate, shutdown, ..."""
        return self.execute("query-status")["status"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
