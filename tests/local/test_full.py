# SPDX-License-Identifier: GPL-2.0-or-later
"""What the volume lies on is full: writers are told, the mount waits, and goes on when there is space again."""
import errno
import os
import subprocess
import threading
import time

import pytest

from conftest import Volume


def wait_until(what, check, seconds):
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.fixture(name="place")
def _place(tmp_path):
    """A small filesystem in memory."""
    place = tmp_path / "place"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8M", "csv-test", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=False)


def extend(place):
    subprocess.run(["mount", "-o", "remount,size=512M", place], check=True)


@pytest.fixture(name="thin")
def _thin(place, tmp_path):
    """A volume in a sparse file there; its log is elsewhere."""
    (tmp_path / "lun").symlink_to(place / "lun")
    vol = Volume(tmp_path, size="1G")
    try:
        yield vol
    finally:
        extend(place)
        vol.clean_up()


def fill(path):
    """Writes blocks until there is no space; how many were written and acknowledged."""
    n = 0
    with open(path, "wb", buffering=0) as file:
        with pytest.raises(OSError) as failed:
            while n < 1 << 16:
                file.write(n.to_bytes(8, "little") * 8192)
                n += 1
    assert failed.value.errno == errno.ENOSPC
    return n


def test_full_and_extended(thin, place):
    thin.mount()
    full = thin.mnt / "full"
    n = fill(full)
    assert n > 4
    assert "state failed" not in thin.log.read_text()

    names = []

    def work():
        # Journal blocks that were never written before: sooner or later one finds no space.
        for i in range(2000):
            (thin.mnt / f"dir{i}").mkdir()
            fd = os.open(thin.mnt, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            names.append(f"dir{i}")

    worker = threading.Thread(target=work)
    worker.start()
    try:
        wait_until("the mount waits", lambda: "state paused: the LUN is full" in thin.log.read_text(), 60)
        assert worker.is_alive()
    finally:
        extend(place)
    worker.join(120)
    assert not worker.is_alive()
    assert len(names) == 2000
    wait_until("the mount goes on", lambda: thin.log.read_text().rstrip().endswith("state online"), 30)

    with open(full, "rb") as file:
        for i in range(n):
            assert file.read(65536) == i.to_bytes(8, "little") * 8192
    (thin.mnt / "more").write_bytes(b"m" * (1 << 20))
    thin.remount()
    assert sorted(p.name for p in thin.mnt.iterdir()) == sorted([*names, "full", "more"])
    thin.umount()
    thin.check()
