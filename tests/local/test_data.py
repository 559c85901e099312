# SPDX-License-Identifier: GPL-2.0-or-later
"""File data through a real mount."""
import errno
import mmap
import os
import random
import subprocess
import threading

import pytest

BLOCK = 4096


def test_random_against_copy(mnt, tmp_path):
    """The same random calls on the mount and on a plain file."""
    rng = random.Random(os.environ.get("SEED", "1"))
    ours = os.open(mnt / "f", os.O_CREAT | os.O_RDWR)
    plain = os.open(tmp_path / "f", os.O_CREAT | os.O_RDWR)
    for _ in range(800):
        off = rng.randrange(1 << 20)
        length = rng.randrange(1, 50000)
        what = rng.randrange(10)
        if what == 0:
            os.ftruncate(ours, off)
            os.ftruncate(plain, off)
        elif what == 1:
            os.posix_fallocate(ours, off, length)
            os.posix_fallocate(plain, off, length)
        elif what < 5:
            assert os.pread(ours, length, off) == os.pread(plain, length, off)
        else:
            data = rng.randbytes(length)
            assert os.pwrite(ours, data, off) == length
            os.pwrite(plain, data, off)
        assert os.fstat(ours).st_size == os.fstat(plain).st_size
    assert (mnt / "f").read_bytes() == (tmp_path / "f").read_bytes()
    os.close(ours)
    os.close(plain)


def test_holes_and_preallocation(mnt):
    fd = os.open(mnt / "f", os.O_CREAT | os.O_RDWR)
    os.posix_fallocate(fd, 0, 1 << 30)
    assert os.fstat(fd).st_size == 1 << 30
    assert os.fstat(fd).st_blocks * 512 >= 1 << 30
    os.pwrite(fd, b"x", 500 << 20)
    assert os.pread(fd, 3, (500 << 20) - 1) == b"\0x\0"
    assert os.lseek(fd, 0, os.SEEK_DATA) == 500 << 20
    assert os.lseek(fd, 500 << 20, os.SEEK_HOLE) == (500 << 20) + BLOCK
    with pytest.raises(OSError) as e:
        os.lseek(fd, 600 << 20, os.SEEK_DATA)
    assert e.value.errno == errno.ENXIO
    subprocess.run(["fallocate", "-p", "-o", "0", "-l", "1G", mnt / "f"], check=True)
    assert os.fstat(fd).st_blocks * 512 < 1 << 20
    assert os.fstat(fd).st_size == 1 << 30
    assert os.pread(fd, 1, 500 << 20) == b"\0"
    os.close(fd)


def test_space_comes_back(mnt):
    before = os.statvfs(mnt).f_bfree
    fd = os.open(mnt / "f", os.O_CREAT | os.O_RDWR)
    os.posix_fallocate(fd, 0, 256 << 20)
    os.close(fd)
    assert os.statvfs(mnt).f_bfree <= before - (256 << 8)
    os.unlink(mnt / "f")
    os.sync()
    assert os.statvfs(mnt).f_bfree >= before - 64


def test_full_volume(mnt):
    """The last block is handed out, then ENOSPC; removing makes room at once."""
    fd = os.open(mnt / "f", os.O_CREAT | os.O_RDWR)
    with pytest.raises(OSError) as e:
        os.posix_fallocate(fd, 0, 8 << 30)
    assert e.value.errno == errno.ENOSPC
    os.ftruncate(fd, 0)
    size = 0
    chunk = bytes(1 << 20)
    os.posix_fallocate(fd, 0, (os.statvfs(mnt).f_bfree - 4096) * BLOCK)
    size = os.fstat(fd).st_size
    with pytest.raises(OSError) as e:
        while True:
            size += os.pwrite(fd, chunk, size)
    assert e.value.errno == errno.ENOSPC
    os.close(fd)
    os.unlink(mnt / "f")
    (mnt / "g").write_bytes(chunk)


def test_unlinked_but_open(mnt):
    fd = os.open(mnt / "f", os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"still here", 0)
    os.unlink(mnt / "f")
    assert os.listdir(mnt) == []
    os.pwrite(fd, b"!", 10)
    assert os.pread(fd, 20, 0) == b"still here!"
    assert os.fstat(fd).st_nlink == 0
    before = os.statvfs(mnt).f_bfree
    os.close(fd)
    os.sync()
    assert os.statvfs(mnt).f_bfree >= before


def test_replaced_but_open(mnt):
    (mnt / "new").write_bytes(b"new")
    fd = os.open(mnt / "f", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"old")
    os.rename(mnt / "new", mnt / "f")
    assert os.pread(fd, 3, 0) == b"old"
    assert (mnt / "f").read_bytes() == b"new"
    os.close(fd)


