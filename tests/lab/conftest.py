# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures: one start of the lab serves all tests, each of which may break it."""
import pytest

from bed import Lab
from harness import Instance, leftovers, logs, signals
from harness.instance import ROOT


def pytest_configure(config):
    # A terminated run shall tear down like an interrupted one.
    signals.unify()


@pytest.fixture(scope="session")
def session_lab(request):
    lab = Lab(Instance.from_environment("pytest-lab").name)
    lab.down()  # what a killed run may have left
    lab.up()
    try:
        yield lab
    finally:
        if request.session.testsfailed:
            logs.keep(lab.instance, ROOT / "build" / "logs" / lab.instance.name)
        lab.down()
        assert leftovers.find(lab.instance) == []


@pytest.fixture
def lab(session_lab):
    """Three machines, all well."""
    yield session_lab
    session_lab.heal()
