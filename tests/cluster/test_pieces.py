# SPDX-License-Identifier: GPL-2.0-or-later
"""Parts of the harness that need no cluster."""
import os
import subprocess

import pytest

from harness import HarnessError, Instance, WaitTimeout, hostmounts, procs, wait_until
from harness.corosync import parse_quorumtool
from harness.size import parse_size
from recoverylog import parts, recovery_times
from records import KEPT, content, lost_of_names


@pytest.mark.parametrize("text, size", [("512", 512), ("64M", 64 << 20), ("8G", 8 << 30), (4096, 4096)])
def test_size(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "8X", "-1", "0", "1.5G"])
def test_size_refused(text):
    with pytest.raises(HarnessError):
        parse_size(text)


@pytest.mark.parametrize("name", ["A", "a_b", "-a", "a-", "a/b", "x" * 25])
def test_instance_name_refused(name):
    with pytest.raises(HarnessError):
        Instance(name)


def test_instance_owns_only_its_namespaces():
    """'a' and 'a-b' may live side by side."""
    assert Instance("a").owns_netns("csv-a-n12")
    assert Instance("a").owns_netns("csv-a-fab")
    assert not Instance("a").owns_netns("csv-a-b-n1")
    assert not Instance("a").owns_netns("csv-a-n1x")


def test_wait_names_what_it_waited_for():
    with pytest.raises(WaitTimeout, match="for the moon to rise; last answer: ''"):
        wait_until("the moon to rise", lambda: "", 0.05)


def test_wait_stops_when_pointless():
    with pytest.raises(WaitTimeout, match="it has died"):
        wait_until("an answer", lambda: False, 60, dead=lambda: "it has died")


def test_quorumtool():
    text = """Quorum information
Node ID:          1
Quorate:          No

Membership information
    Nodeid      Votes    Qdevice Name
         1          1         NR n1 (local)
         3          1         NR n3
"""
    assert parse_quorumtool(text) == {"quorate": False, "members": {1, 3}}
    assert parse_quorumtool("Cannot initialize CMAP service\n") is None


def test_mountinfo():
    line = "42 27 254:0 /a\\040b /mnt rw shared:1 - ext4 /dev/vda rw\n"
    assert hostmounts.parse_mountinfo(line) == [("/mnt", "/dev/vda", "/a b")]


def test_recorded_pid_of_another_process(tmp_path):
    """A pid that now belongs to somebody else is not taken for ours."""
    pidfile = tmp_path / "x.pid"
    started = procs.stat_fields(os.getpid())[19]
    pidfile.write_text(f"{os.getpid()} {started}\n")
    assert procs.recorded(pidfile) == os.getpid()
    pidfile.write_text(f"{os.getpid()} {int(started) + 1}\n")
    assert procs.recorded(pidfile) is None
    pidfile.write_text("")
    assert procs.recorded(pidfile) is None


# Its first thread ends, another one goes on: a zombie that still has its files.
_HEADLESS = ("import ctypes, threading, time; threading.Thread(target=time.sleep, args=(1000,)).start();"
             "ctypes.CDLL(None).syscall(60, 0)")  # exit(2), of this thread alone


def test_a_process_lives_as_long_as_its_last_thread():
    child = subprocess.Popen(["/usr/bin/python3", "-c", _HEADLESS])
    wait_until("its first thread to end", lambda: procs.state_of(child.pid) == "Z", 10)
    assert procs.alive(child.pid)
    child.kill()
    wait_until("all of it to end", lambda: not procs.alive(child.pid), 10)
    child.wait()


@pytest.fixture
def names(tmp_path):
    """What a recorder of names leaves when record 30 was acknowledged."""
    for number in range(31 - KEPT, 31):
        (tmp_path / str(number)).write_bytes(content(number))
    assert lost_of_names(tmp_path, 30) == []
    return tmp_path


@pytest.mark.parametrize("name, number", [("15", None), ("15", 16), ("10", 10), ("9.new", 9), ("32", 32), ("30.new", 30)])
def test_records_of_names_that_are_wrong(names, name, number):
    """One that is gone, or has another's content; one that was unlinked, or renamed, and is back; one from nowhere."""
    if number is None:
        (names / name).unlink()
    else:
        (names / name).write_bytes(content(number))
    assert lost_of_names(names, 30) != []


def test_next_record_of_names_may_be_at_any_point(names):
    (names / "31.new").write_bytes(b"")
    assert lost_of_names(names, 30) == []
    (names / "31.new").rename(names / "31")
    assert lost_of_names(names, 30) == []
    (names / str(31 - KEPT)).unlink()
    assert lost_of_names(names, 30) == []
    (names / "heir-n3").write_bytes(b"")  # not of this recorder
    assert lost_of_names(names, 30) == []


def test_recovery_log():
    head = "2026-01-01T00:00:{} WARN csvlockd[7] volume vol1: slot {} (node {}) {}\n".format
    text = (head("01.000Z", 2, "n1", "is out: of an earlier time") + head("10.000Z", 2, "n1", "is out: the node is gone")
            + head("10.001Z", 1, "n2", "recovers, round 3") + head("10.002Z", 4, "n5", "is fenced, 1.0 ms")
            + head("10.100Z", 2, "n1", "is fenced, 90.0 ms") + head("10.350Z", 2, "n1", "is replayed, 240.0 ms"))
    died = 1767225608.0  # ten seconds past, less two
    times, by = recovery_times(text, "n1", died)
    assert by == "n2"
    assert parts(times, died) == pytest.approx({"detect_ms": 2000, "fence_ms": 100, "replay_ms": 250}, abs=0.1)
    assert recovery_times(text, "n3", died) == ({}, None)
