# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's network card follows it: two nodes with a bridge each, a switch between them, all in namespaces."""
import json
import os
import subprocess
import time

import pytest

from vm import disk, linux
from vm.machine import Machine
from vm.seriallog import SerialLog

MAC = "52:54:00:c5:f5:07"
LEARN_DEADLINE_S = 5.0


def ip(*words, namespace=None):
    """Runs ip, inside a namespace if one is given; what it prints."""
    within = ["-n", namespace] if namespace else []
    return subprocess.run(["ip", *within, *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def add_bridge(namespace, name):
    ip("link", "add", name, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0", namespace=namespace)
    ip("link", "set", name, "up", namespace=namespace)


@pytest.fixture
def lan():
    """Namespaces sw, n1, n2 (name -> real name); n1 and n2 have vmbr0 with an uplink to sw's ports p1 and p2."""
    names = {name: f"csvt{os.getpid()}{name}" for name in ("sw", "n1", "n2")}
    made = []
    try:
        for real in names.values():
            ip("netns", "add", real)
            made.append(real)
        add_bridge(names["sw"], "sw0")
        for number in (1, 2):
            real = names[f"n{number}"]
            add_bridge(real, "vmbr0")
            ip("link", "add", "up0", "netns", real, "type", "veth", "peer", "name", f"p{number}", "netns", names["sw"])
            ip("link", "set", "up0", "master", "vmbr0", "up", namespace=real)
            ip("link", "set", f"p{number}", "master", "sw0", "up", namespace=names["sw"])
            ip("addr", "add", f"10.77.7.{number}/24", "dev", "vmbr0", namespace=real)
        yield names
    finally:
        for real in made:
            ip("netns", "del", real)


def port_of(namespace, mac):
    """Port of the switch behind which it has seen this address, None if it has not."""
    # Reads no more than the switch's own table: nothing is sent to find out.
    text = subprocess.run(["ip", "netns", "exec", namespace, "bridge", "-j", "fdb", "show", "br", "sw0"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    return next((entry["ifname"] for entry in json.loads(text) if entry["mac"] == mac), None)


def wait_port(namespace, mac, port):
    """Waits until the switch knows the address behind the port; how long that took, in ms."""
    begin = time.monotonic()
    while port_of(namespace, mac) != port:
        assert time.monotonic() - begin < LEARN_DEADLINE_S, port_of(namespace, mac)
        time.sleep(0.01)
    return (time.monotonic() - begin) * 1e3


def taps(namespace):
    """Names of the taps in a namespace."""
    return [link["ifname"] for link in json.loads(ip("-j", "link", namespace=namespace))
            if link["ifname"].startswith("csvtap")]


def test_mac_moves_with_the_guest(lan, tmp_path, accel):
    disk.create_fixed_vhd(tmp_path / "g.vhd", disk.GUEST_DISK)
    definition = tmp_path / "g.ini"
    append = linux.append_line(address="10.77.7.100/24")
    definition.write_text(linux.definition("g", "g.vhd", accel, append, bridge="vmbr0", mac=MAC))

    def node(name):
        return Machine(definition, tmp_path / name, tmp_path, prefix=("ip", "netns", "exec", lan[name]))

    with SerialLog(tmp_path / "g.log") as log, node("n1") as one, node("n2") as two:
        one.start()
        log.wait_records(100, linux.BOOT_DEADLINE_S)
        wait_port(lan["sw"], MAC, "p1")
        uri = two.start("tcp:10.77.7.2:0")
        with one.monitor() as monitor:
            monitor.migrate(uri)
        print(f"switch knows the new port {wait_port(lan['sw'], MAC, 'p2'):.0f} ms after completed")
        ping = subprocess.run(["ip", "netns", "exec", lan["n1"], "busybox", "ping", "-c", "2", "-w", "5",
                               "10.77.7.100"], stdout=subprocess.DEVNULL, check=False)
        assert ping.returncode == 0
        one.quit()
        assert taps(lan["n1"]) == [] and len(taps(lan["n2"])) == 1
        log.wait_records(100, 10)
        two.kill()
        assert taps(lan["n2"]) == []


def test_no_such_bridge(lan, tmp_path, accel):
    disk.create_raw(tmp_path / "g.raw", disk.GUEST_DISK)
    definition = tmp_path / "g.ini"
    definition.write_text(linux.definition("g", "g.raw", accel, bridge="nobr0"))
    machine = Machine(definition, tmp_path / "n1", tmp_path, prefix=("ip", "netns", "exec", lan["n1"]))
    with machine, pytest.raises(Exception, match="bridge nobr0: "):
        machine.start()
    assert taps(lan["n1"]) == []
