# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo's guest: Linux on a fixed VHD, with a network card."""
from vm import disk, linux

from .stage import VM

MAC = "52:54:00:c5:f5:01"
SEED = 1


def make(stage, node, accel):
    """VHD and definition on the volume; what csvadm says of the VHD."""
    text = linux.definition(VM, f"{VM}.vhd", accel=accel, bridge="vmbr0", mac=MAC, size=disk.GUEST_DISK,
                            append=linux.append_line(seed=SEED, address="10.77.4.100/24"))
    return stage.make_vm(node, disk.GUEST_DISK, text)
