# SPDX-License-Identifier: GPL-2.0-or-later
"""Bounded waiting: the only place where the harness sleeps."""
import time

from .errors import WaitTimeout

POLL_S = 0.03


def wait_until(what, check, seconds, every=POLL_S, dead=None):
    """Call check() until it returns something true, and return that.

    what     the condition in words, for the message of a failed wait
    check    called at least once, also when `seconds` is 0
    seconds  deadline, from now
    every    pause between two calls, in seconds
    dead     optional; returns a text as soon as waiting has become pointless
             (the process waited for has exited), else something false

    Raises WaitTimeout, which names `what`, and the last answer of check().
    """
    start = time.monotonic()
    while True:
        answer = check()
        if answer:
            return answer
        reason = dead() if dead else None
        if reason:
            raise WaitTimeout(f"gave up waiting for {what}: {reason}")
        if time.monotonic() - start >= seconds:
            raise WaitTimeout(f"waited {seconds:g} s in vain for {what}; last answer: {answer!r}")
        time.sleep(every)
