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


def convert(source, source_format, target, target_format):
    """Another image with the same content; formats: raw, qcow2."""
    subprocess.run(["qemu-img", "convert", "-f", source_format, "-O", target_format, str(source), str(target)],
                   check=True)
