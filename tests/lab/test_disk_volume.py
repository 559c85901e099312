# SPDX-License-Identifier: GPL-2.0-or-later
"""The volume on the kernel's block device, mounted on all machines: its fence and its way back go through SG_IO."""
import json
import subprocess

import pytest

from commands import slot
from commands import volume as status
from disks import EVENT_S, HERE, PYTHON, Disk
from harness import csvfs
from harness.instance import BIN, MOUNT_POINT
from harness.wait import wait_until

BLOCK = 4096


def key(node):
    """The reservation key of a node's mount."""
    return int(slot(node, status(node)["slot"])["pr_key"], 16)


@pytest.fixture
def volume(lab):
    """The lab, whose volume is on LUN 1's disk and mounted on every machine."""
    yield lab
    while FileWriter.running:  # of a test that failed: the mount would be in use
        FileWriter.running[0].kill()


class FileWriter:
    """writer.py on block 0 of a file of the volume."""

    running = []

    def __init__(self, node, name):
        self.path = f"{MOUNT_POINT}/{name}"
        node.run(["dd", "if=/dev/zero", f"of={self.path}", f"bs={BLOCK}", "count=1", "conv=fsync", "status=none"])
        self.child = node.popen([PYTHON, HERE / "writer.py", self.path, 0], text=True, stdout=subprocess.PIPE)
        self.last = 0
        self.running.append(self)

    def ended(self):
        """Wait for its end."""
        self.child.stdout.close()
        self.child.wait(EVENT_S)
        self.running.remove(self)

    def read_on(self, more):
        """Wait until so many more writes are acknowledged."""
        until = self.last + more
        for line in self.child.stdout:
            assert not line.startswith("refused"), line
            self.last = int(line)
            if self.last >= until:
                return
        raise AssertionError("the writer has ended")

    def rest(self):
        """Its last line once it has ended; numbers acknowledged until then are counted."""
        line = ""
        for line in self.child.stdout:
            if not line.startswith("refused") and line.endswith("\n"):
                self.last = int(line)
        self.ended()
        return line.strip()

    def kill(self):
        """End it."""
        self.child.kill()
        self.ended()


def number_in(node, path):
    """The number that the file holds."""
    return int.from_bytes(node.run(["head", "-c", 8, path], text=False).stdout, "little")


def overwrite(node, path):
    """Write to a file of the dead or frozen node: waits for the fence and the replay."""
    node.run(["dd", f"of={path}", f"bs={BLOCK}", "count=1", "conv=notrunc,fsync", "oflag=direct", "iflag=fullblock",
              "status=none"], input=b"\xff" * BLOCK, text=False)


def test_all_write(volume):
    for node in volume.nodes:
        node.run(["sh", "-c", 'echo "$0" >"$1" && sync "$1"', node.name, f"{MOUNT_POINT}/of-{node.name}"])
    for node in volume.nodes:
        for other in volume.nodes:
            assert node.run(["cat", f"{MOUNT_POINT}/of-{other.name}"]).stdout == f"{other.name}\n"
    assert Disk(volume.nodes[0], volume.disk()).keys() == {key(node) for node in volume.nodes}


def test_second_mount_and_tools_are_refused(volume):
    node = volume.nodes[0]
    for words in (["format", volume.disk(), "--name", "x", "--force"], ["mount", volume.disk(), "/mnt", "-o", "lock=local"]):
        assert node.run([BIN / "csvadm", *words], check=False).returncode == 3
    # From another host O_EXCL says nothing; the keys do.
    csvfs.csvadm(volume.nodes[2], ["umount", MOUNT_POINT])
    done = volume.nodes[2].run([BIN / "csvadm", "format", volume.disk(), "--name", "x", "--force"], check=False)
    assert done.returncode == 3 and "mounted" in done.stderr


def test_target_restarts_under_load(volume):
    """tgtd forgets registrations and reservation; the kernels log in again and say nothing."""
    one, two, three = volume.nodes
    keys = {key(node) for node in volume.nodes}
    writer = FileWriter(one, "restart")
    writer.read_on(20)
    volume.target.stop()
    volume.target.start()
    writer.read_on(20)
    for node in (two, three):
        # A kernel that finds out only now may have lost what was written before: one fsync says so (J4).
        node.run(["sh", "-c", 'echo x >"$0" && { sync "$0" || { echo x >"$0" && sync "$0"; }; }',
                  f"{MOUNT_POINT}/after-{node.name}"])
    disk = Disk(one, volume.disk())
    wait_until("all keys to be back", lambda: disk.keys() == keys, EVENT_S)
    assert "Write Exclusive, all registrants" in disk.persist("--in", "--read-reservation").stdout
    writer.kill()


