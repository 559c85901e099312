# SPDX-License-Identifier: GPL-2.0-or-later
"""kvm or tcg? Found by trying, for /dev/kvm may open and still run nothing.

Two guests have to work under kvm: the boot sector must speak within a second, the Linux guest must be ready within
LINUX_S. The answer is kept in the build folder; remove the file, or set CSV_ACCEL, to ask again or to decide.
"""
import os
import tempfile
import time
from pathlib import Path

from . import bootsector, disk, linux, paths
from .launcher import LaunchFailed
from .machine import Machine
from .seriallog import GuestError, SerialLog

CACHE = "accel"
SECTOR_S = 1.0
LINUX_S = 10.0


def choose():
    """The accelerator for guests on this host: "kvm" or "tcg"."""
    cache = paths.BUILD / CACHE
    wanted = os.environ.get("CSV_ACCEL")
    if wanted in ("kvm", "tcg"):
        return wanted
    if cache.exists():
        return cache.read_text(encoding="ascii").strip()
    answer = "kvm" if os.access("/dev/kvm", os.R_OK | os.W_OK) and works("kvm") else "tcg"
    cache.write_text(answer + "\n", encoding="ascii")
    return answer


def works(accel):
    """Do both guests start under this accelerator in good time?"""
    return sector_seconds(accel) is not None and linux_seconds(accel) is not None


def sector_seconds(accel, deadline_s=SECTOR_S):
    """Seconds from QEMU's readiness to the boot sector's first word; None if it stays silent."""
    def prepare(folder):
        disk.create_raw(folder / "disk.raw", bootsector.DISK_SIZE)
        bootsector.install(folder / "disk.raw")
        return bootsector.definition("probe", "disk.raw", accel)
    return _seconds_to("BOOT", prepare, deadline_s)


def linux_seconds(accel, deadline_s=LINUX_S):
    """Seconds from QEMU's readiness to the first record's announcement; None if it takes longer."""
    def prepare(folder):
        disk.create_raw(folder / "disk.raw", disk.GUEST_DISK)
        return linux.definition("probe", "disk.raw", accel, linux.append_line(count=1))
    return _seconds_to("READY", prepare, deadline_s)


def _seconds_to(word, prepare, deadline_s):
    with tempfile.TemporaryDirectory(prefix="csvfs-accel-") as name:
        folder = Path(name)
        definition = folder / "probe.ini"
        definition.write_text(prepare(folder), encoding="utf-8")
        with SerialLog(folder / "probe.log") as log, Machine(definition, folder, folder) as machine:
            try:
                machine.start()
                begin = time.monotonic_ns()
                return max(0, log.wait_line(word, deadline_s)[0] - begin) / 1e9
            except (GuestError, LaunchFailed):
                return None


if __name__ == "__main__":
    print(choose())
