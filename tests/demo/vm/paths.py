# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the demo's parts are in the source tree and in the build folder."""
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
GUEST = ROOT / "tests" / "demo" / "guest"
VM = ROOT / "tests" / "demo" / "vm"
VM_LAUNCH = ROOT / "migrate" / "hook" / "vm-launch"
BUILD = Path(os.environ.get("CSV_GUEST_BUILD", ROOT / "build" / "guest"))
VERIFY = GUEST / "verify"
KERNEL = BUILD / "vmlinux"
INITRD = BUILD / "initramfs.cpio"
BOOTSECTOR = BUILD / "bootsector.bin"


def build_all():
    """Builds both guests if they are not there yet; seconds the first time, nothing after."""
    for script in (GUEST / "build", VM / "build"):
        subprocess.run([script], check=True)
