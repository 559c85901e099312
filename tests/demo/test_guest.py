# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo's guests on plain files: they record, migrate, survive a power cut, and losses are found.

No csvfs here: what fails in these tests is the demo's own machinery, not the filesystem.
"""
import json
import os
import struct
import subprocess
import time

import pytest

from vm import bootsector, disk, linux, paths
from vm.launcher import LaunchFailed
from vm.machine import Machine
from vm.seriallog import SerialLog

RATE_WANTED = 50  # records a second
SWITCH_WINDOW_NS = 2_000_000_000
SWITCH_RECORDS = 20  # at least so many within the window on each side of a switch-over


def verify(image, logs, *options, seed=1):
    """The verify program's JSON object."""
    done = subprocess.run([paths.VERIFY, image, *logs, "--seed", str(seed), *options], stdout=subprocess.PIPE,
                          text=True, check=False)
    assert done.returncode in (0, 1)
    return json.loads(done.stdout)


@pytest.fixture
def linux_vm(tmp_path, accel):
    """Definition of a Linux guest on a fixed VHD."""
    disk.create_fixed_vhd(tmp_path / "g.vhd", disk.GUEST_DISK)
    definition = tmp_path / "g.ini"
    definition.write_text(linux.definition("g", "g.vhd", accel, linux.append_line(seed=7)))
    return definition


@pytest.fixture
def sector_vm(tmp_path, accel):
    """Definition of a boot-sector guest on a fixed VHD."""
    disk.create_fixed_vhd(tmp_path / "b.vhd", bootsector.DISK_SIZE)
    bootsector.install(tmp_path / "b.vhd")
    definition = tmp_path / "b.ini"
    definition.write_text(bootsector.definition("b", "b.vhd", accel))
    return definition


def node(definition, name):
    """The VM as it would run on that node: a run folder of its own, the log shared."""
    return Machine(definition, definition.parent / name, definition.parent / "log")


def serial_log(definition):
    """Follows the log of the definition's VM."""
    return SerialLog(definition.parent / "log" / f"{definition.stem}.log")


def move(log, source, target):
    """Live migration; prints its times and returns (begin, end) of the switch-over in host ns."""
    uri = target.start("tcp:127.0.0.1:0")
    with source.monitor() as monitor:
        times = monitor.migrate(uri)
    with target.monitor() as monitor:
        deadline = time.monotonic() + 10
        while monitor.status() != "running" and time.monotonic() < deadline:
            time.sleep(0.005)
        assert monitor.status() == "running"
    source.quit()
    log.wait_records(SWITCH_RECORDS, 10)
    gap = log.gap_around(times["paused"], times["completed"])
    print(f"migration {(times['completed'] - times['start']) / 1e9:.2f} s, "
          f"paused to completed {(times['completed'] - times['paused']) / 1e6:.1f} ms, guest gap {gap:.1f} ms")
    return times["paused"], times["completed"]


def check_flow(log, begin, end):
    """The guest wrote just before and just after a switch-over."""
    log.wait_until(lambda log: log.records[-1].host_ns > end + SWITCH_WINDOW_NS, 10, "records after the switch-over")
    assert log.count_between(begin - SWITCH_WINDOW_NS, begin) >= SWITCH_RECORDS
    assert log.count_between(end, end + SWITCH_WINDOW_NS) >= SWITCH_RECORDS


def test_linux_records_and_migrates_twice(linux_vm):
    with serial_log(linux_vm) as log, node(linux_vm, "n1") as one, node(linux_vm, "n2") as two, \
            node(linux_vm, "n1") as back:
        begin = time.monotonic_ns()
        one.start()
        ready = log.wait_line("READY 0", linux.BOOT_DEADLINE_S)[0]
        log.wait_records(1500, 60)
        print(f"boot {(ready - begin) / 1e9:.2f} s, {log.rate():.0f} records/s")
        assert log.rate() >= RATE_WANTED
        for source, target in ((one, two), (two, back)):
            check_flow(log, *move(log, source, target))
        back.send("STOP\n")
        log.wait_line("DONE", 30)
        assert back.wait_exit()
        assert log.missing() == []
    result = verify(linux_vm.parent / "g.vhd", [log.path], seed=7)
    assert result["acked"] == len(log.records) and result["lost"] == 0 and result["fsck_clean"], result


@pytest.mark.parametrize("start", ["auto", "log"])
def test_linux_power_cut(linux_vm, start):
    """After kill -9 the guest goes on, from its own disk or from the log, and nothing promised is gone."""
    with serial_log(linux_vm) as log:
        with node(linux_vm, "n1") as machine:
            machine.start()
            log.wait_records(700, linux.BOOT_DEADLINE_S)
            machine.kill()
        time.sleep(0.1)
        last, lines = log.last(), len(log.lines)
        result = verify(linux_vm.parent / "g.vhd", [log.path], "--no-fsck", seed=7)
        assert result["acked"] == last + 1 and result["lost"] == 0, result
        begin = last + 1 if start == "log" else "auto"
        linux_vm.write_text(linux.definition("g", "g.vhd", append=linux.append_line(begin, 300, 7)))
        with node(linux_vm, "n2") as machine:
            machine.start()
            ready = int(log.wait_line("READY", linux.BOOT_DEADLINE_S, lines)[1].split()[1])
            assert ready in (last + 1, last + 2)  # the one after the last may be written, but not yet announced
            log.wait_line("DONE", 60, lines)
            assert machine.wait_exit()
    result = verify(linux_vm.parent / "g.vhd", [log.path], seed=7)
    assert result["acked"] >= last + 300 and result["lost"] == 0 and result["fsck_clean"], result


