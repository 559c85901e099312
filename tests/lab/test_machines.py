# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab itself: machines, what runs in them, and the faults."""
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import HarnessError
from harness.instance import BIN
from harness.wait import wait_until

EVENT_S = 120


def test_machines_form_a_cluster(lab):
    names = [node.name for node in lab.nodes]
    lab.wait_members(names, names, quorate=True)
    for node in lab.nodes:
        assert node.run(["hostname"]).stdout == f"{node.name}\n"
        assert node.run(["uname", "-r"]).stdout.endswith("-amd64\n")  # Debian's generic kernel
        assert node.run([BIN / "csvadm", "--help"], check=False).returncode in (0, 2)


def test_a_command_is_as_if_it_ran_here(lab):
    node = lab.nodes[0]
    done = node.run(["sh", "-c", "cat; echo $WORD; pwd; echo wrong >&2; exit 7"], check=False, input="some\ninput\n",
                    cwd=node.dir, env={**node.environment(), "WORD": "two words"})
    assert (done.returncode, done.stdout, done.stderr) == (7, f"some\ninput\ntwo words\n{node.dir}\n", "wrong\n")
    data = bytes(range(256)) * 8192
    assert node.run(["cat"], input=data, text=False).stdout == data
    assert node.run(["no-such-program"], check=False).returncode == 127
    assert node.run(["sh", "-c", "kill -KILL $$"], check=False).returncode == -signal.SIGKILL
    with pytest.raises(HarnessError, match="no end after"):
        node.run(["sleep", "1000"], timeout=1)
    wait_until("the command to end with its caller",
               lambda: "sleep" not in node.run(["ps", "-A", "-o", "comm="]).stdout.split(), EVENT_S)


def test_commands_run_side_by_side(lab):
    node = lab.nodes[0]
    node.run(["mkfifo", "/run/meeting"])
    with ThreadPoolExecutor(2) as pool:  # each needs the other
        reader = pool.submit(node.run, ["cat", "/run/meeting"])
        writer = pool.submit(node.run, ["sh", "-c", "echo met >/run/meeting"])
        assert reader.result().stdout == "met\n" and writer.result().returncode == 0


def test_the_work_folder_is_shared(lab):
    one, two = lab.nodes[:2]
    (one.dir / "word").write_text("from the host")
    assert one.run(["cat", one.dir / "word"]).stdout == "from the host"
    two.run(["sh", "-c", 'echo from n2 >"$0"', one.dir / "word"])
    assert (one.dir / "word").read_text() == one.run(["cat", one.dir / "word"]).stdout == "from n2\n"
    one.run(["touch", "/etc/own"])  # elsewhere each machine's files are its own
    assert two.run(["test", "-e", "/etc/own"], check=False).returncode == 1


def test_daemon_outlives_its_starter(lab):
    node = lab.nodes[0]
    node.spawn("sleeper", ["sh", "-c", "echo begun; exec sleep 1000"])
    pid = node.pid_of("sleeper")
    assert pid and node.run(["cat", f"/proc/{pid}/comm"]).stdout == "sleep\n"
    assert (node.dir / "sleeper.log").read_text() == "begun\n"
    node.run(["kill", "-KILL", str(pid)])
    wait_until("the daemon to end", lambda: node.pid_of("sleeper") is None, EVENT_S)


def test_storage_network_cut(lab):
    node = lab.nodes[1]

    def session():
        return node.run(["sh", "-c", "cat /sys/class/iscsi_session/session*/state"]).stdout.strip()

    assert session() == "LOGGED_IN"
    lab.lun_cut("n2")
    child = node.popen(["dd", f"if={lab.disk()}", "of=/dev/null", "bs=4096", "count=1", "iflag=direct"],
                       stderr=subprocess.DEVNULL)
    wait_until("the session to be found dead", lambda: session() == "FAILED", EVENT_S)
    assert child.poll() is None
    lab.lun_heal("n2")
    assert child.wait(EVENT_S) == 0
    assert session() == "LOGGED_IN"
