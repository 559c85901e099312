# SPDX-License-Identifier: GPL-2.0-or-later
"""What vm-launch takes from a definition, what it refuses, and with which words. No QEMU is started."""
import hashlib
import json
import struct

import pytest

from vm import launcher
from vm.launcher import vm_launch

GOOD = """[vm]
name = web1
memory = 64
[disk 0]
path = web1.vhd
size = 1M
[nic 0]
bridge = vmbr0
mac = 52:54:00:00:00:01
[serial]
log = web1.log
"""


@pytest.fixture
def volume(tmp_path):
    """A folder with a definition's files; its parent holds what lies outside."""
    folder = tmp_path / "volume"
    folder.mkdir()
    (folder / "web1.vhd").write_bytes(bytes((1 << 20) + 512))
    (tmp_path / "secret").write_text("secret")
    return folder


@pytest.fixture
def node(tmp_path):
    """A node whose folders are all below tmp_path."""
    return vm_launch.Node(tmp_path / "run", tmp_path / "boot", tmp_path / "log", "qemu-system-x86_64", "")


def parse(volume, node, text):
    """The definition, as if it lay on the volume."""
    return vm_launch.parse_definition(text, volume / "web1.ini", node)


def test_good(volume, node):
    definition = parse(volume, node, GOOD)
    assert (definition.name, definition.memory, definition.cpus, definition.accel) == ("web1", 64, 1, "tcg")
    assert definition.disks == [vm_launch.Disk(volume / "web1.vhd", "raw", 1 << 20)]
    assert definition.nics == [vm_launch.Nic("vmbr0", "52:54:00:00:00:01")]
    assert definition.serial_log == "web1.log"


def test_memory_units(volume, node):
    assert parse(volume, node, GOOD.replace("memory = 64", "memory = 2G")).memory == 2048


BAD = [  # (what is replaced, by what, a part of the message)
    ("name = web1", "name = ../web1", "[vm] name"),
    ("name = web1", "name = web1,debug-threads=on", "[vm] name"),
    ("name = web1", "", "name is missing"),
    ("memory = 64", "memory = -1", "memory"),
    ("memory = 64", "memory = 9999999999", "memory"),
    ("memory = 64", "memory = 64,maxmem=1T", "memory"),
    ("memory = 64", "memory = 64\ncpus = 0", "cpus"),
    ("memory = 64", "memory = 64\naccel = kvm,nested=on", "accel"),
    ("memory = 64", "memory = 64\nmachine = q35,dumpdtb=/etc/x", "machine"),
    ("memory = 64", "memory = 64\ncpu = -daemonize", "cpu"),
    ("memory = 64", "memory = 64\nappend = quiet", "need kernel"),
    ("memory = 64", "memory = 64\ndaemonize = yes", "unknown key"),
    ("memory = 64", "memory = 64\nkernel = ../secret", "outside the volume"),
    ("[disk 0]", "[disk x]", "unknown section"),
    ("[disk 0]", "[usb 0]", "unknown section"),
    ("[vm]", "[vm2]", "unknown section"),
    ("[vm]", "name = x\n[vm]", "no section headers"),
    ("[serial]", "[vm]", "already exists"),
    ("path = web1.vhd", "path = ../secret", "outside the volume"),
    ("path = web1.vhd", "path = /etc/passwd", "outside the volume"),
    ("path = web1.vhd", "path = /dev/null", "outside the volume"),
    ("path = web1.vhd", "path = nothing.vhd", "No such file"),
    ("path = web1.vhd", "path = .", "not a regular file"),
    ("path = web1.vhd", "path = web1.vhd\nformat = vpc", "raw or qcow2"),
    ("path = web1.vhd", "path = web1.vhd\ncache = writeback", "only none"),
    ("size = 1M", "", "size is missing"),
    ("size = 1M", "size = 2M", "more than the file"),
    ("size = 1M", "size = 1000", "no multiple"),
    ("size = 1M", "size = 1M,offset=512", "size"),
    ("bridge = vmbr0", "bridge = vmbr0;reboot", "bridge"),
    ("bridge = vmbr0", "bridge = averylongbridgename", "bridge"),
    ("mac = 52", "mac = 53", "mac"),
    ("mac = 52:54:00:00:00:01", "mac = 52:54:00:00:00:01,romfile=x", "mac"),
    ("log = web1.log", "log = ../web1.log", "log"),
    ("log = web1.log", "log = /etc/cron.d/x", "log"),
    ("log = web1.log", "log = a\n b", "one line"),
]


@pytest.mark.parametrize("old,new,message", BAD)
def test_bad(volume, node, old, new, message):
    assert old in GOOD
    with pytest.raises(vm_launch.LaunchError) as caught:
        parse(volume, node, GOOD.replace(old, new, 1))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_symlink_out_of_the_volume(volume, node):
    (volume / "link.vhd").symlink_to(volume.parent / "secret")
    with pytest.raises(vm_launch.LaunchError, match="outside the volume"):
        parse(volume, node, GOOD.replace("path = web1.vhd", "path = link.vhd"))


