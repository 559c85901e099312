# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbered records, as recorder.py writes them and agent.py finds them again."""
import os

SIZE = 4096   # bytes of a record
SLOTS = 4096  # records of an image; the next one overwrites the first
KEPT = 20     # files that a recorder of names leaves
RECORDS = 50  # that tests have acknowledged before a fault


def content(number):
    """The bytes of a record."""
    return (b"record %010d\n" % number * (SIZE // 18 + 1))[:SIZE]


def offset(number):
    """Where in an image a record lies, in bytes."""
    return number % SLOTS * SIZE


def lost_of_image(path, last, first=0):
    """Those of the acknowledged records first..last that are not in the image. The one after the last may be there."""
    lost = []
    fd = os.open(path, os.O_RDONLY)
    for number in range(max(first, last - SLOTS + 1), last + 1):
        found = os.pread(fd, SIZE, offset(number))
        following = last + 1 if offset(last + 1) == offset(number) else number
        if found not in (content(number), content(following)):
            lost.append(number)
    os.close(fd)
    return lost


def lost_of_files(folder, last):
    """Those of the files 0..last that are not there or not whole."""
    return lost_among(folder, range(last + 1))


def lost_among(folder, numbers):
    """Those of the numbered files that are not there or not whole."""
    lost = []
    for number in numbers:
        try:
            with open(f"{folder}/{number}", "rb") as file:
                if file.read() == content(number):
                    continue
        except FileNotFoundError:
            pass
        lost.append(number)
    return lost


def lost_of_names(folder, last):
    """What is not as the acknowledged records 0..last left it: numbers and names. The next one may be at any point."""
    names = set(os.listdir(folder))
    kept = range(max(0, last - KEPT + 1), last + 1)
    following = {str(last + 1), f"{last + 1}.new"}
    back = {name for name in names if name.removesuffix(".new").isdigit()} - set(map(str, kept)) - following
    # The next record's last act unlinks the oldest, if it was KEPT files ago.
    oldest = {last + 1 - KEPT} if str(last + 1) in names else set()
    return [number for number in lost_among(folder, kept) if number not in oldest] + sorted(back)
