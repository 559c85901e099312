#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Persistent reservations by the kernel's IOC_PR_* (linux/pr.h): pr_ioctl.py DEVICE VERB NUMBER...

    register OLD NEW    reserve KEY TYPE    release KEY TYPE    preempt OWN VICTIM TYPE    preempt-abort ...    clear KEY

TYPE is the kernel's number. Prints "ok", the name of the error, or "status N": the SCSI status of the target's
refusal, which the ioctl returns as if it were a success.
"""
import errno
import fcntl
import os
import struct
import sys

# (nr, layout, size) of the arguments; every layout ends with its padding or flags.
_VERBS = {"register": (200, "=QQII", "old new flags pad"), "reserve": (201, "=QII", "key type flags"),
          "release": (202, "=QII", "key type flags"), "preempt": (203, "=QQII", "old new type flags"),
          "preempt-abort": (204, "=QQII", "old new type flags"), "clear": (205, "=QII", "key flags pad")}


def request(number, layout):
    """_IOW('p', number, struct)."""
    return 1 << 30 | struct.calcsize(layout) << 16 | ord("p") << 8 | number


def main():
    device, verb, *numbers = sys.argv[1:]
    number, layout, fields = _VERBS[verb]
    values = [int(text, 0) for text in numbers]
    values += [0] * (len(fields.split()) - len(values))
    fd = os.open(device, os.O_RDWR)
    try:
        status = fcntl.ioctl(fd, request(number, layout), bytearray(struct.pack(layout, *values)))
    except OSError as error:
        print(errno.errorcode[error.errno])
    else:
        print(f"status {status:#x}" if status else "ok")


main()