def test_verify_finds_losses(linux_vm):
    """One block put back to zeros, one record torn, one promised and never written: all three are named."""
    image = linux_vm.parent / "g.vhd"
    linux_vm.write_text(linux.definition("g", "g.vhd", append=linux.append_line(count=200, seed=7)))
    with serial_log(linux_vm) as log, node(linux_vm, "n1") as machine:
        machine.start()
        log.wait_line("DONE", linux.BOOT_DEADLINE_S)
        assert machine.wait_exit()
    assert verify(image, [log.path], seed=7)["lost"] == 0
    places = record_places(image, (5, 9))
    with open(image, "r+b") as opened:
        opened.seek(places[5])
        opened.write(bytes(4096))
        opened.seek(places[9] + 40)
        opened.write(b"\xff" * 8)
    with open(log.path, "ab") as opened:
        opened.write(b"R 200 1\nR 20")  # a half line is no promise
    result = verify(image, [log.path], seed=7)
    assert (result["acked"], result["lost"]) == (201, 3)
    assert result["first_lost"] == [{"n": 5, "reason": "absent"}, {"n": 9, "reason": "torn"},
                                    {"n": 200, "reason": "absent"}]


def record_places(image, numbers):
    """Offsets in the image of whole records, found by their headers: number after the magic. Holes are skipped."""
    places, position, end = {}, 0, image.stat().st_size
    with open(image, "rb") as opened:
        while position < end:
            position = os.lseek(opened.fileno(), position, os.SEEK_DATA) // 4096 * 4096
            hole = os.lseek(opened.fileno(), position, os.SEEK_HOLE)
            opened.seek(position)
            for place in range(position, hole, 4096):
                magic, number = struct.unpack("<8sQ", opened.read(4096)[:16].ljust(16, b"\0"))
                if magic == b"CSVCORD1" and number in numbers:
                    places[number] = place
            position = hole
    return places


def test_boot_sector_migrates_often(sector_vm):
    """Back and forth five times; every record is compared in the guest and again on the disk."""
    with serial_log(sector_vm) as log:
        source = node(sector_vm, "n0")
        try:
            source.start()
            log.wait_records(50, 10)
            for turn in range(1, 6):
                target = node(sector_vm, f"n{turn % 2}")
                try:
                    move(log, source, target)
                finally:
                    source.kill()
                    source = target
            source.send("S")
            log.wait_line("DONE", 10)
        finally:
            source.kill()
        assert log.error is None and log.missing() == []
        assert bootsector.lost(sector_vm.parent / "b.vhd", [record.number for record in log.records]) == []


def test_qcow2_and_a_second_disk_migrate(tmp_path, accel):
    """The other image formats that a definition may name, both in one VM."""
    disk.create_raw(tmp_path / "b.raw", bootsector.DISK_SIZE)
    bootsector.install(tmp_path / "b.raw", first=1000)
    disk.convert(tmp_path / "b.raw", "raw", tmp_path / "b.qcow2", "qcow2")
    definition = tmp_path / "b.ini"
    definition.write_text(bootsector.definition("b", "b.qcow2", accel, "qcow2") + "[disk 1]\npath = b.raw\n")
    with serial_log(definition) as log, node(definition, "n1") as one, node(definition, "n2") as two:
        one.start()
        log.wait_records(50, 10)
        move(log, one, two)
        two.send("S")
        log.wait_line("DONE", 10)
        two.quit()
    numbers = [record.number for record in log.records]
    assert numbers[0] == 1000 and log.missing() == []
    disk.convert(tmp_path / "b.qcow2", "qcow2", tmp_path / "after.raw", "raw")
    assert bootsector.lost(tmp_path / "after.raw", numbers) == []
    assert bootsector.lost(tmp_path / "b.raw", numbers) == sorted(numbers)


def test_second_start_is_refused(sector_vm):
    """On the same node by vm-launch's lock, elsewhere by QEMU's own lock on the image."""
    with node(sector_vm, "n1") as one, node(sector_vm, "n1") as again, node(sector_vm, "n2") as two:
        one.start()
        with pytest.raises(LaunchFailed, match="runs on this node already") as caught:
            again.start()
        assert caught.value.status == 3
        with pytest.raises(LaunchFailed, match='Failed to get "write" lock') as caught:
            two.start()
        assert caught.value.status == 3 and "\n" not in str(caught.value)
        one.kill()
        again.start()