def lun_check(node, *words):
    """What `csvadm lun check` says; the exit code first."""
    done = node.run([BIN / "csvadm", "--json", "lun", "check", *words], check=False)
    return done.returncode, json.loads(done.stdout)


def test_lun_check(lab):
    """tgtd through the kernel; nothing is left there, and a LUN in use is refused."""
    one, two = (Disk(node, lab.disk(2)) for node in lab.nodes[:2])
    one.clear()
    data = b"\xa5" * BLOCK
    last = (2 << 30) // BLOCK - 1
    one.write(data, last)
    code, said = lun_check(one.node, one.path)
    assert (code, said["fit"], said["against"]) == (0, True, [])
    assert (said["size"], said["block"]) == (2 << 30, 512)
    assert 7 in said["pr_types"] and 5 in said["pr_types"]
    assert [said[name] for name in ("preempt_abort", "compare_write", "unmap", "aptpl")] == [False, False, True, False]
    assert two.keys() == set() and "there is NO reservation" in two.persist("--in", "--read-reservation").stdout
    assert two.read(last) == data
    two.register()
    code, said = lun_check(one.node, one.path)
    assert (code, said["error"]["code"]) == (3, "busy")
    assert two.keys() == {two.key}
    two.clear()


def test_lun_check_of_a_mounted_volume(volume):
    for node in volume.nodes:
        assert lun_check(node, volume.disk())[0] == 3
    assert Disk(volume.nodes[0], volume.disk()).keys() == {key(node) for node in volume.nodes}


# A second session to the same portal is a second path; what multipathd would do is done by hand.
_MULTIPATH = """
set -e
modprobe -a dm_multipath dm_service_time
for session in /sys/class/iscsi_session/session*; do
    [ "$(cat "$session/targetname")" = "$0" ] && first=${session##*session}
done
iscsiadm -m session -r "$first" --op new >&2
paths=
for try in $(seq 600); do
    paths=$(for disk in /sys/class/iscsi_session/session*/device/target*/*:*:*:1/block/sd*; do
        [ "$(cat "$disk/../../../../iscsi_session/session"*/targetname)" = "$0" ] && cat "$disk/dev"
    done)
    [ "$(echo "$paths" | wc -w)" = 2 ] && break
    sleep 0.1
done
set -- $paths
size=$(blockdev --getsz "/dev/csv/lun1")
dmsetup create both -u mpath-csv --table "0 $size multipath 1 queue_if_no_path 0 1 1 service-time 0 2 1 $1 1 $2 1" >&2
dmsetup mknodes both
echo $paths
"""


def registrations(disk, wanted):
    """How many paths have registered a key."""
    words = disk.persist("--in", "--read-keys").stdout.split()
    return sum(1 for word in words if word.startswith("0x") and word != "0x0" and int(word, 16) == wanted)


def set_path(node, device, state):
    """A path of a machine fails, or comes back: what multipathd would see and say."""
    verb = {"offline": "fail_path", "running": "reinstate_path"}[state]
    node.run(["sh", "-c", 'echo "$1" >"/sys/dev/block/$0/device/state" && dmsetup message both 0 "$2 $0"', device, state,
              verb])


def test_every_path_of_a_multipath_device(volume):
    one, two, _ = volume.nodes
    one.cast_out()  # started anew afterwards, without the multipath device
    csvfs.csvadm(one, ["umount", MOUNT_POINT])
    paths = one.run(["sh", "-c", _MULTIPATH, volume.instance.iqn]).stdout.split()
    assert len(paths) == 2
    csvfs.mount(one, "/dev/mapper/both")
    disk = Disk(two, volume.disk())
    assert registrations(disk, key(one)) == 2 and registrations(disk, key(two)) == 1
    writer = FileWriter(one, "paths")
    for path in paths:
        writer.read_on(10)
        set_path(one, path, "offline")
        writer.read_on(10)
        set_path(one, path, "running")
    assert status(one)["state"] == "online"
    # One path loses its registration, as with its session: a conflict there is no fence.
    one.run(["sh", "-c", 'sg_persist --no-inquiry --out --register-ignore --param-sark=0'
                         ' "/dev/$(basename "$(readlink "/sys/dev/block/$0")")"', paths[0]])
    writer.read_on(20)
    wait_until("both paths to be registered", lambda: registrations(disk, key(one)) == 2, EVENT_S)
    dead_key = key(one)
    volume.freeze("n1")
    overwrite(two, writer.path)
    assert registrations(disk, dead_key) == 0
    volume.thaw("n1")
    assert writer.rest().startswith("refused")
    assert two.run(["head", "-c", BLOCK, writer.path], text=False).stdout == b"\xff" * BLOCK
