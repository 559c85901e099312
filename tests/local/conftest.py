# SPDX-License-Identifier: GPL-2.0-or-later
"""A volume in a file, mounted by csvfs with lock=local; always taken down again."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("CSV_BIN", ROOT / "build" / "bin"))


class Volume:
    """One image file and the csvfs that serves it."""

    def __init__(self, folder, size="4G", block=4096):
        self.dir = pathlib.Path(folder)
        self.image = self.dir / "lun"
        self.mnt = self.dir / "mnt"
        self.log = self.dir / "log"
        self.mnt.mkdir()
        self.proc = None
        subprocess.run(["truncate", "-s", size, self.image], check=True)
        self.csvadm("format", self.image, "--name", "test", "--slots", "2", "--journal", "16M")

    def csvadm(self, *words, check=True):
        return subprocess.run([BIN / "csvadm", *words], check=check, capture_output=True, text=True, timeout=120)

    def start(self, *options, where=None):
        """Start csvfs in the foreground; the line that it says when it is ready or has failed."""
        ready, tell = os.pipe()
        env = dict(os.environ, CSV_READY_FD=str(tell))
        opts = ",".join(("lock=local", f"log={self.log}", *options))
        proc = subprocess.Popen([BIN / "csvfs", "-f", self.image, where or self.mnt, "-o", opts], env=env,
                                pass_fds=[tell], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        os.close(tell)
        with os.fdopen(ready) as line:
            return proc, line.readline().strip()

    def mount(self, *options):
        self.proc, line = self.start(*options)
        assert line.startswith("ok "), line
        return line

    def wait_end(self, seconds=30):
        code = self.proc.wait(seconds)
        self.proc.stderr.close()
        self.proc = None
        return code

    def umount(self):
        subprocess.run(["umount", self.mnt], check=True, timeout=60)
        assert self.wait_end() == 0, self.log.read_text()

    def kill(self):
        """As a crash: what the kernel still has of the mount is thrown away."""
        self.proc.send_signal(signal.SIGKILL)
        self.wait_end()
        subprocess.run(["umount", "-l", self.mnt], check=False, capture_output=True, timeout=60)

    def remount(self):
        self.umount()
        self.mount()

    def check(self):
        """The image, unmounted, must be in order."""
        done = self.csvadm("--json", "check", self.image, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def clean_up(self):
        if self.proc:
            subprocess.run(["umount", "-l", self.mnt], check=False, capture_output=True, timeout=60)
            try:
                self.wait_end(10)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.wait_end()
        subprocess.run(["umount", "-l", self.mnt], check=False, capture_output=True, timeout=60)


@pytest.fixture(name="volume")
def _volume(request):
    folder = tempfile.mkdtemp(prefix="csvfs-test-")
    vol = None
    try:
        vol = Volume(folder, **getattr(request, "param", {}))
        yield vol
    finally:
        if vol:
            vol.clean_up()
        if not os.path.ismount(pathlib.Path(folder) / "mnt"):
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(name="mnt")
def _mnt(volume):
    """A mounted volume; unmounted cleanly and checked at the end."""
    volume.mount()
    yield volume.mnt
    if volume.proc:
        for _ in range(50):
            if subprocess.run(["umount", volume.mnt], check=False, capture_output=True, timeout=60).returncode == 0:
                break
            time.sleep(0.1)
        assert volume.wait_end() == 0, volume.log.read_text()
        volume.check()
