# SPDX-License-Identifier: GPL-2.0-or-later
"""A LUN as a machine's block device: reservations by two ways, single blocks, a writer that can be fenced."""
import struct
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"
EVENT_S = 120
KEYS = {"n1": 0xA1, "n2": 0xA2, "n3": 0xA3}
TYPE = 7  # write exclusive, all registrants; SPC-4 table 54
KERNEL_TYPE = 5  # the same in linux/pr.h
ALL_REGISTRANTS = "Write Exclusive, all registrants"
BLOCK = 4096
SECTOR = 512
VICTIM_BLOCK = 100


class Disk:
    """A LUN seen from one machine."""

    def __init__(self, node, path):
        self.node = node
        self.path = path
        self.key = KEYS[node.name]

    def persist(self, *words, check=True):
        """PERSISTENT RESERVE through SG_IO. A unit attention, which tells of a change by another, is asked again."""
        argv = ["sg_persist", "--no-inquiry", *words, self.path]
        done = self.node.run(argv, check=False)
        while done.returncode == 6:
            done = self.node.run(argv, check=False)
        if check:
            assert done.returncode == 0, f"{words}: exit {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def register(self):
        """Register our key, whatever was registered."""
        self.persist("--out", "--register-ignore", f"--param-sark={self.key:#x}")

    def reserve(self):
        """Take the reservation."""
        self.persist("--out", "--reserve", f"--param-rk={self.key:#x}", f"--prout-type={TYPE}")

    def preempt(self, victim):
        """Take away another machine's registration."""
        self.persist("--out", "--preempt", f"--param-rk={self.key:#x}", f"--param-sark={victim.key:#x}",
                     f"--prout-type={TYPE}")

    def clear(self):
        """Drop all registrations and the reservation."""
        self.register()
        self.persist("--out", "--clear", f"--param-rk={self.key:#x}")

    def keys(self):
        """The registered keys, a set."""
        words = self.persist("--in", "--read-keys").stdout.split()
        return {int(word, 16) for word in words if word.startswith("0x")} - {0}

    def ioctl(self, verb, *numbers):
        """One IOC_PR_*: "ok" or the error's name."""
        return self.node.run([PYTHON, HERE / "pr_ioctl.py", self.path, verb, *numbers]).stdout.strip()

    def dd(self, *words, **options):
        """dd with O_DIRECT on one block."""
        return self.node.run(["dd", f"bs={BLOCK}", "count=1", "status=none", *words], text=False, **options)

    def read(self, block=0):
        """A block's bytes."""
        return self.dd(f"if={self.path}", f"skip={block}", "iflag=direct").stdout

    def write(self, data, block=0, check=True):
        """Write a block; whether it went through."""
        return self.dd(f"of={self.path}", f"seek={block}", "oflag=direct", "iflag=fullblock", input=data,
                       check=check).returncode == 0

    def compare_and_write(self, block, old, new):
        """COMPARE AND WRITE of a block's first sector, as much as LIO takes: whether it was `old` and has become `new`."""
        for name, data in (("old", old), ("new", new)):
            self.node.run(["sh", "-c", 'cat >"$0"', f"/run/{name}"], input=data, text=False)
        done = self.node.run(["sg_compare_and_write", "--quiet", "--in=/run/old", "--inw=/run/new", "--num=1",
                              f"--lba={block * BLOCK // SECTOR}", f"--xferlen={2 * SECTOR}", self.path], check=False)
        assert done.returncode in (0, 14), done.stderr  # 14: it was something else
        return done.returncode == 0


class Writer:
    """writer.py on a machine: it writes rising numbers to VICTIM_BLOCK until it is refused."""

    def __init__(self, disk):
        self.disk = disk
        self.child = disk.node.popen([PYTHON, HERE / "writer.py", disk.path, VICTIM_BLOCK], text=True,
                                     stdout=subprocess.PIPE)

    def wait_acknowledged(self, least):
        """Wait until it has written `least` numbers."""
        for line in self.child.stdout:
            if int(line) >= least:
                return

    def refused(self):
        """Wait for its end; (number of the write that was refused, error's name)."""
        words = self.child.stdout.read().split()
        self.child.stdout.close()
        assert self.child.wait(EVENT_S) == 0 and words[-3] == "refused"
        return int(words[-2]), words[-1]


def check_fence(lab, killer, victim, preempt, frozen):
    """Preempt a writing machine: from then on nothing of it reaches the LUN, and all before it did.

    preempt  called with the victim's disk; the victim's key is gone on return
    frozen   stop the victim meanwhile, with a write on its way as like as not
    """
    killer.register()
    victim.register()
    killer.reserve()
    writer = Writer(victim)
    writer.wait_acknowledged(10)
    if frozen:
        lab.freeze(victim.node.name)
    preempt(victim)
    assert killer.keys() == {killer.key}
    after = killer.read(VICTIM_BLOCK)
    if frozen:
        lab.thaw(victim.node.name)
    number, error = writer.refused()
    assert error == "EBADE"  # the kernel's word for RESERVATION CONFLICT
    assert killer.read(VICTIM_BLOCK) == after, "a write came through after the fence"
    assert struct.unpack("<Q", after[:8])[0] == number - 1
    assert killer.write(bytes(BLOCK), VICTIM_BLOCK)
