# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures for tests with virtual machines: the built guests, and an accelerator that works here."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from vm import accel as accelerators  # noqa: E402
from vm import paths  # noqa: E402


@pytest.fixture(scope="session")
def guests():
    """Both guests, built."""
    paths.build_all()


@pytest.fixture(scope="session")
def accel(guests):
    """kvm or tcg."""
    return accelerators.choose()
