# SPDX-License-Identifier: GPL-2.0-or-later
"""Sizes as csvadm takes them: binary K, M, G, T."""
import re

from .errors import HarnessError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(value):
    """Bytes from an int or a text such as '8G'."""
    match = re.fullmatch(r"(\d+)([KMGT]?)", str(value))
    if not match or int(match[1]) == 0:
        raise HarnessError(f"size {value}: use a number of bytes, or with K, M, G or T")
    return int(match[1]) * _UNITS[match[2]]
