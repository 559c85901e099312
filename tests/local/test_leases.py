# SPDX-License-Identifier: GPL-2.0-or-later
"""Images: one VM writes, others are refused (H2), also on one node."""
import errno
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from conftest import ROOT

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


def vhd(volume, verb, path, code=0):
    """csvadm vhd VERB PATH."""
    done = volume.csvadm("--json", "vhd", verb, path, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_all_threads_are_one_vm(mnt):
    """FUSE names the thread that asks; a VM is a process."""
    path = mnt / "disk.img"
    fd = os.open(path, os.O_CREAT | os.O_RDWR)
    results = []

    def again():
        try:
            results.append(os.open(path, os.O_RDWR))
        except OSError as e:
            results.append(e)

    thread = threading.Thread(target=again)
    thread.start()
    thread.join()
    assert isinstance(results[0], int), results
    os.close(results[0])
    os.close(fd)


def test_mark_makes_an_image_of_any_name(volume, mnt):
    path = mnt / "disk"
    path.write_bytes(b"content")
    assert vhd(volume, "info", path)["image"] is False
    a, b = os.open(path, os.O_RDWR), Holder(path)
    error = vhd(volume, "mark", path, code=3)["error"]
    assert "open" in error["message"]
    os.close(a)
    b.close()
    marked = eventually_vhd(volume, "mark", path)
    assert marked["image"] is True and marked["lease"]["mode"] == "none"
    holder = Holder(path)
    busy(os.open, path, os.O_RDWR)
    held = vhd(volume, "info", path)["lease"]
    assert held["mode"] == "exclusive" and held["epoch"] == 1 and held["alive"] is True
    assert held["vm"].startswith(f"{holder.proc.pid}:")
    vhd(volume, "unmark", path, code=3)
    holder.close()
    assert path.read_bytes() == b"content"


def eventually_vhd(volume, verb, path):
    """The end of a close reaches csvfs a moment after close(2) has returned."""
    for _ in range(200):
        done = volume.csvadm("--json", "vhd", verb, path, check=False)
        if done.returncode != 3:
            break
        time.sleep(0.01)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_unmark_gives_the_lease_block_back(volume, mnt):
    path = mnt / "disk.img"
    path.write_bytes(bytes(8192))
    plain = eventually_vhd(volume, "unmark", path)
    assert plain["image"] is False and plain["lease"] is None
    holders = [Holder(path), Holder(path)]  # not exclusive any more
    for holder in holders:
        holder.close()


def test_a_rename_changes_no_flag(volume, mnt):
    (mnt / "disk.tmp").write_bytes(b"x")
    os.rename(mnt / "disk.tmp", mnt / "disk.vhd")
    assert vhd(volume, "info", mnt / "disk.vhd")["image"] is False


def test_vhd_create_makes_an_image_of_any_name(volume, mnt, tmp_path):
    done = volume.csvadm("--json", "vhd", "create", mnt / "disk", "--size", "1M")
    made = json.loads(done.stdout)
    assert made["image"] is True and made["extents"] >= 1 and made["type"] == "fixed"
    error = json.loads(volume.csvadm("--json", "vhd", "create", tmp_path / "disk", "--size", "1M", check=False).stdout)["error"]
    assert "csvfs" in error["message"] and not (tmp_path / "disk").exists()


def test_image_of_others_and_of_nothing(volume, mnt):
    assert vhd(volume, "mark", mnt / "nothing", code=4)["error"]["code"] == "noent"
    (mnt / "dir.vhd").mkdir()
    vhd(volume, "mark", mnt / "dir.vhd", code=2)


def test_vm_launch_refuses_what_is_no_image(volume, mnt, tmp_path):
    """A disk without a lease could be written by two VMs."""
    (mnt / "disk").write_bytes(bytes(1 << 20))
    definition = mnt / "vm.ini"
    definition.write_text("[vm]\nname = vm1\nmemory = 64\ncpus = 1\naccel = tcg\n[disk 0]\npath = disk\nformat = raw\n")

    def launch():
        env = dict(os.environ, CSV_RUN_DIR=str(tmp_path), CSV_VM_LOG_DIR=str(tmp_path), CSV_QEMU="/bin/false")
        return subprocess.run([ROOT / "migrate/hook/vm-launch", definition, "-"], env=env, check=False, timeout=60,
                              capture_output=True, text=True)

    refused = launch()
    assert refused.returncode == 2 and "no image" in refused.stderr and "vhd mark" in refused.stderr
    eventually_vhd(volume, "mark", mnt / "disk")
    assert "no image" not in launch().stderr
