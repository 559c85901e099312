# SPDX-License-Identifier: GPL-2.0-or-later
"""What the harness raises. One type is enough for callers: they report and stop."""


class HarnessError(Exception):
    """A step of the harness failed; the text says which and what to do."""


class WaitTimeout(HarnessError):
    """A bounded wait ended without its condition; the text names the condition."""
