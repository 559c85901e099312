# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs inside a node: writes records without end and prints the number of each once it is durable.

usage: recorder.py image PATH FIRST [COUNT]    records in an image of records.SLOTS records
       recorder.py files FOLDER FIRST [COUNT]  a new file for each record
       recorder.py names FOLDER FIRST [COUNT]  the same by way of another name; records.KEPT files are left
COUNT: after so many it does nothing more, but keeps open what it has open.
"""
import itertools
import os
import signal
import sys

import records


def into_image(path, number):
    fd = os.open(path, os.O_RDWR)
    while True:
        os.pwrite(fd, records.content(number), records.offset(number))
        os.fsync(fd)
        yield number
        number += 1


def new_file(path, number):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(fd, records.content(number))
    os.fsync(fd)
    os.close(fd)


def into_files(folder, number):
    directory = os.open(folder, os.O_RDONLY)
    while True:
        new_file(f"{folder}/{number}", number)
        os.fsync(directory)
        yield number
        number += 1


def into_names(folder, number):
    directory = os.open(folder, os.O_RDONLY)
    while True:
        new_file(f"{folder}/{number}.new", number)
        os.rename(f"{folder}/{number}.new", f"{folder}/{number}")
        if number >= records.KEPT:
            os.unlink(f"{folder}/{number - records.KEPT}")
        os.fsync(directory)
        yield number
        number += 1


def main(kind, path, first, count=None):
    into = {"image": into_image, "files": into_files, "names": into_names}[kind]
    for done in itertools.islice(into(path, int(first)), count and int(count)):
        print(done, flush=True)
    signal.pause()


main(*sys.argv[1:])
