# SPDX-License-Identifier: GPL-2.0-or-later
"""Finding and signalling processes by what they belong to, never by name."""
import os
import signal

from .errors import WaitTimeout
from .instance import MARK
from .wait import wait_until

STOPPED = frozenset("Tt")
GONE = frozenset("ZX")


def namespace_id(path):
    """(device, inode) that identifies the namespace behind a path, or None."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return (info.st_dev, info.st_ino)


def all_pids():
    """Every process id of this PID namespace, ourselves excepted."""
    own = os.getpid()
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != own]


def stat_fields(pid):
    """Fields of /proc/PID/stat from the third (the state) on; [] if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return parse_stat(file.read().decode(errors="replace"))
    except OSError:
        return []


def parse_stat(text):
    """Fields of a /proc/PID/stat from the third on; [] for an empty text."""
    # The command name may contain blanks and brackets: look behind its last bracket.
    return text.rpartition(")")[2].split()


def state_of(pid):
    """One-letter state of a process; 'X' if there is none."""
    return (stat_fields(pid) or ["X"])[0]


def name_of(pid):
    """Name of the program that a process runs, at most 15 bytes; '' if there is no such process."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def recorded(pidfile):
    """Pid from a file written by shell.spawn_detached(), if that process lives, else None.

    The start time guards against a pid that has been given to somebody else.
    """
    pid, start_time = written(pidfile)
    if not pid or stat_fields(pid)[19:20] != [start_time]:
        return None
    return int(pid) if alive(pid) else None


def written(pidfile):
    """(pid, start time) as texts from a file written by shell.spawn_detached(); (None, None) if there is none."""
    try:
        pid, start_time = pidfile.read_text().split()
    except (OSError, ValueError):
        return None, None
    return pid, start_time


def is_same(fields, start_time):
    """Whether the fields of a stat file are those of a live process with that start time."""
    return bool(fields) and fields[19] == start_time and fields[0] not in GONE


def alive(pid):
    """Whether the process exists and is more than a zombie: a thread that still ends keeps its files open."""
    if state_of(pid) not in GONE:
        return True
    try:
        return len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def mark_of(pid):
    """Value of MARK in the process's start environment, or ''."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = file.read()
    except OSError:
        return ""
    key = MARK.encode() + b"="
    for entry in environment.split(b"\0"):
        if entry.startswith(key):
            return os.fsdecode(entry[len(key):])
    return ""


def in_namespaces(ids):
    """Live processes whose network or mount namespace is one of `ids`."""
    ids = {entry for entry in ids if entry}
    if not ids:
        return set()
    return {pid for pid in all_pids()
            if (namespace_id(f"/proc/{pid}/ns/net") in ids
                or namespace_id(f"/proc/{pid}/ns/mnt") in ids) and alive(pid)}


def with_mark(prefix):
    """Live processes that were started with a mark of this prefix."""
    return {pid for pid in all_pids() if mark_of(pid).startswith(prefix) and alive(pid)}


def send(pid, number):
    """Send a signal; a process that has gone meanwhile is no error."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def kill_all(find, what, seconds=10):
    """SIGKILL what find() returns until it returns nothing.

    Repeated, because a process may fork between the look and the signal.
    """
    def step():
        pids = find()
        for pid in pids:
            send(pid, signal.SIGKILL)
        return not pids

    try:
        wait_until(f"the end of all processes of {what}", step, seconds, every=0.01)
    except WaitTimeout as error:
        stuck = ", ".join(f"{pid} ({state_of(pid)})" for pid in sorted(find()))
        raise WaitTimeout(f"{error}; still there: {stuck}") from None


def stands_still(pid):
    """Whether a process is stopped, or will be before it does anything: it waits in the kernel and has a SIGSTOP to come.

    The latter is the fate of whoever waits for a FUSE mount whose process is stopped.
    """
    state = state_of(pid)
    return state in STOPPED or (state == "D" and stop_is_pending(pid))


def stop_is_pending(pid):
    """Whether a SIGSTOP has been sent that has not taken effect yet."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            fields = dict(line.split(":", 1) for line in file)
    except OSError:
        return False
    return bool(int(fields["ShdPnd"], 16) & 1 << (signal.SIGSTOP - 1))


def stop_all(find, what, seconds=5):
    """SIGSTOP what find() returns until every one of them stands still."""
    def step():
        running = [pid for pid in find() if not stands_still(pid)]
        for pid in running:
            send(pid, signal.SIGSTOP)
        return not running

    wait_until(f"all processes of {what} to stop", step, seconds, every=0.01)


def continue_all(find, what, seconds=5):
    """SIGCONT what find() returns until none of them stands still."""
    def step():
        stopped = [pid for pid in find() if stands_still(pid)]
        for pid in stopped:
            send(pid, signal.SIGCONT)
        return not stopped

    wait_until(f"all processes of {what} to continue", step, seconds, every=0.01)
