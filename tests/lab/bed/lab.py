# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab: a cluster whose nodes are virtual machines."""
import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import csvfs, fabric
from harness.cluster import Cluster
from harness.errors import HarnessError
from harness.instance import BIN, MOUNT_POINT

from . import dlm, iscsi, taps
from .fence import FenceAgent
from .machine import Machine

BUILD = Path(__file__).resolve().parents[1] / "build"
FROZEN = "frozen"  # an outcast for no other reason
# A csvlockd takes seconds to start, and longer when the host is busy.
CONF = "[timeouts]\nreattach_ms = 30000\n"


class Lab(Cluster):
    """One instance of the lab; see Cluster for the parameters.

    fencing   whether dlm_controld fences, by `fence`, and mounts use the DLM

    Every machine has corosync, dlm_controld and a session of the kernel's initiator to the target; with use_csvfs
    also csvlockd and the volume.
    """

    node_class = Machine
    default_name = "lab"
    command = "tests/lab"
    start_s = 120
    format_options = ["--slots", "4", "--journal", "8M"]  # a check reads all journals
    # A machine that waits for its turn on the host's processors must not be taken for dead: when it comes back,
    # dlm_controld has it killed. So the long token, too.
    link_options = {"knet_ping_interval": 200, "knet_ping_timeout": 2000, "knet_pong_count": 1}

    def __init__(self, name=None, nodes=3, lun_size="2G", luns=3, token_ms=6000, use_csvfs=False,
                 fencing=False):
        super().__init__(name, nodes, lun_size, luns, token_ms, use_csvfs)
        self.fencing = fencing
        self.fence = FenceAgent(self.state / "fence")
        for node in self.nodes:
            node.lock = "dlm" if fencing else "cpg"

    @property
    def lun(self):
        """The disk that holds the volume: the kernel's, on every machine."""
        return self.disk()

    def initiator(self, node):
        """iSCSI name of a node."""
        return iscsi.initiator(node)

    def disk(self, number=1):
        """Path of a LUN's disk on every machine."""
        return iscsi.disk(number)

    # -- life of the whole ------------------------------------------------

    def bring_up(self):
        """The steps of up(), after what the machines start from was built."""
        done = subprocess.run([BUILD], stdin=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            raise HarnessError(f"{BUILD} failed; what it said is above")
        self.fence.make()
        super().bring_up()

    def save(self):
        """As Cluster.save(), with what is the lab's own."""
        super().save()
        path = self.state / "state.json"
        saved = json.loads(path.read_text(encoding="utf-8"))
        saved["fencing"] = self.fencing
        path.write_text(json.dumps(saved) + "\n", encoding="utf-8")

    def create_links(self, node):
        taps.create(self.instance, node.name)

    def has_links(self, node):
        return taps.exist(self.instance, node.name)

    def power_on(self, nodes):
        """Start these machines up to a running csvlockd, all at the same time."""
        self.start_corosync(nodes)
        with ThreadPoolExecutor(len(nodes)) as pool:
            list(pool.map(self.start_services, nodes))
        self.start_lockd(nodes)
        with ThreadPoolExecutor(len(nodes)) as pool:
            list(pool.map(dlm.join_base, nodes))

    def start_services(self, node):
        """The DLM and the initiator of one machine, and how long the others wait for its csvlockd."""
        node.run(["sh", "-c", 'mkdir -p /etc/csvfs && printf %s "$0" >/etc/csvfs/csvfs.conf', CONF])
        dlm.begin_start(node, self.fence.path if self.fencing else None)
        iscsi.start(node)
        iscsi.login(node, self.instance.iqn, self.target.portal[0], self.target.luns)
        dlm.wait_start(node)

    # -- faults -----------------------------------------------------------

    def freeze(self, which):
        """Stop a machine. The others soon drop it; heal() starts it anew, for its DLM cannot come back from that."""
        super().freeze(which)
        outcast = self.node(which).outcast
        if not outcast.exists():
            outcast.write_text(FROZEN)

    def thaw(self, which):
        """Undo freeze(), and all of it if the others cannot have noticed."""
        super().thaw(which)
        outcast = self.node(which).outcast
        if outcast.read_text() == FROZEN and (time.time() - outcast.stat().st_mtime) * 1000 < self.token_ms / 2:
            outcast.unlink()

    def net_cut(self, which):
        """Cut a machine off the cluster network; see freeze()."""
        super().net_cut(which)
        self.node(which).cast_out()

    def heal(self):
        """Undo every fault: all cables in, every machine up and in the cluster, the target too."""
        for node in self.nodes:  # before anything else: back among the others, an outcast has one of them killed
            if node.outcast.exists():
                node.kill()
        self.fence.allow()
        self.target.thaw()
        self.target.start()
        for name, up in fabric.links(self.instance).items():
            if not up:
                self.plug(*name.split("-"), True)
        if not all(self.on_all(self.is_well)):
            self.mend()

    def mend(self):
        """The slow part of heal()."""
        self.on_all(self.kill_unwell)
        down = [node for node in self.nodes if not node.up]
        if down:
            self.power_on(down)
            names = [node.name for node in self.nodes]
            self.wait_members(names, names, quorate=True)
        if self.use_csvfs:
            self.on_all(lambda node: csvfs.mount(node, self.lun))
            self.on_all(csvfs.wait_online)

    def on_all(self, action):
        """What action(node) returns for every machine, called at the same time."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            return list(pool.map(action, self.nodes))

    def is_well(self, node):
        """Whether nothing is to be done for a machine: found out by one command, after every test."""
        if not node.up:
            return False
        done = node.run(["sh", "-c", 'dlm_tool status >/dev/null && { [ -z "$0" ] || exec "$0" --json status; }',
                         BIN / "csvadm" if self.use_csvfs else ""], check=False)
        return done.returncode == 0 and (not self.use_csvfs or csvfs.state_in(done.stdout) == "online")

    def kill_unwell(self, node):
        """Kill a machine that only a new start brings back."""
        if node.up and not (dlm.runs(node) and self.volume_is_well(node)):
            node.kill()

    def volume_is_well(self, node):
        """Whether a machine's volume is online, on its way there, or can be mounted."""
        return not self.use_csvfs or not node.mounted(MOUNT_POINT) or csvfs.volume_state(node) not in csvfs.BAD_STATES

    def poweroff(self, which):
        """As kill(): a machine that ends sends no last packet."""
        self.kill(which)

    def plug(self, box, net, up):
        """set_link() for any box, the target too."""
        if box == fabric.TARGET:
            fabric.set_link(self.instance, box, net, up)
        else:
            taps.set_link(self.instance, box, net, up)
