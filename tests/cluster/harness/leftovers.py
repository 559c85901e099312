# SPDX-License-Identifier: GPL-2.0-or-later
"""What of an instance is still there. After `down` the answer must be: nothing."""
import json
import os
import re

from . import fabric, hostmounts, procs, teardown
from .shell import run

# Namespaces a process can keep alive, and through which a mount could stay.
_PORT = re.compile(r"(n\d+|tgt)-(stor|clus|mig|guest)")


def find(instance):
    """List what is left, one line each; empty if the instance is gone."""
    found = [f"namespace {name}" for name in fabric.existing(instance)]
    found += [f"process {pid} ({_command(pid)})" for pid in sorted(teardown.members(instance))]
    found += [f"mount {line}" for line in _mounts(instance)]
    found += [f"link {name}" for name in _host_links()]
    if instance.state.exists():
        found.append(f"directory {instance.state}")
    return found


def _command(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return "ended"


def _mounts(instance):
    """Mounts of the instance's files, in any mount namespace that a process is in."""
    state, seen, found = str(instance.state), set(), []
    for pid in [os.getpid()] + procs.all_pids():
        namespace = procs.namespace_id(f"/proc/{pid}/ns/mnt")
        if not namespace or namespace in seen:
            continue
        seen.add(namespace)
        try:
            with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as file:
                entries = hostmounts.parse_mountinfo(file.read())
        except OSError:
            continue
        found += [f"{point} (seen by process {pid})" for point, source, root in entries
                  if any(text == state or text.startswith(state + "/") for text in (point, source, root))]
    return found


def _host_links():
    """Links of our naming on the host itself, where none may ever be."""
    done = run(["ip", "-json", "link", "show"])
    return [link["ifname"] for link in json.loads(done.stdout or "[]")
            if _PORT.fullmatch(link["ifname"])]
