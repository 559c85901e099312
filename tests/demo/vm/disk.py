# SPDX-License-Identifier: GPL-2.0-or-later
"""Disk images for guests."""
import subprocess

VHD_FOOTER = 512  # bytes, after the data of a fixed VHD
GUEST_DISK = 1600 << 20  # bytes; the Linux guest's records take 1280 MiB of it


def create_fixed_vhd(path, size):
    """A fixed VHD of exactly size bytes, as QEMU makes it."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "vpc", "-o", "subformat=fixed,force_size=on", str(path),
                    str(size)], check=True)
    if path.stat().st_size != size + VHD_FOOTER:
        raise RuntimeError(f"{path}: {path.stat().st_size} bytes, expected {size} and a footer")


def create_raw(path, size):
    """A sparse raw image."""
    with open(path, "wb") as image:
        image.truncate(size)


def create_qcow2(path, size):
    """A qcow2 image."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), str(size)], check=True)


def convert_to_qcow2(raw, path):
    """A qcow2 image with a raw image's content, for a guest that was installed there."""
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(path)], check=True)
