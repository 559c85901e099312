# SPDX-License-Identifier: GPL-2.0-or-later
"""Interrupts: one way out for all of them, and none while tidying up."""
import contextlib
import signal
import threading

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def unify():
    """Make SIGTERM and SIGHUP raise what Ctrl-C raises."""
    for number in NUMBERS:
        signal.signal(number, _interrupt)


def _interrupt(number, frame):
    raise KeyboardInterrupt


@contextlib.contextmanager
def shielded():
    """Ignore interrupts meanwhile; for tidying up, which is short and must end."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread gets signals, and only it may set handlers
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in NUMBERS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
