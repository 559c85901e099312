# SPDX-License-Identifier: GPL-2.0-or-later
"""Names, paths and addresses of one instance of the cluster.

Everything that an instance owns can be told from its name alone, so that
`down` finds it without any state file.
"""
import os
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import HarnessError

ROOT = Path(__file__).resolve().parents[3]
BIN = ROOT / "build" / "bin"

# Environment variable that every process of an instance inherits. Its value
# starts with the state directory: `down` finds processes by it even when
# their namespace has lost its name.
MARK = "CSV_TESTBED_OWNER"

VOLUME = "vol1"
MOUNT_POINT = "/run/csv/vol1"  # inside a node /run is private, so this needs nothing on the host

# Third octet of 10.77.x.0/24. Namespaces keep the nets of instances apart,
# so all instances use the same addresses.
NETS = {"stor": 1, "clus": 2, "mig": 3, "guest": 4}
TARGET_HOST = 200
FABRIC_HOST = 254

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?")


def address(net, host):
    """IPv4 address of host number `host` on one of NETS."""
    return f"10.77.{NETS[net]}.{host}"


@dataclass(frozen=True)
class Instance:
    """One named cluster of this source tree."""

    name: str = "main"

    def __post_init__(self):
        if not _NAME.fullmatch(self.name):
            raise HarnessError(
                f"CSV_CLUSTER={self.name}: use 1 to 24 of a-z, 0-9 and '-', not at an end")

    @classmethod
    def from_environment(cls, default="main"):
        """The instance that CSV_CLUSTER selects."""
        return cls(os.environ.get("CSV_CLUSTER") or default)

    @property
    def state(self):
        """Directory with everything the instance keeps on disk."""
        leaf = "cluster" if self.name == "main" else f"cluster-{self.name}"
        return ROOT / "build" / leaf

    def netns(self, box):
        """Name of the network namespace of a node ('n1'), 'tgt' or 'fab'."""
        return f"csv-{self.name}-{box}"

    def owns_netns(self, name):
        """Whether a namespace name is one that this instance makes.

        Exact, not by prefix: instance 'a' must not take 'csv-a-b-n1' for its own.
        """
        return re.fullmatch(rf"csv-{re.escape(self.name)}-(tgt|fab|n\d+)", name) is not None

    def mark(self, box):
        """Value of MARK for the processes of one box."""
        return f"{self.state}#{box}"

    @property
    def iqn(self):
        """iSCSI name of the instance's target."""
        return f"iqn.2025-01.org.csvfs.test:{self.name}"

    def lun_url(self, number=1):
        """URL of a LUN, as csvadm takes it."""
        return f"iscsi://{address('stor', TARGET_HOST)}/{self.iqn}/{number}"
