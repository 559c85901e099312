# SPDX-License-Identifier: GPL-2.0-or-later
"""Mounting, refusing, dying, coming back."""
import hashlib
import json
import os
import random
import signal
import subprocess
import time

import pytest

from test_csvadm import set_feature


def test_second_mount_is_refused(volume):
    volume.mount()
    other = volume.dir / "other"
    other.mkdir()
    proc, line = volume.start(where=other)
    assert proc.wait(30) == 3
    proc.stderr.close()
    assert line.startswith("error busy\t"), line
    (volume.mnt / "f").write_bytes(b"the first is unharmed")
    volume.umount()
    volume.check()


def test_no_volume(volume):
    volume.image.write_bytes(bytes(1 << 20))
    proc, line = volume.start()
    assert proc.wait(30) == 9
    proc.stderr.close()
    assert line.startswith("error notcsv\t"), line


def test_incarnation_grows(volume):
    first = volume.mount().split()
    volume.umount()
    second = volume.mount().split()
    assert first[1] == second[1]
    assert int(second[2]) == int(first[2]) + 1
    volume.umount()


def test_background(volume):
    from conftest import BIN  # pylint: disable=import-outside-toplevel
    done = subprocess.run([BIN / "csvfs", volume.image, volume.mnt, "-o", f"lock=local,log={volume.log}"],
                          check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    try:
        (volume.mnt / "f").write_bytes(b"1")
    finally:
        subprocess.run(["umount", volume.mnt], check=True, timeout=30)
    for _ in range(100):
        if "unmounted" in volume.log.read_text():
            break
        time.sleep(0.1)
    volume.check()


def test_sigterm_unmounts(volume):
    volume.mount()
    (volume.mnt / "f").write_bytes(b"1")
    volume.proc.terminate()
    assert volume.wait_end() == 0
    assert not os.path.ismount(volume.mnt)
    volume.check()


def test_sigterm_while_in_use(volume):
    volume.mount()
    fd = os.open(volume.mnt / "f", os.O_CREAT | os.O_RDWR)
    volume.proc.terminate()
    time.sleep(0.5)
    os.pwrite(fd, b"still served", 0)
    os.close(fd)
    assert volume.wait_end() == 0
    volume.mount()
    assert (volume.mnt / "f").read_bytes() == b"still served"
    volume.umount()


def test_kill_keeps_what_fsync_acknowledged(volume):
    """Random writes; after kill -9 and remount all that an fsync covered is there."""
    rng = random.Random(os.environ.get("SEED", "1"))
    for _ in range(4):
        volume.mount()
        acked = {}
        for n in range(10):
            name = f"f{rng.randrange(100)}"
            fd = os.open(volume.mnt / name, os.O_CREAT | os.O_RDWR)
            data = rng.randbytes(rng.randrange(1, 300000))
            os.ftruncate(fd, 0)
            os.pwrite(fd, data, 0)
            if n % 3 < 2:
                os.fsync(fd)
                acked[name] = data
            else:
                acked.pop(name, None)
            os.close(fd)
        volume.kill()
        volume.mount()
        for name, data in acked.items():
            assert (volume.mnt / name).read_bytes() == data
        volume.umount()
        volume.check()


def test_kill_with_unlinked_open_file(volume):
    volume.mount()
    before = os.statvfs(volume.mnt).f_bfree
    fd = os.open(volume.mnt / "f", os.O_CREAT | os.O_RDWR)
    os.posix_fallocate(fd, 0, 64 << 20)
    os.unlink(volume.mnt / "f")
    other = os.open(volume.mnt / "g", os.O_CREAT | os.O_RDWR)
    os.fsync(other)
    volume.kill()
    for dead in (fd, other):
        with pytest.raises(OSError):
            os.close(dead)
    volume.mount()
    assert os.statvfs(volume.mnt).f_bfree >= before - 64
    assert "freed" in volume.log.read_text()
    volume.umount()
    volume.check()


def test_kill_under_load(volume):
    """Names and data being changed at the moment of the kill: the volume must check clean."""
    for _ in range(3):
        volume.mount()
        load = subprocess.Popen(["/usr/bin/python3", "-c", LOAD, str(volume.mnt)], stderr=subprocess.DEVNULL)
        time.sleep(1.5)
        volume.kill()
        load.wait(30)
        volume.mount()
        volume.umount()
        volume.check()


LOAD = """
import os, sys, threading, random
def work(n):
    rng = random.Random(n)
    while True:
        a = os.path.join(sys.argv[1], f"{n}-{rng.randrange(20)}")
        what = rng.randrange(6)
        try:
            if what == 0:
                os.unlink(a)
            elif what == 1:
                os.rename(a, a + "r")
            elif what == 2:
                os.truncate(a, rng.randrange(100000))
            else:
                with open(a, "ab" if what == 3 else "wb") as f:
                    f.write(bytes(rng.randrange(1, 200000)))
                    if what == 5:
                        os.fsync(f.fileno())
        except FileNotFoundError:
            pass
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()
"""


def csvadm_mount(volume, *options):
    """csvadm mount, its line of result and what it says on standard error; csvfs is in the background."""
    opts = ",".join(("lock=local", f"log={volume.log}", *options))
    return volume.csvadm("--json", "mount", volume.image, volume.mnt, "-o", opts, check=False)


def test_umount_tells_whose_life_has_ended(volume):
    mounted = json.loads(csvadm_mount(volume).stdout)
    left = json.loads(volume.csvadm("--json", "umount", volume.mnt).stdout)
    for key in ("volume", "slot", "incarnation", "mount"):
        assert left[key] == mounted[key]
    assert left["schema"] == 1 and left["volume"] == "test"
    volume.check()


def test_umount_tells_that_the_volume_was_not_left_clean(volume):
    """The LUN takes no more writes: what the last transaction changed cannot come home."""
    store = volume.dir / "store"
    store.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64M", "tmpfs", store], check=True)
    try:
        volume.image = store / "lun"
        subprocess.run(["truncate", "-s", "1G", volume.image], check=True)
        volume.csvadm("format", volume.image, "--name", "test", "--slots", "2", "--journal", "16M")
        assert csvadm_mount(volume).returncode == 0
        with open(store / "filler", "wb", buffering=0) as filler, pytest.raises(OSError):
            while True:
                filler.write(bytes(1 << 16))
        with pytest.raises(OSError):
            for n in range(1000):
                (volume.mnt / f"f{n}").write_bytes(b"x")
                os.sync()
        done = volume.csvadm("umount", volume.mnt, check=False)
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr.count("\n") == 1 and "clean" in done.stderr and "journal" in done.stderr
        assert not os.path.ismount(volume.mnt)
    finally:
        subprocess.run(["umount", "-l", volume.mnt], check=False, capture_output=True)
        subprocess.run(["umount", "-l", store], check=True)


def test_umount_of_a_dead_mount(volume):
    """Its csvfs was killed before: the mount point goes, and nobody claims that the volume is clean."""
    volume.mount()
    volume.proc.send_signal(signal.SIGKILL)
    volume.wait_end()
    done = volume.csvadm("--json", "umount", volume.mnt)
    assert "dead" in done.stderr and json.loads(done.stdout)["incarnation"] is None
    assert not os.path.ismount(volume.mnt)


def test_mount_tells_of_a_damaged_superblock(volume):
    with open(volume.image, "r+b") as file:
        file.write(b"\xff" * 512)
    done = csvadm_mount(volume)
    assert done.returncode == 0 and json.loads(done.stdout)["volume"] == "test"
    assert "copy 1 was used" in done.stderr and done.stderr.count("\n") == 1
    volume.csvadm("umount", volume.mnt)


@pytest.mark.parametrize("kind", ["incompat", "rocompat"])
def test_mount_changes_nothing_of_what_it_does_not_know(volume, kind):
    """Not even the slot and the journal that a mount would have to recover first."""
    volume.mount()
    fd = os.open(volume.mnt / "f", os.O_CREAT | os.O_RDWR)
    os.fsync(fd)
    volume.kill()
    with pytest.raises(OSError):
        os.close(fd)
    set_feature(volume.image, kind, 40)
    before = digest(volume.image)
    done = csvadm_mount(volume)
    assert done.returncode == 9 and f"{kind}-40" in done.stderr
    assert digest(volume.image) == before


def digest(path):
    """Of a sparse file's data, holes skipped."""
    made, at = hashlib.sha256(), 0
    with open(path, "rb", buffering=0) as file:
        while True:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return made.hexdigest()
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            made.update(f"{at} {end}".encode())
            while at < end:
                data = os.pread(file.fileno(), min(1 << 20, end - at), at)
                made.update(data)
                at += len(data)


def test_a_volume_for_readers_only_can_be_read(volume):
    """An unknown rocompat bit forbids writing alone."""
    volume.mount()
    (volume.mnt / "f").write_bytes(b"to be read")
    volume.umount()
    set_feature(volume.image, "rocompat", 40)
    before = digest(volume.image)
    volume.mount("ro")
    assert (volume.mnt / "f").read_bytes() == b"to be read"
    volume.umount()
    assert digest(volume.image) == before


def test_vhd_create_is_what_qemu_img_knows(volume):
    csvadm_mount(volume)
    path = volume.mnt / "d.vhd"
    volume.csvadm("vhd", "create", path, "--size", "37M")
    info = json.loads(subprocess.run(["qemu-img", "info", "--output=json", "-f", "vpc", path], check=True,
                                     stdout=subprocess.PIPE).stdout)
    assert info["virtual-size"] == 37 << 20
    assert json.loads(volume.csvadm("--json", "vhd", "info", path).stdout)["type"] == "fixed"
    again = volume.csvadm("vhd", "create", path, "--size", "1M", check=False)
    assert again.returncode == 3 and "d.vhd" in again.stderr
    volume.csvadm("umount", volume.mnt)
