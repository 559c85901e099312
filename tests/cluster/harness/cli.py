# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands up, down, node, ctl and leftovers have in common."""
import os
import sys

from . import signals
from .errors import HarnessError


def main(command, function, failure=1):
    """Run a command's function; returns the exit code (`failure` if it fails)."""
    signals.unify()
    if os.geteuid() != 0:
        print(f"{command}: must run as root: it makes network namespaces", file=sys.stderr)
        return failure
    try:
        return function() or 0
    except HarnessError as error:
        print(f"{command}: {error}", file=sys.stderr)
        return failure
    except KeyboardInterrupt:
        print(f"{command}: interrupted", file=sys.stderr)
        return 130
