# SPDX-License-Identifier: GPL-2.0-or-later
"""The end: the guest stops in good order, a third node reads what it left, the volume is checked."""
import json
import socket
import subprocess

from harness import csvfs
from harness.instance import MOUNT_POINT
from vm.paths import VERIFY

from .guest import SEED
from .stage import VM
from .timeline import require

RECORDS_LEAST = 2000
RATE_LEAST = 50


def stop_guest(stage, node):
    """STOP over the serial port; the guest unmounts and powers off."""
    path = stage.cluster.node(node).path(f"/run/csvfs/vm/{VM}.serial")
    seen = len(stage.log.lines)
    with socket.socket(socket.AF_UNIX) as serial:
        serial.connect(str(path))
        serial.sendall(b"STOP\n")
    stage.log.wait_line("DONE", 60, after=seen)


def verify(stage, node):
    """Every acknowledged record, and the guest's filesystem, from a node that never ran the VM."""
    argv = stage.cluster.node(node).enter_words() + [str(VERIFY), stage.image, *map(str, stage.log_files()), "--seed",
                                                      str(SEED)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False, timeout=120)
    return json.loads(done.stdout)


def run(stage, report, runs_on, reader):
    """Fills the report's last keys."""
    stage.log.wait_until(lambda log: log.last() >= RECORDS_LEAST + 20, 120, f"{RECORDS_LEAST} records")
    rate = stage.log.rate()
    stop_guest(stage, runs_on)
    found = verify(stage, reader)
    report["records_acked"], report["records_lost"] = found["acked"], found["lost"]
    report["fsck_clean"] = found["fsck_clean"]
    stage.timeline.say(f"{found['acked']} records acknowledged ({rate:.0f}/s), {found['lost']} lost;"
                       f" guest's fsck {'clean' if found['fsck_clean'] else 'NOT CLEAN'}")
    for node in stage.cluster.nodes:
        if node.mounted(MOUNT_POINT):
            stage.adm(node.name, "umount", MOUNT_POINT)
    check = stage.adm("n3", "check", stage.cluster.lun, codes=(0, 4))
    report["check_clean"] = check["clean"]
    stage.timeline.say(f"csvadm check: {'clean' if check['clean'] else check['findings']}")
    require(found["lost"] == 0 and found["acked"] >= RECORDS_LEAST, f"{found['lost']} of {found['acked']} records lost")
    require(rate >= RATE_LEAST, f"only {rate:.0f} records a second")
    require(found["fsck_clean"] and check["clean"], "a filesystem is not clean")


def once_more(stage, node):
    """For who wants to play: the volume mounted on every node, the VM running on one."""
    for each in stage.cluster.nodes:
        csvfs.mount(each, stage.cluster.lun)
        csvfs.wait_online(each)
    stage.boot(node)


def hints(stage):
    """What to try on the cluster that is left up."""
    print(f"""
The cluster is up. Try:
  export CSV_CLUSTER={stage.cluster.instance.name}
  tests/cluster/node n1 csvadm status
  tests/cluster/node n1 csvadm handle list
  tests/cluster/node n2 ls -l {MOUNT_POINT}
  tests/cluster/node n1 csvadm migrate {VM} --to n2 --uri tcp:{stage.cluster.node("n2").address("mig")}
  tests/cluster/ctl kill n2
  make demo-stop""")
