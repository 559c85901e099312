# SPDX-License-Identifier: GPL-2.0-or-later
"""Removing an instance, from its names alone.

Nothing here reads the state file: an `up` killed at any point must be
removable, and so must an instance whose state directory somebody deleted.
"""
import shutil

from . import fabric, procs
from .errors import HarnessError
from .hostmounts import unmount_below
from .lock import instance_lock
from .signals import shielded


def members(instance):
    """Every process of the instance, in its namespaces or started by it."""
    ids = [procs.namespace_id(fabric.netns_path(name)) for name in fabric.existing(instance)]
    return procs.in_namespaces(ids) | procs.with_mark(f"{instance.state}#")


def foreign_owner(instance):
    """State directory of another source tree that runs an instance of this name, or None."""
    ids = [procs.namespace_id(fabric.netns_path(name)) for name in fabric.existing(instance)]
    for pid in procs.in_namespaces(ids):
        owner = procs.mark_of(pid).rpartition("#")[0]
        if owner and owner != str(instance.state):
            return owner
    return None


def refuse_foreign(instance):
    """Raise HarnessError if the name is another source tree's. Before the lock, which makes a directory."""
    other = foreign_owner(instance)
    if other:
        raise HarnessError(f"a cluster named {instance.name} of another source tree is running"
                           f" ({other}); choose another name with CSV_CLUSTER")


def remove(instance):
    """End processes, then namespaces, mounts and files. The caller holds the lock."""
    procs.kill_all(lambda: members(instance), f"cluster {instance.name}", seconds=20)
    for name in fabric.existing(instance):
        fabric.delete(name)
    unmount_below(instance.state)
    for entry in instance.state.iterdir():
        # The directory itself carries the lock and goes last.
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def remove_all(instance):
    """remove(), and the state directory. The caller holds the lock."""
    remove(instance)
    instance.state.rmdir()


def down(instance):
    """Remove every trace of the instance; does nothing if there is none."""
    refuse_foreign(instance)
    with instance_lock(instance), shielded():
        remove_all(instance)
