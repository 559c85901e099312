# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures: one start of the lab serves all tests, each of which may break it."""
import sys

import pytest

from bed import Lab
from fixtures import load, place, trio  # noqa: F401
from harness import Instance, leftovers, logs, signals
from harness.instance import ROOT

sys.path.append(str(ROOT / "tests" / "demo"))  # vm: what the imported tests import

# Tests of the cluster that test_cluster.py has imported.
pytest.register_assert_rewrite("test_coherence", "test_deaths", "test_exclusion", "test_handoff")


def pytest_configure(config):
    # A terminated run shall tear down like an interrupted one.
    signals.unify()


@pytest.fixture(scope="session")
def session_lab(request):
    lab = Lab(Instance.from_environment("pytest-lab").name, use_csvfs=True, fencing=True)
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
    """Three machines with the volume mounted, all well."""
    yield session_lab
    session_lab.heal()


@pytest.fixture
def cluster(lab):
    """What the cluster's tests call it."""
    return lab
