# SPDX-License-Identifier: GPL-2.0-or-later
"""csvadm on a node: its answers, and its refusals."""
import json

from harness.instance import BIN, VOLUME


def adm(node, *words, timeout=60):
    """The JSON object of a command that works."""
    return json.loads(node.run([BIN / "csvadm", "--json", *words], timeout=timeout * node.slowness).stdout)


def volume(node):
    """The volume as `csvadm status` of the node tells it; {} if it is not mounted there."""
    return next((v for v in adm(node, "status")["volumes"] if v["name"] == VOLUME), {})


def slot(node, number):
    """A slot of the volume as its block on the LUN tells it."""
    return adm(node, "volume", "info", VOLUME)["slots"][number]


def refused(node, code, *words, parts=(), timeout=60):
    """The command fails with this exit code and one line on standard error that has these parts."""
    done = node.run([BIN / "csvadm", *words], check=False, timeout=timeout)
    assert done.returncode == code, f"exit {done.returncode}: {done.stderr}"
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("csvadm: "), done.stderr
    assert done.stdout == ""
    for part in parts:
        assert part in done.stderr, done.stderr
    return done.stderr
