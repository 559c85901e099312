# SPDX-License-Identifier: GPL-2.0-or-later
"""The two live migrations: by csvadm, and by the hook program as a hypervisor calls it."""
import json
import re
import subprocess
import time

from harness.wait import wait_until
from vm.qmp import Client

from .network import migration_bytes, require_crossed, wait_guest_port
from .stage import BIN, VM
from .timeline import require

LATE_LINES = 1
AROUND_NS = 2_000_000_000
AROUND_RECORDS = 20


TRACE = {"last": re.compile(r"last I/O before the handoff at (\d+) ns"),
         "first": re.compile(r"first I/O after the handoff at (\d+) ns")}


def trace(cluster, node, which):
    """Wall clock, in ns, of the newest such line in a node's csvfs log; None if there is none. All nodes are on this host."""
    text = (cluster.node(node).dir / "csvfs.log").read_text(encoding="utf-8", errors="replace")
    found = TRACE[which].findall(text)
    return int(found[-1]) if found else None


def blackout(cluster, source, destination):
    """From csvfs's own trace of guest I/O: last completion at the source, first at the destination; monotonic ns."""
    last = trace(cluster, source, "last")
    first = wait_until("the first I/O at the destination", lambda: trace(cluster, destination, "first"), 10)
    require(last and first > last, f"csvfs's traces say {last} and {first}")
    offset = time.time_ns() - time.monotonic_ns()
    return last - offset, first - offset


def guest_gap_ms(log, last_ns, first_ns):
    """Silence in the guest's log around the blackout.

    A record whose flush was the last completion at the source may be printed only when the guest goes on at the
    destination, before its first I/O there. That one line is late news, not the end of the silence: the gap reaches
    from the last line before the blackout to the first line after it. More lines in between would be records
    acknowledged while csvfs says that no I/O was done.
    """
    records = [record.host_ns for record in list(log.records)]
    before = max((ns for ns in records if ns <= last_ns), default=None)
    after = min((ns for ns in records if ns >= first_ns), default=None)
    require(before and after, "the guest's log has no lines on both sides of the blackout")
    within = log.count_between(last_ns + 1, first_ns - 1)
    require(within <= LATE_LINES, f"the guest acknowledged {within} records during the blackout")
    return (after - before) / 1e6


class Watch:
    """What is measured around a migration from outside: network, gap in the guest's log."""

    def __init__(self, stage, source, destination):
        self.stage, self.source, self.destination = stage, source, destination
        cluster = stage.cluster
        self.port_before = wait_guest_port(cluster, source)
        self.bytes_before = migration_bytes(cluster, source)
        self.last_ns = self.first_ns = None
        stage.log.wait_records(AROUND_RECORDS, 30)

    def finish(self, entry):
        """Fills the entry's outside figures; the demo fails if one is not as it must be."""
        stage, log = self.stage, self.stage.log
        port_after = wait_guest_port(stage.cluster, self.destination)
        log.wait_records(3 * AROUND_RECORDS, 30)
        entry["mac_relearned"] = (self.port_before, port_after) == tuple(
            f"{node}-guest" for node in (self.source, self.destination))
        crossed = require_crossed(self.bytes_before, migration_bytes(stage.cluster, self.source), entry["bytes"])
        last_ns, first_ns = self.last_ns, self.first_ns = blackout(stage.cluster, self.source, self.destination)
        entry["blackout_ms"] = (first_ns - last_ns) / 1e6
        entry["guest_gap_ms"] = guest_gap_ms(log, last_ns, first_ns)
        middle = (last_ns + first_ns) // 2
        before, after = (log.count_between(middle - AROUND_NS, middle), log.count_between(middle, middle + AROUND_NS))
        stage.timeline.say(f"storage step {entry['storage_step_ms']:.1f} ms, blackout {entry['blackout_ms']:.1f} ms,"
                           f" longest gap in the guest's log {entry['guest_gap_ms']:.1f} ms")
        stage.timeline.say(f"{crossed >> 20} MiB crossed the migration link; guest behind {self.port_before} before,"
                           f" {port_after} after; {before} records in the 2 s before, {after} after")
        require(entry["mac_relearned"], f"the switch has the guest behind {port_after}")
        require(min(before, after) >= AROUND_RECORDS, f"only {before} and {after} records around the switch-over")
        require(entry["outcome"] == "moved", f"outcome {entry['outcome']}")
        require(entry["guest_gap_ms"] >= entry["blackout_ms"],
                f"guest gap {entry['guest_gap_ms']:.1f} ms is less than the blackout {entry['blackout_ms']:.1f} ms")
        # The disks stand still from before pre-switchover until after migrate-continue: two clocks, one story.
        require(entry["storage_step_ms"] <= entry["blackout_ms"],
                f"the storage step took {entry['storage_step_ms']:.1f} ms, the blackout only {entry['blackout_ms']:.1f} ms")
        return entry


