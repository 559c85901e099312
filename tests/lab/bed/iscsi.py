# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's iSCSI initiator on a machine: iscsid and its sessions, and names for the disks."""
from harness.wait import wait_until

DISK_S = 60

# Without udev nobody makes names that stay: LUN 1 is /dev/csv/lun1 on every machine.
_NAME_DISKS = """
mkdir -p /dev/csv
for device in /sys/class/iscsi_session/session*/device/target*/*:*:*:*; do
    [ "$(cat "$device/../../iscsi_session/session"*/targetname)" = "$0" ] || continue
    for disk in "$device"/block/sd*; do
        [ -e "$disk" ] && [ "$(cat "$disk/size")" != 0 ] && ln -sf "../${disk##*/}" "/dev/csv/$1${device##*:}"
    done
done
ls /dev/csv
"""


def initiator(node):
    """The iSCSI name of a node."""
    return f"iqn.2025-01.org.csvfs.lab:{node.name}"


def disk(number, prefix="lun"):
    """Path of a LUN's disk, the same on every machine that has logged in."""
    return f"/dev/csv/{prefix}{number}"


def start(node):
    """Start iscsid on a node, unless it runs."""
    if node.pid_of("iscsid"):
        return
    node.run(["sh", "-c", 'echo "InitiatorName=$0" >/etc/iscsi/initiatorname.iscsi', initiator(node)])
    node.spawn("iscsid", ["iscsid", "-f"])


def login(node, iqn, host, luns, prefix="lun"):
    """Log in to a target, unless that is done, and wait for its disks 1 to `luns`."""
    record = ["iscsiadm", "-m", "node", "-T", iqn, "-p", f"{host}:3260"]
    if node.run(["test", "-e", disk(luns, prefix)], check=False).returncode == 0:
        return
    node.run([*record, "-o", "new"])
    node.run([*record, "--login"])
    wanted = {f"{prefix}{number}" for number in range(1, luns + 1)}
    wait_until(f"disks {sorted(wanted)} of {node.name}", lambda: wanted <= set(name_disks(node, iqn, prefix)), DISK_S,
               dead=node.dead_reason("iscsid"))


def logout(node, iqn, prefix="lun"):
    """End the session with a target, if there is one. Its disks go."""
    node.run(["sh", "-c", 'rm -f /dev/csv/"$1"*; iscsiadm -m node -T "$0" --logout; iscsiadm -m node -T "$0" -o delete',
              iqn, prefix], check=False)


def name_disks(node, iqn, prefix="lun"):
    """Give a target's disks their names; returns all that there are."""
    return node.run(["sh", "-c", _NAME_DISKS, iqn, prefix]).stdout.split()
