# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `ctl`: faults and repairs by name."""
from operator import attrgetter

from . import fabric
from .errors import HarnessError
from .lock import instance_lock

# What it does on a node: its method of the cluster, and in words.
NODE_ACTIONS = {
    "kill": ("kill", "SIGKILL every process of the node, drop its mounts"),
    "poweroff": ("poweroff", "the node vanishes without a last packet"),
    "freeze": ("freeze", "SIGSTOP every process of the node"),
    "thaw": ("thaw", "SIGCONT every process of the node"),
    "start": ("start", "corosync, csvlockd and the mount again"),
    "net-cut": ("net_cut", "pull the node's cluster link"),
    "net-heal": ("net_heal", "plug the cluster link in again"),
    "lun-cut": ("lun_cut", "pull the node's storage link"),
    "lun-heal": ("lun_heal", "plug the storage link in again"),
}
# The same without a node; a dot leads to a method of a part.
WHOLE_ACTIONS = {
    "heal": ("heal", "undo every fault, wait until all is well"),
    "target-stop": ("target.stop", "kill the iSCSI target"),
    "target-start": ("target.start", "start it again on the same LUNs"),
    "target-freeze": ("target.freeze", "it no longer answers"),
    "target-thaw": ("target.thaw", "it answers again"),
}


def usage(command):
    """One line for each action."""
    lines = [f"usage: {command}/ctl ACTION nX | target-ACTION | heal | status"]
    lines += [f"  {name + ' nX':<14} {text}" for name, (_, text) in NODE_ACTIONS.items()]
    lines += [f"  {name:<14} {text}" for name, (_, text) in WHOLE_ACTIONS.items()]
    return "\n".join(lines + [f"  {'status':<14} state and pulled links of every node"])


def status(cluster):
    """Print a line for each box."""
    plugged = fabric.links(cluster.instance)
    for box in cluster.nodes + [cluster.target]:
        state = "frozen" if box.frozen else "up" if box.up else "down"
        pulled = [name for name, up in plugged.items()
                  if name.startswith(f"{box.name}-") and not up]
        print(box.name, state, *(f"pulled:{name.partition('-')[2]}" for name in sorted(pulled)))


def ctl(cluster_class, words):
    """Perform an action on the running cluster of a class."""
    if words == ["status"]:
        return status(cluster_class.load())
    if len(words) == 2 and words[0] in NODE_ACTIONS:
        path = NODE_ACTIONS[words[0]][0]
    elif len(words) == 1 and words[0] in WHOLE_ACTIONS:
        path = WHOLE_ACTIONS[words[0]][0]
    else:
        raise HarnessError(usage(cluster_class.command))
    cluster = cluster_class.load()
    with instance_lock(cluster.instance, shared=True):
        attrgetter(path)(cluster)(*words[1:])
    return 0
