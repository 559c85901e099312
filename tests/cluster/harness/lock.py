# SPDX-License-Identifier: GPL-2.0-or-later
"""Nobody makes or removes an instance while somebody else works on it."""
import contextlib
import fcntl
import os
import time

from .errors import HarnessError

WAIT_S = 120  # longer than any up or down takes


@contextlib.contextmanager
def instance_lock(instance, shared=False):
    """Hold the instance's lock; it ends with its process, however that ends.

    shared  for faults and repairs: several at once, but none during up and down

    The lock is on the state directory itself, so that no file stays behind.
    `down` removes that directory: whoever waited must look whether it still
    has the directory that bears the name.
    """
    deadline = time.monotonic() + WAIT_S
    while True:
        fd = _take(instance, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, deadline)
        try:
            if _is_current(fd, instance.state):
                yield
                return
        finally:
            os.close(fd)


def _take(instance, kind, deadline):
    """Open and lock the state directory, making it if need be."""
    instance.state.mkdir(parents=True, exist_ok=True)
    try:
        fd = os.open(instance.state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return _take(instance, kind, deadline)
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(fd)
                raise HarnessError(f"another up, down or ctl of cluster {instance.name}"
                                   f" has been working for {WAIT_S} s") from None
            time.sleep(0.05)


def _is_current(fd, path):
    """Whether an open directory is the one that a path names now."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
