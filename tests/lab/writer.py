#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes rising numbers to one block of a disk, straight to the LUN: writer.py DEVICE BLOCK.

Says each number once it is acknowledged; ends with "refused NUMBER ERROR".
"""
import errno
import mmap
import os
import struct
import sys

BLOCK = 4096


def main():
    fd = os.open(sys.argv[1], os.O_WRONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, BLOCK)  # O_DIRECT wants alignment
    number = 0
    while True:
        number += 1
        buffer[:8] = struct.pack("<Q", number)
        try:
            os.pwrite(fd, buffer, int(sys.argv[2]) * BLOCK)
        except OSError as error:
            print("refused", number, errno.errorcode[error.errno], flush=True)
            return
        print(number, flush=True)


main()
