# SPDX-License-Identifier: GPL-2.0-or-later
"""One harness at a time works on an instance."""
import contextlib
import fcntl
import os
import time

from .errors import HarnessError

WAIT_S = 120  # longer than any up or down takes


@contextlib.contextmanager
def instance_lock(instance):
    """Hold the instance's lock; it ends with its process, however that ends.

    The lock is on the state directory itself, so that no file stays behind.
    `down` removes that directory: whoever waited must look whether it still
    has the directory that bears the name.
    """
    deadline = time.monotonic() + WAIT_S
    while True:
        fd = _take(instance, deadline)
        try:
            if _is_current(fd, instance.state):
                yield
                return
        finally:
            os.close(fd)


def _take(instance, deadline):
    """Open and lock the state directory, making it if need be."""
    instance.state.mkdir(parents=True, exist_ok=True)
    try:
        fd = os.open(instance.state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return _take(instance, deadline)
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(fd)
                raise HarnessError(f"another up or down of cluster {instance.name}"
                                   f" has been working for {WAIT_S} s") from None
            time.sleep(0.05)


def _is_current(fd, path):
    """Whether an open directory is the one that a path names now."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
