# SPDX-License-Identifier: GPL-2.0-or-later
"""Who dies or stands still. A row is what is done to the victim of a scene, and what brings it back.

strike()   the fault; it notes the moment by scene.mark()
follow()   what has to be done before anybody can go on: quorum, or an administrator's word
repair()   undoes the fault, as far as it is not the node's own business (Bed.settle)
"""
import signal

from commands import adm
from daemons import kill_pids, kill_program, lockd_pids, pid_of, stop_pids
from harness.errors import HarnessError

from .beds import recoverer


class Row:
    """The plain case: the victim is out, its slot is fenced and replayed, others go on with what it had."""

    goes_on = False    # the victim keeps its life: nobody is fenced
    may_fail = False   # a process that was writing may be told that its last write has failed
    late = False       # the survivors' processes start after the fault
    everybody = False  # who will be left is not known before: processes on all nodes but the victim
    expels = False     # the victim is put out while it lives
    wakes = False      # after the repair it tries to go on with what it had begun

    def __init__(self, name, text):
        self.name, self.text = name, text

    def strike(self, scene):
        raise NotImplementedError

    def follow(self, scene):
        pass

    def repair(self, scene):
        pass


class NodeKilled(Row):
    def strike(self, scene):
        scene.mark()
        scene.cluster.kill(scene.victim.name)


class NodeWithoutPower(Row):
    def strike(self, scene):
        scene.mark()
        scene.cluster.poweroff(scene.victim.name)


class NodeFrozen(Row):
    expels = wakes = True

    def strike(self, scene):
        scene.mark()
        scene.cluster.freeze(scene.victim.name)

    def repair(self, scene):
        scene.cluster.thaw(scene.victim.name)


class ProgramKilled(Row):
    """SIGKILL to the process of a role; what a supervisor would do is the harness's to do."""

    def __init__(self, name, text, role, expels):
        super().__init__(name, text)
        self.role, self.expels = role, expels

    def strike(self, scene):
        scene.mark()
        kill_program(scene.victim, self.role, scene.bed.seconds)

    def repair(self, scene):
        if self.expels:
            scene.cluster.power_on([scene.victim])


class LockdStruck(Row):
    """csvlockd crashes or hangs: its supervisor starts another one, and the mount attaches again.

    how  kill_pids or stop_pids
    """

    goes_on = True

    def __init__(self, name, text, how):
        super().__init__(name, text)
        self.how = how

    def strike(self, scene):
        child = lockd_pids(scene.victim)[1]
        scene.mark()
        self.how(scene.victim, [child], scene.bed.seconds)


class Stopped(Row):
    """SIGSTOP to processes of the victim, for as long as it takes the others to go on."""

    expels = wakes = True
    pids = ()

    def __init__(self, name, text, which):
        super().__init__(name, text)
        self.which = which

    def strike(self, scene):
        self.pids = self.which(scene.victim)
        scene.mark()
        stop_pids(scene.victim, self.pids, scene.bed.seconds)

    def repair(self, scene):
        scene.victim.signal(self.pids, signal.SIGCONT)


class CsvfsFrozen(Stopped):
    """Nobody ends that but an administrator: a csvfs may take as long as its I/O takes."""

    def follow(self, scene):
        adm(scene.heirs_nodes[0], "node", "fence", scene.victim.name, "--yes", timeout=scene.bed.seconds)


class LinkCut(Row):
    """The victim's cable on a net: clus or stor."""

    expels = True

    def __init__(self, name, text, net):
        super().__init__(name, text)
        self.net = net
        self.wakes = net == "stor"

    def strike(self, scene):
        scene.mark()
        {"clus": scene.cluster.net_cut, "stor": scene.cluster.lun_cut}[self.net](scene.victim.name)

    def repair(self, scene):
        scene.cluster.set_link(scene.victim.name, self.net, True)


class TargetRestarts(Row):
    """Sessions and reservations are gone; nobody is fenced."""

    goes_on = True
    may_fail = True  # J4: what was written before the loss and not flushed

    def strike(self, scene):
        scene.mark()
        scene.cluster.target.stop()
        scene.cluster.target.start()


class SecondDeath(Row):
    """While the first is being recovered another node dies: the target stands still until it has, so no fence ends before."""

    everybody = True

    def second(self, scene, by):
        """The one that dies: not the one that recovers."""
        return next(node for node in scene.others if node.name != by)

    def strike(self, scene):
        scene.cluster.target.freeze()
        scene.mark()
        scene.cluster.kill(scene.victim.name)
        by = scene.cluster.wait_until(f"somebody to recover {scene.victim.name}",
                                      lambda: recoverer(scene.bed, scene.others, scene.victim.name, scene.died),
                                      scene.bed.seconds, every=0.01)
        scene.second = self.second(scene, by)
        scene.killed.append(scene.second)
        scene.cluster.kill(scene.second.name)
        scene.cluster.target.thaw()

    def follow(self, scene):
        """Too few are left: the second comes back first, and is no mount before the recovery."""
        left = len(scene.cluster.nodes) - 2
        if 2 * left <= len(scene.cluster.nodes):
            scene.cluster.start(scene.second.name)


class RecovererDies(SecondDeath):
    """The one that was told to fence dies with the fence on its way; another starts over (F4)."""

    def second(self, scene, by):
        return scene.cluster.node(by)


class AllDie(Row):
    """Every node at once, and they start again: the first to mount recovers all."""

    late = True

    def strike(self, scene):
        for node in scene.cluster.nodes:
            scene.cluster.kill(node.name)
        scene.killed += scene.others
        scene.mark()
        scene.cluster.power_on(scene.cluster.nodes)
        scene.cluster.mount(scene.others)

    def repair(self, scene):
        scene.cluster.mount([scene.victim])


def corosync(node):
    return [pid_of(node, "corosync")]


def csvfs_process(node):
    return [pid_of(node, "csvfs")]


ROWS = [
    NodeKilled("node-killed", "SIGKILL to all of the node; its TCP connections end in order"),
    NodeWithoutPower("node-without-power", "no last packet"),
    NodeFrozen("node-frozen", "it wakes up when the others have gone on"),
    ProgramKilled("csvfs-killed", "its csvlockd mounts the volume again", "csvfs", False),
    CsvfsFrozen("csvfs-frozen", "until csvadm node fence", csvfs_process),
    LockdStruck("csvlockd-crashed", "its supervisor starts another one in time", kill_pids),
    ProgramKilled("csvlockd-killed", "with its supervisor: it does not come back in time", "csvlockd", True),
    LockdStruck("csvlockd-frozen", "its supervisor kills it and starts another one in time", stop_pids),
    Stopped("csvlockd-hung", "with its supervisor: the others evict it", lockd_pids),
    ProgramKilled("corosync-killed", "the node is out", "corosync", True),
    Stopped("corosync-frozen", "the node is out, until it merges", corosync),
    LinkCut("cluster-link-cut", "the node is alone, without quorum", "clus"),
    LinkCut("lun-path-cut", "the node gives the volume up after path_timeout", "stor"),
    TargetRestarts("target-restarted", "sessions and reservations are lost"),
    SecondDeath("second-death", "another node dies during the recovery"),
    RecovererDies("recoverer-dies", "with the fence on its way"),
    AllDie("all-die", "and come back; counted from their start"),
]


def row(name):
    """A row by name."""
    for one in ROWS:
        if one.name == name:
            return one
    raise HarnessError(f"no row {name}: " + " ".join(r.name for r in ROWS))
