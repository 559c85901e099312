# SPDX-License-Identifier: GPL-2.0-or-later
"""Images: one VM writes, others are refused (H2), also on one node."""
import errno
import os
import subprocess
import sys
import time

import pytest

HOLD = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
print("open", flush=True)
sys.stdin.readline()
os.close(fd)
print("closed", flush=True)
"""


class Holder:
    """Another process, thus another VM, that has the image open for writing."""

    def __init__(self, path):
        self.proc = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)
        assert self.proc.stdout.readline() == "open\n"

    def close(self):
        self.proc.communicate("\n", timeout=10)

    def kill(self):
        self.proc.kill()
        self.proc.communicate()


def busy(call, *args):
    with pytest.raises(OSError) as e:
        call(*args)
    assert e.value.errno == errno.EBUSY


def eventually(call, *args):
    """A close gives the lease back a moment after it has returned."""
    for _ in range(200):
        try:
            return call(*args)
        except OSError as e:
            if e.errno != errno.EBUSY:
                raise
            time.sleep(0.01)
    return call(*args)


@pytest.fixture(name="image")
def _image(mnt):
    path = mnt / "disk.vhd"
    fd = os.open(path, os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, bytes(1 << 20), 0)
    os.close(fd)
    return path


@pytest.fixture(name="holder")
def _holder(image):
    holder = eventually(Holder, image)
    yield holder
    holder.kill()


def test_second_vm_is_refused(volume, image, holder):
    busy(os.open, image, os.O_RDWR)
    busy(os.open, image, os.O_WRONLY)
    fd = os.open(image, os.O_RDONLY)
    assert os.pread(fd, 10, 0) == bytes(10)
    os.close(fd)
    assert f"{holder.proc.pid}:" in volume.log.read_text()
    holder.close()
    os.close(eventually(os.open, image, os.O_RDWR))


def test_dead_vm_leaves_nothing(image, holder):
    busy(os.open, image, os.O_RDWR)
    holder.kill()
    os.close(eventually(os.open, image, os.O_RDWR))


def test_one_vm_opens_twice(image):
    a = eventually(os.open, image, os.O_RDWR)
    b = os.open(image, os.O_RDWR)
    os.pwrite(a, b"a", 0)
    os.pwrite(b, b"b", 1)
    assert os.pread(a, 2, 0) == b"ab"
    os.close(a)
    os.pwrite(b, b"c", 2)
    os.close(b)


def test_truncate_by_path(image, holder):
    busy(os.truncate, image, 0)
    holder.close()
    eventually(os.truncate, image, 4096)
    assert image.stat().st_size == 4096
    eventually(os.truncate, image, 8192)


def test_growing_and_times(image):
    fd = eventually(os.open, image, os.O_RDWR)
    before = image.stat()
    time.sleep(0.02)
    os.pwrite(fd, b"x" * 4096, 4096)
    written = image.stat()
    assert written.st_mtime_ns > before.st_mtime_ns
    os.fsync(fd)
    assert image.stat().st_mtime_ns >= written.st_mtime_ns
    os.pwrite(fd, b"y" * 100, 5 << 20)
    assert image.stat().st_size == (5 << 20) + 100
    os.utime(image, ns=(10**18, 10**18))
    assert image.stat().st_mtime_ns == 10**18
    os.pwrite(fd, b"z", 0)
    last = image.stat().st_mtime_ns
    assert last > 10**18
    os.close(fd)
    time.sleep(0.2)
    assert image.stat().st_mtime_ns >= last


def test_times_survive_remount(volume):
    volume.mount()
    path = volume.mnt / "disk.img"
    fd = os.open(path, os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, bytes(65536), 0)
    time.sleep(0.02)
    os.pwrite(fd, b"1" * 4096, 0)
    os.close(fd)
    mtime = path.stat().st_mtime_ns
    volume.remount()
    assert path.stat().st_mtime_ns == mtime
    volume.umount()
    volume.check()


def test_rename_makes_no_image(mnt):
    (mnt / "plain").write_bytes(b"1")
    os.rename(mnt / "plain", mnt / "now.vhd")
    a = Holder(mnt / "now.vhd")
    os.close(os.open(mnt / "now.vhd", os.O_RDWR))
    a.close()


def test_kill_frees_the_lease(volume):
    """A lease of a life that is over counts for nobody."""
    volume.mount()
    path = volume.mnt / "disk.vhd"
    fd = os.open(path, os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, bytes(8192), 0)
    os.fsync(fd)
    volume.kill()
    with pytest.raises(OSError):
        os.close(fd)
    volume.mount()
    os.close(os.open(path, os.O_RDWR))
    volume.umount()
    volume.check()


def test_unlink_while_leased(mnt, image, holder):
    os.unlink(image)
    assert os.listdir(mnt) == []
    holder.close()
