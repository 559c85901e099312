# SPDX-License-Identifier: GPL-2.0-or-later
"""fcntl, OFD and flock locks through a real mount."""
import errno
import fcntl
import os
import signal
import struct
import subprocess
import sys
import time

import pytest


def lock_bytes(kind, start, length):
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)


def ofd(fd, kind, start=0, length=0, wait=False):
    fcntl.fcntl(fd, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, lock_bytes(kind, start, length))


def ofd_test(fd, kind, start=0, length=0):
    res = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, lock_bytes(kind, start, length))
    return struct.unpack("hhqqi4x", res)[0]


def refused(call, *args):
    with pytest.raises(OSError) as e:
        call(*args)
    return e.value.errno in (errno.EAGAIN, errno.EACCES)


@pytest.fixture(name="pair")
def _pair(mnt):
    a = os.open(mnt / "f", os.O_CREAT | os.O_RDWR)
    b = os.open(mnt / "f", os.O_RDWR)
    yield a, b
    for fd in (a, b):
        try:
            os.close(fd)
        except OSError:
            pass


def test_ofd_conflict(pair):
    a, b = pair
    ofd(a, fcntl.F_WRLCK, 100, 2)
    assert refused(ofd, b, fcntl.F_WRLCK, 101, 1)
    assert refused(ofd, b, fcntl.F_RDLCK, 0, 0)
    assert ofd_test(b, fcntl.F_WRLCK, 100, 1) == fcntl.F_WRLCK
    assert ofd_test(b, fcntl.F_WRLCK, 102, 1) == fcntl.F_UNLCK
    ofd(b, fcntl.F_WRLCK, 102, 1)
    ofd(a, fcntl.F_UNLCK, 100, 2)
    ofd(b, fcntl.F_WRLCK, 0, 0)


def test_ofd_locks_do_not_leak(mnt, pair):
    """The kernel says nothing when a file with OFD locks is closed."""
    a, b = pair
    ofd(a, fcntl.F_WRLCK)
    assert refused(ofd, b, fcntl.F_RDLCK)
    os.close(a)
    for _ in range(100):
        try:
            ofd(b, fcntl.F_WRLCK)
            break
        except OSError:
            time.sleep(0.01)
    else:
        pytest.fail("the lock outlives its file")
    ofd(b, fcntl.F_UNLCK)
    child = subprocess.Popen([sys.executable, "-c", HOLD_OFD, str(mnt / "f")], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"locked\n"
    assert refused(ofd, b, fcntl.F_WRLCK)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    time.sleep(0.2)
    ofd(b, fcntl.F_WRLCK)


HOLD_OFD = """
import fcntl, os, struct, sys, time
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
print("locked", flush=True)
time.sleep(60)
"""

HOLD_POSIX = """
import fcntl, os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(fd, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.readline()
other = os.open(sys.argv[1], os.O_RDONLY)
os.close(other)
print("closed", flush=True)
sys.stdin.readline()
"""


def test_posix_locks_end_with_any_close(mnt, pair):
    a, _ = pair
    child = subprocess.Popen([sys.executable, "-c", HOLD_POSIX, str(mnt / "f")], stdout=subprocess.PIPE,
                             stdin=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "locked\n"
    assert refused(fcntl.lockf, a, fcntl.LOCK_EX | fcntl.LOCK_NB)
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.stdout.readline() == "closed\n"
    fcntl.lockf(a, fcntl.LOCK_EX | fcntl.LOCK_NB)
    child.communicate("\n", timeout=10)


def test_flock(pair):
    a, b = pair
    fcntl.flock(a, fcntl.LOCK_SH)
    fcntl.flock(b, fcntl.LOCK_SH)
    assert refused(fcntl.flock, b, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(a)
    fcntl.flock(b, fcntl.LOCK_EX)


HOLD_AND_WAIT = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(fd, fcntl.LOCK_EX, 1, 0)
print("locked", flush=True)
try:
    fcntl.lockf(fd, fcntl.LOCK_EX, 1, 1)
    print("got it", flush=True)
except OSError as e:
    print(e.errno, flush=True)
"""


def test_deadlock(mnt, pair):
    """Each of two has what the other waits for: whoever comes second is told, the other gets it in the end."""
    a, _ = pair
    fcntl.lockf(a, fcntl.LOCK_EX, 1, 1)
    child = subprocess.Popen([sys.executable, "-c", HOLD_AND_WAIT, str(mnt / "f")], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "locked\n"
    told = None
    try:
        fcntl.lockf(a, fcntl.LOCK_EX, 1, 0)
    except OSError as e:
        told = e.errno
        fcntl.lockf(a, fcntl.LOCK_UN)
    said = child.communicate(timeout=10)[0]
    assert (told, said) in ((errno.EDEADLK, "got it\n"), (None, f"{errno.EDEADLK}\n"))


def test_flock_upgrade_of_two(mnt):
    """flock(2): who waits for the exclusive lock has given up its shared one, or both would wait for ever."""
    script = "import fcntl, os, sys; fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT); " \
             "fcntl.flock(fd, fcntl.LOCK_SH); print('shared', flush=True); sys.stdin.readline(); " \
             "fcntl.flock(fd, fcntl.LOCK_EX)"
    children = [subprocess.Popen([sys.executable, "-c", script, str(mnt / "f")], stdout=subprocess.PIPE,
                                 stdin=subprocess.PIPE, text=True) for _ in range(2)]
    for child in children:
        assert child.stdout.readline() == "shared\n"
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    for child in children:
        child.communicate(timeout=10)
        assert child.returncode == 0


def test_waiting(mnt, pair):
    a, b = pair
    ofd(a, fcntl.F_WRLCK)
    child = subprocess.Popen([sys.executable, "-c", WAIT, str(mnt / "f")], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "waits\n"
    time.sleep(0.3)
    assert child.poll() is None
    ofd(a, fcntl.F_UNLCK)
    assert child.stdout.readline() == "got it\n"
    child.wait(10)
    child.stdout.close()
    time.sleep(0.2)
    ofd(b, fcntl.F_WRLCK)


def test_killed_waiter(mnt, pair):
    a, b = pair
    ofd(a, fcntl.F_WRLCK)
    child = subprocess.Popen([sys.executable, "-c", WAIT, str(mnt / "f")], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "waits\n"
    time.sleep(0.3)
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    child.stdout.close()
    ofd(a, fcntl.F_UNLCK)
    time.sleep(0.2)
    ofd(b, fcntl.F_WRLCK)


WAIT = """
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDWR)
print("waits", flush=True)
fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
print("got it", flush=True)
"""
