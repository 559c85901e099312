# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's iSCSI target, LIO, in a machine of its own: for what tgtd refuses.

It has PREEMPT AND ABORT, COMPARE AND WRITE, reservations that outlive a power failure of an initiator, IOC_PR_*.
"""
import os

from harness.instance import TARGET_HOST

from . import iscsi, taps
from .machine import Machine

PREFIX = "lio"  # its LUN 1 is /dev/csv/lio1
_SIZE = 1 << 30

# Nothing but configfs; every initiator has an entry, so that its registration outlives its session.
_CONFIGURE = """
set -e
modprobe -a virtio_blk target_core_mod target_core_iblock iscsi_target_mod
mkdir -p /var/target/pr /var/target/alua
target=/sys/kernel/config/target
store=$target/core/iblock_0/lun1
mkdir -p "$store"
echo udev_path=/dev/vda >"$store/control"
echo 1 >"$store/enable"
echo csv-lio-1 >"$store/wwn/vpd_unit_serial"
group=$target/iscsi/$0/tpgt_1
mkdir -p "$group/lun/lun_1" "$group/np/$1:3260"
ln -s "$store" "$group/lun/lun_1/store"
echo 0 >"$group/attrib/authentication"
shift
for initiator in "$@"; do
    mkdir -p "$group/acls/$initiator/lun_1"
    ln -s "$group/lun/lun_1" "$group/acls/$initiator/lun_1/lun"
done
echo 1 >"$group/enable"
"""


class Lio(Machine):
    """The one target machine of a lab; it is no node of the cluster."""

    def __init__(self, instance):
        super().__init__(instance, TARGET_HOST + 1)
        self.name = "lio"
        self.dir = instance.state / self.name

    @property
    def iqn(self):
        """iSCSI name of the target."""
        return f"{self.instance.iqn}-lio"

    def disks(self):
        return [self.dir / "lun1.img"]

    def start(self, initiators):
        """Start the machine, unless it runs, and offer its LUN to these iSCSI names."""
        if self.up:
            return
        self.make_folders()
        with open(self.disks()[0], "ab") as file:
            os.truncate(file.fileno(), _SIZE)
        if not taps.exist(self.instance, self.name):
            taps.create(self.instance, self.name)
        self.begin_power_on()
        self.finish_power_on()
        self.run(["sh", "-c", _CONFIGURE, self.iqn, self.address("stor"), *initiators])

    def login(self, node):
        """Log a node in, unless it is; returns its disk's path."""
        iscsi.login(node, self.iqn, self.address("stor"), 1, PREFIX)
        return iscsi.disk(1, PREFIX)

    def logout(self, node):
        """End a node's session."""
        iscsi.logout(node, self.iqn, PREFIX)
