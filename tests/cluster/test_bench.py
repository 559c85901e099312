# SPDX-License-Identifier: GPL-2.0-or-later
"""The measurement of what locks cost (make bench-locks) works: a few samples of each kind. How fast is not asked."""
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

from harness.instance import ROOT

COUNT, ROUNDS = 20, 2


def program(path):
    """A program of ours as a module."""
    loader = SourceFileLoader(path.name, str(path))
    module = module_from_spec(spec_from_loader(path.name, loader))
    loader.exec_module(module)
    return module


def test_locks(cluster):
    bench = program(ROOT / "tests" / "bench" / "locks")
    found = bench.measure(cluster, "cpg", bench.KINDS, ROUNDS, COUNT)
    assert len(found) == ROUNDS
    for kind, *_ in bench.KINDS:
        assert all(r[kind]["n"] == COUNT and 0 < r[kind]["p50_us"] <= r[kind]["p99_us"] for r in found), kind
    rows = bench.summary(bench.KINDS, found, {})
    assert rows["first"]["base"] == "cpg-own" and rows["pingpong"]["ratio_p50"] > 0
