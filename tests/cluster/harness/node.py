# SPDX-License-Identifier: GPL-2.0-or-later
"""A node of the cluster: a box with csvfs's directories."""
from .box import Box
from .instance import MOUNT_POINT, address


class Node(Box):
    """Node `number` (its corosync node id), named nNUMBER."""

    def __init__(self, instance, number):
        super().__init__(instance, f"n{number}", MOUNT_POINT)
        self.number = number
        self.lock = "cpg"  # the engine that mounts ask for
        self.options = []  # more that mounts say with -o

    def address(self, net):
        """The node's address on 'stor', 'clus', 'mig' or 'guest'."""
        return address(net, self.number)

    def environment(self):
        """The box's environment, and where csvfs finds its files in it."""
        env = super().environment()
        env["CSV_CONFIG"] = "/etc/csvfs/csvfs.conf"
        env["CSV_RUN_DIR"] = "/run/csvfs"
        env["CSV_NODE"] = self.name
        env.setdefault("CSV_VM_LOG_DIR", str(self.dir / "vm"))  # unless the caller follows them; never the host's
        return env
