# SPDX-License-Identifier: GPL-2.0-or-later
"""A real csvfs cluster on one host; docs/TESTBED.md tells how it is made.

Tests need `Cluster` (one instance), `wait_until` (bounded waiting) and
`HarnessError` (what every failing step raises).
"""
from .cluster import Cluster
from .errors import HarnessError, WaitTimeout
from .instance import Instance
from .wait import wait_until

__all__ = ["Cluster", "HarnessError", "Instance", "WaitTimeout", "wait_until"]
