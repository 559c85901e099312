# SPDX-License-Identifier: GPL-2.0-or-later
"""Mounts outside the boxes. The harness makes none; a test or a person might."""
import re

from .shell import run


def parse_mountinfo(text):
    """(mount point, source) of each line of a /proc/PID/mountinfo."""
    found = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        point, source = left.split()[4], right.split()[1]
        found.append((_unescape(point), _unescape(source), _unescape(left.split()[3])))
    return found


def _unescape(text):
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def below(path, mountinfo="/proc/self/mountinfo"):
    """Mount points at or below a path, deepest last."""
    with open(mountinfo, encoding="utf-8") as file:
        entries = parse_mountinfo(file.read())
    path = str(path)
    return [point for point, _, _ in entries if point == path or point.startswith(path + "/")]


def unmount_below(path):
    """Lazily unmount everything at or below a path."""
    for point in reversed(below(path)):
        run(["umount", "-l", point])
