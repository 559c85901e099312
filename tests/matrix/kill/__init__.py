# SPDX-License-Identifier: GPL-2.0-or-later
"""The kill matrix: who dies or stands still, and in the middle of what. docs/TESTING.md tells what a cell is.

rows     who: what is done to the victim, and what brings it back
columns  when: what the victim is doing meanwhile
cell     one of each: the course of things, what is measured and what is checked
beds     the cluster that it happens to: namespaces on this host, or virtual machines
"""
import sys
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[2]
sys.path += [str(_TESTS / "cluster"), str(_TESTS / "lab")]