def by_csvadm(stage, source, destination):
    """csvadm migrate: the QMP driver does all."""
    watch = Watch(stage, source, destination)
    address = stage.cluster.node(destination).address("mig")
    entry = stage.adm(source, "migrate", VM, "--to", destination, "--uri", f"tcp:{address}")
    entry.pop("schema", None)
    stage.timeline.steps(entry["steps"])
    return watch.finish(entry)


class Hook:
    """csv-handoff, called as a hypervisor's hooks call it, on the source."""

    def __init__(self, stage, source):
        self.node = stage.cluster.node(source)

    def __call__(self, verb, *words):
        argv = self.node.enter_words() + [str(BIN / "csv-handoff"), verb, "--vm", VM, *words]
        done = subprocess.run(argv, env=self.node.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, check=False, timeout=60)
        require(done.returncode == 0, f"csv-handoff {verb}: exit {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)


def by_hook(stage, source, destination):
    """A hypervisor of a few lines: its own destination QEMU, its own QMP, csv-handoff at the three moments."""
    watch = Watch(stage, source, destination)
    clock = Clock()
    hook = Hook(stage, source)
    prepared = hook("prepare", "--to", destination)
    address = stage.cluster.node(destination).address("mig")
    uri = stage.launch(destination, f"tcp:{address}:0")["incoming"]
    clock.mark("connect_create")
    qmp_path = stage.cluster.node(source).path(f"/run/csvfs/vm/{VM}.qmp")
    times, committed = {}, {}
    with Client(str(qmp_path)) as qmp:
        def at_pause():
            committed.update(hook("commit", "--id", prepared["id"]))

        times = qmp.migrate(uri, at_pause=at_pause)
        clock.step("memory_copy", times["start"], times["stopped"])
        clock.step("final_copy", times["stopped"], times["completed"])
        clock.step("storage_handoff", times["paused"], times["continued"])
        clock.step("online", times["continued"], times["completed"])
        moved = qmp.execute("query-migrate")["ram"]["transferred"]
        hook("finish", "--to", destination, "--id", prepared["id"])
        qmp.execute("quit")
    clock.mark("cleanup_announce")
    entry = {"vm": VM, "from": source, "to": destination, "driver": "hook", "outcome": committed["outcome"],
             "steps": clock.steps, "storage_step_ms": (times["continued"] - times["paused"]) / 1e6, "bytes": moved}
    stage.timeline.steps(entry["steps"])
    watch.finish(entry)
    require(watch.last_ns <= times["paused"] and watch.first_ns >= times["continued"],
            f"I/O at {watch.last_ns} and {watch.first_ns} ns, although the guest stood still from {times['paused']} to"
            f" {times['continued']} ns")
    return entry


class Clock:
    """Steps in ms since the first began; times come in monotonic ns."""

    def __init__(self):
        self.start = self.last = time.monotonic_ns()
        self.steps = []

    def step(self, name, begin_ns, end_ns):
        """A step whose times are known."""
        self.steps.append({"name": name, "start_ms": (begin_ns - self.start) / 1e6, "end_ms": (end_ns - self.start) / 1e6})
        self.last = end_ns

    def mark(self, name):
        """From the end of the last step until now."""
        self.step(name, self.last, time.monotonic_ns())
