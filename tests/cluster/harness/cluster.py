# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole cluster: nodes, target and fabric, their start and their faults."""
import json
from concurrent.futures import ThreadPoolExecutor

from . import corosync, csvfs, fabric, logs, teardown
from .errors import HarnessError
from .instance import MOUNT_POINT, VOLUME, Instance
from .lock import instance_lock
from .node import Node
from .signals import shielded
from .size import parse_size
from .target import Target
from .wait import wait_until

MAX_NODES = 64  # as many as a volume has slots


class Cluster:
    """One instance of the test bed.

    name      instance, default from CSV_CLUSTER
    nodes     how many nodes, named n1, n2, ...
    lun_size  size of each LUN: bytes or text with K, M, G, T (binary)
    luns      how many LUNs the target offers, numbered from 1
    token_ms  corosync's token time-out; a death shows after 2.2 times this
    use_csvfs whether csvlockd runs and the volume is formatted and mounted
    """

    node_class = Node
    default_name = "main"  # of the instance, if nobody chose one
    command = "tests/cluster"  # folder of the commands, for messages
    start_s = 30  # deadline for a membership after a start
    format_options = []  # of the volume, beyond its defaults
    link_options = {}  # of corosync's link, beyond its defaults

    def __init__(self, name=None, nodes=3, lun_size="8G", luns=1, token_ms=1000, use_csvfs=True):
        if not 1 <= nodes <= MAX_NODES:
            raise HarnessError(f"{nodes} nodes: use 1 to {MAX_NODES}")
        self.instance = Instance(name) if name else Instance.from_environment(self.default_name)
        self.lun_size = parse_size(lun_size)
        self.token_ms = token_ms
        self.use_csvfs = use_csvfs
        self.nodes = [self.node_class(self.instance, number) for number in range(1, nodes + 1)]
        self.target = Target(self.instance, luns)

    @classmethod
    def load(cls, name=None):
        """The cluster that `up` has made, from its state directory."""
        instance = Instance(name) if name else Instance.from_environment(cls.default_name)
        try:
            saved = json.loads((instance.state / "state.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise HarnessError(f"cluster {instance.name} is not up;"
                               f" start it: {cls.command}/up") from None
        return cls(instance.name, **saved)

    # -- parts ------------------------------------------------------------

    @property
    def state(self):
        """The instance's state directory."""
        return self.instance.state

    @property
    def key_file(self):
        """corosync's key, the same for all nodes."""
        return self.state / "authkey"

    @property
    def lun(self):
        """URL of LUN 1, which holds the volume."""
        return self.instance.lun_url()

    def node(self, which):
        """A node by number (1) or name ('n1')."""
        for node in self.nodes:
            if which in (node.number, node.name):
                return node
        names = " ".join(node.name for node in self.nodes)
        raise HarnessError(f"cluster {self.instance.name} has no node {which}, only {names}")

    # -- life of the whole ------------------------------------------------

    def up(self, keep=False):
        """Bring everything up, or leave nothing.

        keep  leave a failed start as it is, to look at it
        On any failure, Ctrl-C included, the ends of all logs go to standard error.
        """
        if self.use_csvfs:
            csvfs.require_binaries()
        teardown.refuse_foreign(self.instance)
        with instance_lock(self.instance):
            if (self.state / "env").exists():
                raise HarnessError(f"cluster {self.instance.name} is up already;"
                                   f" end it first: {self.command}/down")
            teardown.remove(self.instance)  # what a killed `up` may have left
            try:
                self.bring_up()
            except BaseException:
                with shielded():
                    logs.report(self.instance)
                    if not keep:
                        teardown.remove_all(self.instance)
                raise

    def bring_up(self):
        """The steps of up(). The caller holds the lock and tidies up."""
        self.save()
        self.build()
        self.power_on(self.nodes)
        if self.use_csvfs:
            csvfs.format_volume(self.nodes[0], self.lun, self.instance.name, self.format_options)
            self.mount(self.nodes)
        self.write_env()

    def down(self):
        """Remove every trace; does nothing if there is none."""
        teardown.down(self.instance)

    def save(self):
        """Write down what load() needs, before anything is made."""
        text = json.dumps({"nodes": len(self.nodes), "lun_size": self.lun_size,
                           "luns": self.target.luns, "token_ms": self.token_ms,
                           "use_csvfs": self.use_csvfs})
        (self.state / "state.json").write_text(text + "\n", encoding="utf-8")

    def build(self):
        """Namespaces, links, key and target."""
        fabric.create_fabric(self.instance)
        fabric.create_target(self.instance)
        for node in self.nodes:
            self.create_links(node)
        corosync.make_key(self.key_file)
        self.target.create_luns(self.lun_size)
        self.target.start()

    def create_links(self, node):
        """Join a node to the nets."""
        fabric.create_node(self.instance, node.number)

    def power_on(self, nodes):
        """Start these nodes up to a running csvlockd, all at the same time."""
        self.start_corosync(nodes)
        self.start_lockd(nodes)

    def start_corosync(self, nodes):
        """Start these nodes, all at the same time, until they see every node they can reach."""
        for node in nodes:
            node.begin_power_on()
        for node in nodes:
            node.finish_power_on()
            corosync.begin_start(self, node.number)
        reachable = self.reachable()
        for node in nodes:
            expected = reachable if node.number in reachable else {node.number}
            corosync.wait_members(node, expected, self.start_s)

    def start_lockd(self, nodes):
        """Start csvlockd on these nodes, if this cluster has it."""
        if self.use_csvfs:
            for node in nodes:
                csvfs.begin_lockd(node)
            for node in nodes:
                csvfs.wait_lockd(node)

    def mount(self, nodes):
        """Mount the volume on these nodes: on the last, then on all others at the same time.

        The first to mount makes the reservation. When its session dies, tgtd 1.0.85 keeps a pointer to the
        registration that it has freed, and later refuses whatever it likes; so the node that tests kill is not it.
        """
        csvfs.mount(nodes[-1], self.lun)
        with ThreadPoolExecutor(len(nodes)) as pool:
            list(pool.map(lambda node: csvfs.mount(node, self.lun), nodes))

    def write_env(self):
        """The file for shell scripts; it also says that the cluster is complete."""
        urls = [self.instance.lun_url(number) for number in range(1, self.target.luns + 1)]
        lines = {"CSV_CLUSTER": self.instance.name, "NODES": " ".join(n.name for n in self.nodes),
                 "NODE_COUNT": len(self.nodes), "LUN": self.lun, "LUNS": " ".join(urls),
                 "MNT": MOUNT_POINT, "VOLUME": VOLUME}
        text = "".join(f'{key}="{value}"\n' for key, value in lines.items())
        (self.state / "env").write_text(text, encoding="utf-8")

    # -- what to expect ---------------------------------------------------

    def reachable(self):
        """Ids of nodes that should form one membership: corosync runs, not frozen, cable in."""
        plugged = fabric.links(self.instance)
        return {node.number for node in self.nodes
                if node.pid_of("corosync") and not node.frozen
                and plugged.get(fabric.port(node.name, "clus"))}

    def wait_members(self, who, expected, seconds=None, quorate=None):
        """Wait until each node of `who` sees exactly the nodes `expected` (names or numbers)."""
        ids = {self.node(which).number for which in expected}
        for which in who:
            corosync.wait_members(self.node(which), ids, seconds or self.start_s, quorate)

    def wait_until(self, what, check, seconds, **options):
        """wait.wait_until with the patience that this kind of node needs."""
        return wait_until(what, check, seconds * self.node_class.slowness, **options)

    # -- faults -----------------------------------------------------------

    def kill(self, which):
        """SIGKILL everything on a node; its mounts go, its links stay."""
        self.node(which).kill()

    def poweroff(self, which):
        """As if the node lost power: it vanishes without a last packet.

        kill() lets the kernel close the node's TCP connections in good order,
        so the target hears of it; here the cables go first, and the namespace
        goes with every socket in it.
        """
        node = self.node(which)
        fabric.unplug(self.instance, node.name)
        node.kill()
        fabric.delete(self.instance.netns(node.name))

    def freeze(self, which):
        """SIGSTOP everything on a node."""
        self.node(which).freeze()

    def thaw(self, which):
        """SIGCONT everything on a node."""
        self.node(which).thaw()

    def start(self, which):
        """Start whatever of a node does not run: network, corosync, csvlockd, mount."""
        node = self.node(which)
        if node.frozen:
            raise HarnessError(f"{node.name} is frozen, not down; thaw it")
        if not self.has_links(node):
            self.create_links(node)
        self.power_on([node])
        if self.use_csvfs:
            csvfs.mount(node, self.lun)

    def has_links(self, node):
        """Whether create_links() has been done, and not undone by poweroff()."""
        return self.instance.netns(node.name) in fabric.existing(self.instance)

    def set_link(self, which, net, up):
        """Plug in or pull out a node's cable: net is stor, clus, mig or guest."""
        self.plug(self.node(which).name, net, up)

    def plug(self, box, net, up):
        """set_link() for any box, the target too."""
        fabric.set_link(self.instance, box, net, up)

    def net_cut(self, which):
        """Cut a node off the cluster network."""
        self.set_link(which, "clus", False)

    def net_heal(self, which):
        """Undo net_cut()."""
        self.set_link(which, "clus", True)

    def lun_cut(self, which):
        """Cut a node off the storage network."""
        self.set_link(which, "stor", False)

    def lun_heal(self, which):
        """Undo lun_cut()."""
        self.set_link(which, "stor", True)

    def heal(self):
        """Undo every fault: all cables in, nothing frozen, every node and the target up.

        A node whose volume has failed (it was fenced, say) is killed and started anew.
        """
        self.target.thaw()
        self.target.start()
        for name, up in fabric.links(self.instance).items():
            if not up:
                self.plug(*name.split("-"), True)
        for node in self.nodes:
            if node.frozen:
                node.thaw()
            if self.use_csvfs and node.up and csvfs.volume_state(node) in csvfs.BAD_STATES:
                node.kill()
        for node in self.nodes:
            self.start(node.name)
        names = [node.name for node in self.nodes]
        self.wait_members(names, names, quorate=True)
        if self.use_csvfs:
            for node in self.nodes:
                csvfs.wait_online(node)
