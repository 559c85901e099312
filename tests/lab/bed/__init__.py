# SPDX-License-Identifier: GPL-2.0-or-later
"""A cluster of virtual machines with the stock kernel; docs/LAB.md tells how it is made.

Tests need `Lab`, which is used like harness.Cluster: the same methods, other nodes.
"""
import sys
from pathlib import Path

# The lab is the test bed's harness with another kind of node.
sys.path.append(str(Path(__file__).resolve().parents[2] / "cluster"))

from .lab import Lab  # noqa: E402

__all__ = ["Lab"]
