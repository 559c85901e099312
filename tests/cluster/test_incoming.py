# SPDX-License-Identifier: GPL-2.0-or-later
"""Incoming VMs when csvlockd of the destination is killed: none is left behind, and no stranger is ended."""
import json
import subprocess
from pathlib import Path

import pytest

from agents import Agent
from daemons import kill_program
from harness.instance import BIN
from harness.wait import wait_until

# Starts a "VM" and notes it; its first run then hangs, if it is told to, before it has answered.
HOOK = """#!/bin/sh
sleep 600 >/dev/null 2>&1 &
vm=$!
echo "$vm $(cut -d ' ' -f 22 /proc/$vm/stat)" > "$CSV_INCOMING_FILE"
echo $vm >> {folder}/vms
if [ -e {folder}/hang ]; then
    rm {folder}/hang
    echo $$ >> {folder}/hung
    exec sleep 600
fi
echo '{{"schema": 1, "pid": '$vm', "incoming": "tcp:10.77.3.2:4444"}}'
"""


def numbers(path):
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def lives(pid):
    """Runs; one whose parent has not asked for its end does not."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


class Stage:
    """An image that is open on n1, and a hook on n2."""

    def __init__(self, cluster, place, folder):
        self.cluster, self.place, self.folder = cluster, place, folder
        self.n1, self.n2 = cluster.node("n1"), cluster.node("n2")
        (folder / "hook").write_text(HOOK.format(folder=folder))
        (folder / "web1.ini").write_text("[vm]\nname = web1\n")
        self.n2.run(["install", "-D", "-m", "755", folder / "hook", "/etc/csvfs/hooks/vm-launch"])
        self.n1.run(["cp", folder / "web1.ini", f"{place}/web1.ini"])
        self.agent = Agent(self.n1)
        self.agent.open("d0", f"{place}/web1.raw", "O_RDWR|O_CREAT")

    def prepare(self):
        return self.n1.popen([BIN / "csvadm", "--json", "handoff", "prepare", f"{self.place}/web1.raw", "--to", "n2",
                              "--definition", f"{self.place}/web1.ini", "--launch", "--uri", "tcp:10.77.3.2"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def prepared(self, call=None):
        out, err = (call or self.prepare()).communicate(timeout=60)
        made = json.loads(out)
        assert made["state"] == "prepared", out + err
        return made["id"]

    def abort(self, ident):
        self.n1.run([BIN / "csvadm", "handoff", "abort", ident])

    def kill_lockd(self):
        kill_program(self.n2, "csvlockd")

    def vms(self):
        return numbers(self.folder / "vms")

    def close(self):
        self.agent.kill()
        for pid in self.vms() + numbers(self.folder / "hung"):
            if lives(pid):
                subprocess.run(["kill", "-KILL", str(pid)], check=False)


@pytest.fixture
def stage(cluster, place, tmp_path):
    made = Stage(cluster, place, tmp_path)
    yield made
    made.close()


def test_is_ended_by_the_next_csvlockd(stage):
    ident = stage.prepared()
    stage.kill_lockd()
    stage.cluster.start("n2")
    vm, = stage.vms()
    assert lives(vm)
    stage.abort(ident)
    wait_until("the incoming VM to be ended", lambda: not lives(vm), 15)


def test_was_kept_while_csvlockd_was_away(stage):
    ident = stage.prepared()
    vm, = stage.vms()
    stage.kill_lockd()
    stage.abort(ident)
    stage.cluster.start("n2")
    wait_until("the incoming VM to be ended", lambda: not lives(vm), 15)


def test_csvlockd_dies_while_the_hook_runs(stage):
    """Asked to prepare once more, its successor ends what the first hook has started, and starts anew."""
    (stage.folder / "hang").touch()
    call = stage.prepare()
    wait_until("the hook to hang", lambda: numbers(stage.folder / "hung"), 20)
    stage.kill_lockd()
    stage.cluster.start("n2")
    ident = stage.prepared(call)
    first, second = stage.vms()
    assert not lives(first) and lives(second)
    stage.abort(ident)
    wait_until("the incoming VM to be ended", lambda: not lives(second), 15)


def test_a_number_used_again_is_a_stranger(stage):
    """The VM has ended and its number belongs to somebody else."""
    ident = stage.prepared()
    vm, = stage.vms()
    stage.kill_lockd()
    note = f"/run/csvfs/incoming/{ident}"
    number, start = stage.n2.run(["cat", note]).stdout.split()
    assert int(number) == vm
    stage.n2.run(["sh", "-c", f"echo {vm} {int(start) - 1} > {note}"])
    stage.cluster.start("n2")
    stage.abort(ident)
    wait_until("the note to go", lambda: stage.n2.run(["test", "-e", note], check=False).returncode == 1, 15)
    assert lives(vm)
