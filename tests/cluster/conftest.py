# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures: one cluster start serves many tests, each of which may break it.

`cluster`       nodes with csvfs mounted; instance CSV_CLUSTER (default: pytest)
`bare_cluster`  the same without csvfs, for tests of the test bed itself; the
                instance's name ends in -bare, so both may live at once

Every test gets the cluster whole, whatever the one before did to it.
"""
import sys

import pytest

from fixtures import load, place, trio  # noqa: F401
from harness import Cluster, Instance, leftovers, logs, signals
from harness.instance import ROOT

sys.path.append(str(ROOT / "tests" / "demo"))  # vm: virtual machines on a node


def pytest_configure(config):
    # A terminated run shall tear down like an interrupted one.
    signals.unify()


def run_cluster(request, cluster):
    """Generator for a session fixture: bring up, hand over, always tear down."""
    cluster.down()  # what a killed run may have left
    cluster.up()
    try:
        yield cluster
    finally:
        if request.session.testsfailed:
            logs.keep(cluster.instance, ROOT / "build" / "logs" / cluster.instance.name)
        cluster.down()
        assert leftovers.find(cluster.instance) == []


@pytest.fixture(scope="session")
def instance_name():
    """Name of the instance that the tests may use; more are made by adding to it."""
    return Instance.from_environment("pytest").name


@pytest.fixture(scope="session")
def session_cluster(request, instance_name):
    yield from run_cluster(request, Cluster(instance_name, luns=2))


@pytest.fixture(scope="session")
def session_bare_cluster(request, instance_name):
    # A short token: the tests wait for deaths to be noticed.
    yield from run_cluster(request, Cluster(f"{instance_name}-bare", token_ms=400, use_csvfs=False))


@pytest.fixture
def cluster(session_cluster):
    yield session_cluster
    session_cluster.heal()


@pytest.fixture
def bare_cluster(session_bare_cluster):
    yield session_bare_cluster
    session_bare_cluster.heal()