def test_parallel_appends(mnt):
    def work(n):
        fd = os.open(mnt / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        for _ in range(200):
            assert os.write(fd, bytes([n]) * 100) == 100
        os.close(fd)

    threads = [threading.Thread(target=work, args=(n + 1,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    data = (mnt / "log").read_bytes()
    assert len(data) == 8 * 200 * 100
    records = [data[i:i + 100] for i in range(0, len(data), 100)]
    assert all(r == bytes([r[0]]) * 100 for r in records)
    assert sorted(r[0] for r in records) == sorted(list(range(1, 9)) * 200)


def test_parallel_neighbours(mnt):
    """Sectors of the same fresh blocks, written by many at once (J7)."""
    fd = os.open(mnt / "f", os.O_CREAT | os.O_RDWR)
    os.posix_fallocate(fd, 0, 1 << 20)

    def work(n):
        for i in range(n, 2048, 16):
            os.pwrite(fd, bytes([1 + i % 255]) * 512, i * 512)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    data = os.pread(fd, 1 << 20, 0)
    for i in range(2048):
        assert data[i * 512:i * 512 + 512] == bytes([1 + i % 255]) * 512, i
    os.close(fd)


def test_many_files_at_once(mnt):
    def work(n):
        for i in range(30):
            path = mnt / f"{n}-{i}"
            path.write_bytes(bytes([n]) * (i * 1000 + 1))
            assert path.read_bytes() == bytes([n]) * (i * 1000 + 1)
            if i % 3 == 0:
                path.unlink()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(os.listdir(mnt)) == 8 * 20


def test_direct_io(mnt):
    fd = os.open(mnt / "f", os.O_CREAT | os.O_RDWR | os.O_DIRECT)
    buf = mmap.mmap(-1, 1 << 20)
    buf.write(os.urandom(1 << 20))
    assert os.pwritev(fd, [buf], 0) == 1 << 20
    back = mmap.mmap(-1, 1 << 20)
    assert os.preadv(fd, [back], 0) == 1 << 20
    assert back[:] == buf[:]
    for size, offset in ((1, 0), (100, 0), (512, 100), (4095, 0)):
        with pytest.raises(OSError) as e:
            os.preadv(fd, [memoryview(back)[:size]], offset)
        assert e.value.errno == errno.EINVAL
    assert os.preadv(fd, [memoryview(back)[:512]], 512) == 512
    os.close(fd)


def test_truncate_by_path(mnt):
    (mnt / "f").write_bytes(b"x" * 10000)
    os.truncate(mnt / "f", 5000)
    os.truncate(mnt / "f", 9000)
    assert (mnt / "f").read_bytes() == b"x" * 5000 + bytes(4000)


def test_read_only_mount(volume):
    volume.mount()
    (volume.mnt / "f").write_bytes(b"1")
    volume.umount()
    volume.mount("ro")
    assert (volume.mnt / "f").read_bytes() == b"1"
    with pytest.raises(OSError) as e:
        (volume.mnt / "g").touch()
    assert e.value.errno == errno.EROFS
    volume.umount()


def test_qemu_img(mnt):
    image = mnt / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1G"], check=True)
    for args in ("write -P 0x11 0 1M", "write -P 0x22 100M 64k", "read -P 0x11 0 1M", "flush"):
        subprocess.run(["qemu-io", "-f", "qcow2", "-t", "none", "-c", args, image], check=True, timeout=60,
                       stdout=subprocess.DEVNULL)
    done = subprocess.run(["qemu-io", "-f", "qcow2", "-t", "none", "-c", "read -P 0x22 100M 64k", image], check=True,
                          timeout=60, capture_output=True, text=True)
    assert "failed" not in done.stdout
    subprocess.run(["qemu-img", "check", "-q", image], check=True, timeout=60)
    raw = mnt / "disk.raw"
    subprocess.run(["qemu-img", "convert", "-t", "none", "-T", "none", "-O", "raw", image, raw], check=True, timeout=120)
    subprocess.run(["qemu-img", "compare", "-q", image, raw], check=True, timeout=120)


@pytest.mark.parametrize("bs", ["4k", "512", "1000-9000"])
def test_fio_verify(mnt, tmp_path, bs):
    direct = bs != "1000-9000"
    job = ["fio", "--name=v", f"--filename={mnt}/f", "--size=64m", "--rw=randwrite", "--verify=crc32c", "--do_verify=1",
           "--ioengine=libaio" if direct else "--ioengine=psync", f"--direct={int(direct)}", "--iodepth=16",
           "--io_size=24m", "--fsync=200", "--verify_fatal=1", f"--aux-path={tmp_path}"]
    job += [f"--bsrange={bs}", "--bs_unaligned"] if "-" in bs else [f"--bs={bs}"]
    done = subprocess.run(job, check=False, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
