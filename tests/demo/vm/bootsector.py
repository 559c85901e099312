# SPDX-License-Identifier: GPL-2.0-or-later
"""The one-sector guest seen from the host: puts it on a disk, checks its records (bootsector.S has the layout)."""
import struct

from . import paths

SECTOR = 512            # bytes, also of a record
SLOTS = 4096
FIRST_OFFSET = 0x1F8    # of the first record's number in the code, u32
DISK_SIZE = 17 << 20    # bytes, enough for all slots


def code(first=0):
    """The guest, for sector 0 of its disk; its first record will be number `first`."""
    sector = bytearray(paths.BOOTSECTOR.read_bytes())
    struct.pack_into("<I", sector, FIRST_OFFSET, first)
    return bytes(sector)


def install(image, first=0):
    """Writes the guest into sector 0 of a raw image or fixed VHD; its first record will be number `first`."""
    with open(image, "r+b") as disk:
        disk.write(code(first))


def record(number):
    """The bytes of a record."""
    words, word = [number], number
    for _ in range(SECTOR // 4 - 1):
        word = (word * 1664525 + 1013904223) & 0xFFFFFFFF
        words.append(word)
    return struct.pack(f"<{len(words)}I", *words)


def offset(number):
    """Where a record lies on the disk, in bytes."""
    return (8 + 8 * (number * 40503 % SLOTS)) * SECTOR


def lost(image, numbers):
    """Those of the acknowledged records that are not on the disk; a slot holds the newest of its numbers.

    The record after the last acknowledged one may have been written too.
    """
    newest = {}
    for number in sorted(numbers):
        newest[offset(number)] = number
    following = max(numbers, default=-1) + 1
    missing = []
    with open(image, "rb") as disk:
        for place, number in newest.items():
            disk.seek(place)
            data = disk.read(SECTOR)
            if data != record(number) and not (place == offset(following) and data == record(following)):
                missing.append(number)
    return sorted(missing)


def definition(name, disk_path, accel="tcg", image_format="raw", size=DISK_SIZE):
    """Text of a VM definition; disk_path is relative to the definition's folder."""
    lines = ["[vm]", f"name = {name}", "memory = 32", f"accel = {accel}", "",
             "[disk 0]", f"path = {disk_path}", f"format = {image_format}"]
    if image_format == "raw":
        lines.append(f"size = {size}")
    return "\n".join(lines + ["", "[serial]", f"log = {name}.log", ""])
