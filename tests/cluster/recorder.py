# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs inside a node: writes records without end and prints the number of each once it is durable.

usage: recorder.py image PATH FIRST    records in an image of records.SLOTS records
       recorder.py files FOLDER FIRST  a new file for each record
"""
import os
import sys

import records


def into_image(path, number):
    fd = os.open(path, os.O_RDWR)
    while True:
        os.pwrite(fd, records.content(number), records.offset(number))
        os.fsync(fd)
        yield number
        number += 1


def into_files(folder, number):
    directory = os.open(folder, os.O_RDONLY)
    while True:
        fd = os.open(f"{folder}/{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(fd, records.content(number))
        os.fsync(fd)
        os.close(fd)
        os.fsync(directory)
        yield number
        number += 1


for done in {"image": into_image, "files": into_files}[sys.argv[1]](sys.argv[2], int(sys.argv[3])):
    print(done, flush=True)
