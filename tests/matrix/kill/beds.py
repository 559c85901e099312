# SPDX-License-Identifier: GPL-2.0-or-later
"""The clusters that the matrix runs on, and what differs between them."""
import contextlib
import json

from commands import volume
from harness import Cluster, csvfs
from harness.errors import WaitTimeout
from harness.instance import BIN, MOUNT_POINT, Instance
from recoverylog import recovery_times

LATE_S = 30  # for late writes of a machine that wakes up
ALIVE = ("online", "recovering", "paused", "no quorum")


class Bed:
    """A cluster with csvfs mounted on every node.

    name        of the bed, for reports
    cluster     harness.Cluster, or bed.Lab
    seconds     deadline of whatever a cell waits for, on nodes that are not slow
    path_s      how long a mount waits for the path to the LUN once it is known to be gone
    """

    def __init__(self, name, cluster, seconds, path_s):
        self.name, self.cluster, self.seconds, self.path_s = name, cluster, seconds, path_s
        for node in cluster.nodes:
            node.options = [f"path_timeout={path_s}"]

    def impossible(self, row, column):
        """Why there is no such cell on this bed; None if there is."""
        return None

    def expelled(self, node):
        """The node was put out while it lived: what that means for its return."""

    # -- what a cell asks --------------------------------------------------

    def log(self, node):
        """What csvlockd of a node has logged so far."""
        return (node.dir / "csvlockd.log").read_text(encoding="utf-8", errors="replace")

    # -- afterwards --------------------------------------------------------

    def settle(self, out):
        """Every node back in; returns those that did not come by what the documents promise, and were started anew.

        out  nodes that were put out, with the lives they had (life())
        """
        for node, before in out.items():
            if self.may_rejoin(node):
                self.cluster.wait_until(f"{node.name} to know that it is out", lambda n=node, b=before: self.is_out(n, b),
                                        self.seconds, every=0.1)
                node.run([BIN / "csvadm", "node", "rejoin"], timeout=self.seconds, check=False)
        lost = [node.name for node in self.cluster.nodes if self.may_rejoin(node) and not self.lives(node)]
        self.cluster.heal()
        return lost

    def wake(self):
        """Whatever was stopped goes on: processes that wait for it cannot even be killed before."""
        self.cluster.target.thaw()
        for node in self.cluster.nodes:
            if node.up:
                node.thaw()

    def repair(self, row, scene):
        """Undo a fault whose victim is out."""
        row.repair(scene)

    def may_rejoin(self, node):
        """Whether the node needs no new start."""
        return self.runs(node)

    def is_out(self, node, before):
        """Whether its mount has another life, or knows that it needs one."""
        return csvfs.volume_state(node) in ("fenced", "failed") or life(node) not in (before, (None, None))

    def restart(self):
        """A power failure of all nodes, and their start."""
        self.wake()
        for node in self.cluster.nodes:
            node.kill()
        self.cluster.target.start()
        for node in self.cluster.nodes:
            if not self.cluster.has_links(node):
                self.cluster.create_links(node)
            for net in ("clus", "stor"):
                self.cluster.set_link(node.name, net, True)
        self.cluster.power_on(self.cluster.nodes)
        self.cluster.mount(self.cluster.nodes)

    def runs(self, node):
        """Whether the node is up, with its csvlockd."""
        return node.up and node.pid_of("csvlockd") is not None

    def lives(self, node):
        """Whether its volume is online, or will be without anybody's help."""
        return csvfs.volume_state(node) in (*ALIVE, "down")

    def check(self):
        """csvadm check of the volume, unmounted everywhere; mounted again afterwards. Its findings."""
        for node in self.cluster.nodes:
            csvfs.csvadm(node, ["umount", MOUNT_POINT], timeout=self.seconds)
        done = self.cluster.nodes[-1].run([BIN / "csvadm", "--json", "check", self.cluster.lun], check=False,
                                          timeout=10 * self.seconds)
        self.cluster.mount(self.cluster.nodes)
        said = json.loads(done.stdout)
        return [] if said.get("clean") else said.get("findings") or [said]


class Host(Bed):
    """Five nodes in namespaces of this host: two may die, and there is quorum still."""

    def __init__(self, cluster=None):
        super().__init__("host", cluster or Cluster(Instance.from_environment("matrix").name, nodes=5), 60, 4)


class Duel(Bed):
    """Two nodes in namespaces of this host, each of which has quorum alone."""

    def __init__(self):
        super().__init__("duel", Cluster(f"{Instance.from_environment('matrix').name}-duel", nodes=2), 60, 4)


class Virtual(Bed):
    """Three virtual machines with the kernel's DLM; a machine that was put out while it lived is started anew."""

    def __init__(self):
        from bed import Lab  # needs what only the lab has

        lab = Lab(Instance.from_environment("matrix-lab").name, nodes=3, lun_size="4G", luns=1, use_csvfs=True, fencing=True)
        super().__init__("lab", lab, 60, 30)

    def impossible(self, row, column):
        if row == "node-without-power":
            return "a machine that is killed sends no last packet: node-killed is the same"
        return None

    def expelled(self, node):
        node.cast_out()

    def repair(self, row, scene):
        """A machine that was put out while it lived must not come back among the others: they would kill one of theirs.

        So it wakes up alone, for its late writes, and ends when the bed is settled.
        """
        if row.expels:
            self.cluster.net_cut(scene.victim.name)
        if row.wakes or not row.expels:
            row.repair(scene)
        if row.wakes:
            self.give_time(scene)

    def give_time(self, scene):
        """For what the victim may still try. One that waits for a lock gets no answer, alone as it is."""
        with contextlib.suppress(WaitTimeout):
            self.cluster.wait_until("its writers to fail", lambda: all(load.recorder.failed() for load in scene.loads
                                                                       if load.endless), LATE_S)

    def may_rejoin(self, node):
        return self.runs(node) and not node.outcast.exists()


def life(node):
    """(slot, incarnation) of a node's mount."""
    now = volume(node)
    return now.get("slot"), now.get("incarnation")


def recoverer(bed, nodes, victim, since):
    """Node that recovers the victim, as the logs of `nodes` tell; None if they do not yet."""
    for node in nodes:
        times, by = recovery_times(bed.log(node), victim, since)
        if "out" in times and by:
            return by
    return None

