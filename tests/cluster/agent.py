# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs inside a node: a process that does file operations one after the other and keeps its descriptors.

Each line on standard input is a JSON list [operation, arguments...]; each answer one JSON object with
"ok" (the result) or "errno".  Tests drive it through Agent (agents.py).
"""
import errno
import fcntl
import json
import os
import random
import signal
import struct
import sys
import threading
import time

import records

files = {}
threads, outcomes = [], {}  # of write_behind
blocks = {}  # of random_io: for each file what was written where
OFD_SETLK, OFD_GETLK, OFD_SETLKW = 37, 36, 38  # F_OFD_SETLK, F_OFD_GETLK, F_OFD_SETLKW of Linux
KINDS = {"r": fcntl.F_RDLCK, "w": fcntl.F_WRLCK, "u": fcntl.F_UNLCK}


def flock_struct(kind, start, length):
    return struct.pack("hhqqi4x", KINDS[kind], os.SEEK_SET, start, length, 0)


def op_open(name, path, flags, mode=0o644):
    value = 0
    for flag in flags.split("|"):
        value |= getattr(os, flag)
    files[name] = os.open(path, value, mode)


def op_close(name):
    os.close(files.pop(name))


def op_pwrite(name, text, offset):
    return os.pwrite(files[name], text.encode(), offset)


def op_write(name, text):
    return os.write(files[name], text.encode())


def op_pread(name, length, offset):
    return os.pread(files[name], length, offset).decode("latin-1")


def op_fsync(name):
    os.fsync(files[name])


def op_size(name):
    return os.fstat(files[name]).st_size


def op_nlink(name):
    return os.fstat(files[name]).st_nlink


def op_ofd_lock(name, kind, start, length):
    fcntl.fcntl(files[name], OFD_SETLK, flock_struct(kind, start, length))


def op_posix_lock(name, kind, start, length):
    fcntl.fcntl(files[name], fcntl.F_SETLK, flock_struct(kind, start, length))


def op_posix_wait(name, kind, start, length):
    fcntl.fcntl(files[name], fcntl.F_SETLKW, flock_struct(kind, start, length))


def op_ofd_wait(name, kind, start, length):
    fcntl.fcntl(files[name], OFD_SETLKW, flock_struct(kind, start, length))


def op_posix_many(name, kind, count, step):
    """Locks `count` bytes one by one, `step` apart."""
    for number in range(count):
        fcntl.fcntl(files[name], fcntl.F_SETLK, flock_struct(kind, number * step, 1))


def op_add_in_pairs(name, slots, count, seed):
    """Adds 1 to two of the counters in the file's blocks, `count` times, under the locks of both; who would wait for
    itself starts anew.  Returns how often that was."""
    rng, deadlocks = random.Random(seed), 0
    while count:
        pair = rng.sample(range(slots), 2)
        try:
            for slot in pair:
                op_posix_wait(name, "w", slot * records.SIZE, records.SIZE)
        except OSError as error:
            if error.errno != errno.EDEADLK:
                raise
            deadlocks += 1
        else:
            for slot in pair:
                value = int.from_bytes(os.pread(files[name], 8, slot * records.SIZE), "little") + 1
                os.pwrite(files[name], value.to_bytes(8, "little"), slot * records.SIZE)
            count -= 1
        op_posix_lock(name, "u", 0, 0)
    return deadlocks


def op_sum(name, slots):
    """Of the counters of op_add_in_pairs()."""
    return sum(int.from_bytes(os.pread(files[name], 8, slot * records.SIZE), "little") for slot in range(slots))


def op_posix_test(name, kind, start, length):
    answer = fcntl.fcntl(files[name], fcntl.F_GETLK, flock_struct(kind, start, length))
    return {v: k for k, v in KINDS.items()}[struct.unpack("hhqqi4x", answer)[0]]


def op_flock(name, how):
    fcntl.flock(files[name], getattr(fcntl, how) | fcntl.LOCK_NB)


def op_flock_wait(name, how):
    fcntl.flock(files[name], getattr(fcntl, how))


def op_fill(name, size):
    """Writes every block of the file's first `size` bytes, so that all is mapped."""
    step = 1 << 20
    for offset in range(0, size, step):
        os.pwrite(files[name], b"\x5a" * min(step, size - offset), offset)
    os.fsync(files[name])


def op_random_io(name, size, count, seed):
    """`count` random reads and writes of blocks, each checked against what was written there last."""
    rng, written = random.Random(seed), blocks.setdefault(name, {})
    for _ in range(count):
        block = rng.randrange(size // records.SIZE)
        if rng.random() < 0.5:
            written[block] = bytes([rng.randrange(256)]) * records.SIZE
            os.pwrite(files[name], written[block], block * records.SIZE)
        elif os.pread(files[name], records.SIZE, block * records.SIZE) != written.get(block, b"\x5a" * records.SIZE):
            return f"block {block} is not what was written"
    return "good"


def op_zeros(name, size, count, seed):
    """Whether `count` random blocks of the file's first `size` bytes are zeros."""
    rng = random.Random(seed)
    places = [rng.randrange(size // records.SIZE) * records.SIZE for _ in range(count)]
    return all(not any(os.pread(files[name], records.SIZE, place)) for place in places)


def op_write_behind(name, texts, again=False):
    """Starts a thread for each text, which writes it into the block of its number; `again`: until it fails."""
    def write(number, text):
        try:
            os.pwrite(files[name], text.encode(), number * records.SIZE)
            while again:
                os.pwrite(files[name], text.encode(), number * records.SIZE)
            outcomes[number] = 0
        except OSError as error:
            outcomes[number] = error.errno

    outcomes.clear()
    for number, text in enumerate(texts):
        threads.append(threading.Thread(target=write, args=(number, text), daemon=True))
        threads[-1].start()


def op_outcomes():
    """Waits for what write_behind() started; the errno of each, 0 for success."""
    while threads:
        threads.pop().join()
    return [outcomes[number] for number in sorted(outcomes)]


def op_lost(kind, path, last, *first):
    """Acknowledged records (records.py) that are not there; kind is image, files or names."""
    lost_of = {"image": records.lost_of_image, "files": records.lost_of_files, "names": records.lost_of_names}[kind]
    return lost_of(path, last, *first)


def op_write_through(path, text, offset, flags="O_RDWR"):
    """Opens a file, writes into it and has it durable."""
    op_open("through", path, flags)
    try:
        op_pwrite("through", text, offset)
        op_fsync("through")
    finally:
        op_close("through")


def op_until_done(seconds, operation, *arguments):
    """Does an operation again and again until it works; its last error after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return globals()[f"op_{operation}"](*arguments)
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.002)


def op_call(function, *arguments):
    """A function of os by name."""
    result = getattr(os, function)(*arguments)
    if isinstance(result, os.stat_result):
        return {key: getattr(result, key) for key in dir(result) if key.startswith("st_")}
    return result


def interrupted(_number, _frame):
    """Without it Python would go back into the system call."""
    raise InterruptedError(errno.EINTR, "signal")


def main():
    signal.signal(signal.SIGUSR1, interrupted)
    for line in sys.stdin:
        operation, *arguments = json.loads(line)
        try:
            answer = {"ok": globals()[f"op_{operation}"](*arguments)}
        except OSError as error:
            answer = {"errno": error.errno}
        print(json.dumps(answer), flush=True)


main()
