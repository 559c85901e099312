# SPDX-License-Identifier: GPL-2.0-or-later
"""Names and attributes through a real mount."""
import errno
import os
import socket
import stat

import pytest


def test_create_read_write(mnt):
    path = mnt / "a"
    path.write_bytes(b"hello")
    assert path.read_bytes() == b"hello"
    with open(path, "r+b") as f:
        f.seek(10000)
        f.write(b"end")
    assert path.read_bytes() == b"hello" + bytes(9995) + b"end"
    assert path.stat().st_size == 10003


def test_exclusive_create(mnt):
    os.close(os.open(mnt / "a", os.O_CREAT | os.O_EXCL | os.O_RDWR))
    with pytest.raises(FileExistsError):
        os.open(mnt / "a", os.O_CREAT | os.O_EXCL)
    os.close(os.open(mnt / "a", os.O_CREAT | os.O_RDWR))


def test_directories(mnt):
    names = {f"name-{i:04d}" for i in range(1500)}
    (mnt / "d").mkdir()
    for name in names:
        (mnt / "d" / name).touch()
    assert set(os.listdir(mnt / "d")) == names
    with pytest.raises(OSError) as e:
        (mnt / "d").rmdir()
    assert e.value.errno == errno.ENOTEMPTY
    for name in names:
        (mnt / "d" / name).unlink()
    assert os.listdir(mnt / "d") == []
    assert mnt.stat().st_nlink == 3
    (mnt / "d").rmdir()
    assert mnt.stat().st_nlink == 2


def test_readdir_while_removing(mnt):
    for i in range(600):
        (mnt / f"f{i}").touch()
    seen = []
    with os.scandir(mnt) as it:
        for entry in it:
            seen.append(entry.name)
            os.unlink(entry.path)
    assert len(seen) == len(set(seen)) == 600
    assert os.listdir(mnt) == []


def test_rename(mnt):
    (mnt / "a").write_bytes(b"a")
    (mnt / "b").write_bytes(b"b")
    os.rename(mnt / "a", mnt / "b")
    assert (mnt / "b").read_bytes() == b"a"
    assert not (mnt / "a").exists()
    (mnt / "d" / "e").mkdir(parents=True)
    (mnt / "x").mkdir()
    os.rename(mnt / "d" / "e", mnt / "x" / "e")
    assert (mnt / "d").stat().st_nlink == 2
    assert (mnt / "x").stat().st_nlink == 3
    assert os.stat(mnt / "x" / "e" / "..").st_ino == os.stat(mnt / "x").st_ino
    with pytest.raises(OSError) as e:
        os.rename(mnt / "x", mnt / "x" / "e" / "y")
    assert e.value.errno == errno.EINVAL


def test_rename_deep(mnt):
    deep = mnt / "/".join(f"d{i}" for i in range(30))
    deep.mkdir(parents=True)
    (mnt / "m").mkdir()
    (mnt / "m" / "f").write_bytes(b"1")
    os.rename(mnt / "m", deep / "m")
    assert (deep / "m" / "f").read_bytes() == b"1"


def test_links(mnt):
    (mnt / "a").write_bytes(b"1")
    os.link(mnt / "a", mnt / "b")
    assert (mnt / "a").stat().st_nlink == 2
    assert (mnt / "a").stat().st_ino == (mnt / "b").stat().st_ino
    (mnt / "a").unlink()
    assert (mnt / "b").read_bytes() == b"1"
    assert (mnt / "b").stat().st_nlink == 1


def test_symlinks(mnt):
    for target in ("a", "x" * 600, "y" * 4000):
        os.symlink(target, mnt / "l")
        assert os.readlink(mnt / "l") == target
        assert os.lstat(mnt / "l").st_size == len(target)
        os.unlink(mnt / "l")


def test_special_files(mnt):
    os.mkfifo(mnt / "fifo")
    os.mknod(mnt / "dev", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(mnt / "sock"))
    sock.close()
    assert stat.S_ISFIFO((mnt / "fifo").stat().st_mode)
    assert (mnt / "dev").stat().st_rdev == os.makedev(1, 3)
    assert stat.S_ISSOCK((mnt / "sock").stat().st_mode)


def test_attributes(mnt):
    path = mnt / "a"
    path.write_bytes(b"1")
    os.chmod(path, 0o4751)
    os.chown(path, 12, 34)
    os.utime(path, ns=(10**18 + 1, 10**18 + 2))
    st = path.stat()
    assert (st.st_uid, st.st_gid) == (12, 34)
    assert (st.st_atime_ns, st.st_mtime_ns) == (10**18 + 1, 10**18 + 2)
    os.chmod(path, 0o640)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    before = path.stat()
    with open(path, "r+b", buffering=0) as f:
        f.write(b"2")
    assert path.stat().st_mtime_ns > before.st_mtime_ns


def test_long_names(mnt):
    (mnt / ("n" * 255)).touch()
    assert os.listdir(mnt) == ["n" * 255]
    with pytest.raises(OSError) as e:
        (mnt / ("n" * 256)).touch()
    assert e.value.errno == errno.ENAMETOOLONG


def test_names_survive_remount(volume):
    volume.mount()
    (volume.mnt / "d").mkdir()
    (volume.mnt / "d" / "f").write_bytes(b"kept")
    st = (volume.mnt / "d" / "f").stat()
    volume.remount()
    assert (volume.mnt / "d" / "f").read_bytes() == b"kept"
    again = (volume.mnt / "d" / "f").stat()
    assert (again.st_ino, again.st_mtime_ns) == (st.st_ino, st.st_mtime_ns)
    volume.umount()
    volume.check()
