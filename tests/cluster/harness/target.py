# SPDX-License-Identifier: GPL-2.0-or-later
"""The iSCSI target: tgtd in a box of its own, on sparse files.

`rdwr` with `direct`, because tgt's aio backing store ignores SYNCHRONIZE CACHE
and FUA, which would make every crash test worthless.
"""
import os

from . import fabric, procs
from .box import Box
from .errors import HarnessError
from .instance import TARGET_HOST, address
from .shell import tail
from .wait import wait_until

CONTROL_PORT = "7"  # private by /run of the box; not 0, so a host's tgtadm never hits it by chance
PORT = 3260
_TID = "1"


class Target(Box):
    """The one target of an instance."""

    def __init__(self, instance, luns=1):
        super().__init__(instance, fabric.TARGET)
        self.luns = luns

    def backing_file(self, number):
        """The file behind LUN `number`."""
        return self.dir / f"lun{number}.img"

    def create_luns(self, size):
        """Make the backing files, sparse, of `size` bytes each."""
        self.dir.mkdir(parents=True, exist_ok=True)
        for number in range(1, self.luns + 1):
            with open(self.backing_file(number), "ab") as file:
                os.truncate(file.fileno(), size)

    def start(self):
        """Start tgtd, unless it runs, and give it its LUNs."""
        self.begin_power_on()
        self.finish_power_on()
        if self.pid_of("tgtd"):
            return
        self.spawn("tgtd", ["tgtd", "-f", "-C", CONTROL_PORT])
        wait_until("tgtd to answer its control port", self.answers, 10,
                   dead=self.dead_reason("tgtd"))
        if f":{PORT}" not in self.tgtadm(["--op", "show", "--mode", "portal"]).stdout:
            raise HarnessError(f"tgtd listens on no port:\n{tail(self.dir / 'tgtd.log')}")
        self.admin("new", "target", "-T", self.instance.iqn)
        for number in range(1, self.luns + 1):
            self.add_lun(number)
        self.admin("bind", "target", "-I", "ALL")

    def add_lun(self, number):
        """Offer one backing file."""
        lun = ["--lun", str(number)]
        self.admin("new", "logicalunit", *lun, "-b", self.backing_file(number),
                   "--bstype", "rdwr", "--bsoflags", "direct")
        # Thin: UNMAP and WRITE SAME work. The serial tells LUNs and instances apart. Vendor and product stay
        # tgtd's own, by which csvfs knows what its reservations need (lib/pr_holder.c).
        serial = f"csv-{self.instance.name}-{number}"
        self.admin("update", "logicalunit", *lun, "--params",
                   f"thin_provisioning=1,scsi_sn={serial}")

    def tgtadm(self, words, **options):
        """Run tgtadm against this tgtd."""
        return self.run(["tgtadm", "-C", CONTROL_PORT, "--lld", "iscsi"] + list(words), **options)

    def admin(self, verb, mode, *words):
        """One change to our target."""
        return self.tgtadm(["--op", verb, "--mode", mode, "--tid", _TID, *words])

    def answers(self):
        """Whether tgtd obeys tgtadm."""
        return self.tgtadm(["--op", "show", "--mode", "system"], check=False).returncode == 0

    def stop(self):
        """Kill tgtd: sessions and reservations are lost, what it acknowledged is not."""
        procs.kill_all(lambda: {self.pid_of("tgtd")} - {None}, "tgtd")

    def freeze(self):
        """Stop tgtd; initiators see a target that does not answer."""
        procs.stop_all(lambda: {self.pid_of("tgtd")} - {None}, "tgtd")

    def thaw(self):
        """Let tgtd go on; it then serves what has queued up."""
        procs.continue_all(lambda: {self.pid_of("tgtd")} - {None}, "tgtd")

    @property
    def portal(self):
        """(host, port) of the target in the storage net."""
        return (address("stor", TARGET_HOST), PORT)