def test_kernel_of_the_node(volume, node):
    node.boot_dir.mkdir()
    (node.boot_dir / "vmlinux").write_bytes(b"kernel")
    definition = parse(volume, node, GOOD.replace("memory = 64", "memory = 64\nkernel = vmlinux\nappend = a,b"))
    assert definition.kernel == node.boot_dir / "vmlinux"
    command = vm_launch.qemu_command(definition, node, [9], False)
    assert command[command.index("-append") + 1] == "a,b"


def qcow2_header(backing=0, features=0):
    """The start of a qcow2 version 3 header."""
    return struct.pack(">4sIQ", b"QFI\xfb", 3, backing).ljust(72, b"\0") + struct.pack(">Q", features)


@pytest.mark.parametrize("header,message", [
    (qcow2_header(), None),
    (qcow2_header(backing=512), "backing files"),
    (qcow2_header(features=4), "external data"),
    (b"", "not a qcow2"),
])
def test_qcow2(volume, node, header, message):
    (volume / "d.qcow2").write_bytes(header)
    text = GOOD.replace("path = web1.vhd\nsize = 1M", "path = d.qcow2\nformat = qcow2")
    if message is None:
        assert parse(volume, node, text).disks[0].format == "qcow2"
        return
    with pytest.raises(vm_launch.LaunchError, match=message):
        parse(volume, node, text)


def test_no_name_becomes_an_option(volume, node):
    (volume / "a,b=c.raw").write_bytes(bytes(4096))
    node.run_dir = node.run_dir / "x,y"
    definition = parse(volume, node, GOOD.replace("path = web1.vhd\nsize = 1M", "path = a,b=c.raw"))
    command = vm_launch.qemu_command(definition, node, [9], True)
    blockdev = json.loads(command[command.index("-blockdev") + 1])
    assert blockdev["filename"] == str(volume / "a,b=c.raw")
    assert "/x,,y/web1.qmp" in command[command.index("-qmp") + 1]
    assert command[-2:] == ["-incoming", "defer"]


def test_wrapper_comes_first(volume, node):
    node.wrapper = "/usr/lib/csvfs/enrol"
    command = vm_launch.qemu_command(parse(volume, node, GOOD), node, [9], False)
    assert command[:3] == ["/usr/lib/csvfs/enrol", "web1", "qemu-system-x86_64"]


@pytest.mark.parametrize("uri", ["exec:reboot", "fd:3", "unix:/tmp/x", "tcp:1.2.3.4", "tcp:h:99999", "tcp:a,b:1",
                                 "tcp:-x:1", "rdma:h:1"])
def test_bad_uri(uri):
    with pytest.raises(vm_launch.LaunchError):
        vm_launch.check_uri(uri)


@pytest.mark.parametrize("uri,meant", [("", ""), ("-", ""), ("defer", "defer"), ("tcp:10.0.0.2:0", "tcp:10.0.0.2:0"),
                                       ("tcp:[fe80::1]:4444", "tcp:[fe80::1]:4444"), ("tcp:n2:4444", "tcp:n2:4444")])
def test_good_uri(uri, meant):
    assert vm_launch.check_uri(uri) == meant


def test_hash(volume):
    path = volume / "web1.ini"
    path.write_text(GOOD)
    good = hashlib.sha256(GOOD.encode()).hexdigest()
    assert vm_launch.read_definition(path, good) == GOOD
    with pytest.raises(vm_launch.LaunchError, match="differs"):
        vm_launch.read_definition(path, "0" * 64)


def test_volume_root(tmp_path):
    table = tmp_path / "mountinfo"
    table.write_text("22 1 0:1 / / rw - ext4 /dev/vda rw\n"
                     "40 22 0:40 / /csv/vol\\0401 rw shared:1 - fuse.csvfs lun rw\n"
                     "41 22 0:41 / /csv/vol rw - ext4 /dev/vdb rw\n")
    path = tmp_path.__class__
    assert vm_launch.volume_root(path("/csv/vol 1/vms/web/web.ini"), table) == path("/csv/vol 1")
    assert vm_launch.volume_root(path("/csv/vol/vms/web.ini"), table) == path("/csv/vol/vms")
    assert vm_launch.volume_root(path("/home/web.ini"), table) == path("/home")


def test_as_a_program(volume, tmp_path):
    (volume / "web1.ini").write_text(GOOD.replace("size = 1M", "size = 9M"))
    env = {"PATH": "/usr/bin:/bin", "CSV_RUN_DIR": str(tmp_path / "run")}
    with pytest.raises(launcher.LaunchFailed) as caught:
        launcher.launch(volume / "web1.ini", env=env)
    assert caught.value.status == 2 and str(caught.value).startswith("vm-launch: ")
    with pytest.raises(launcher.LaunchFailed) as caught:
        launcher.launch(volume / "none.ini", env=env)
    assert caught.value.status == 4
    assert not (tmp_path / "run").exists()
