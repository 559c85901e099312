# SPDX-License-Identifier: GPL-2.0-or-later
"""csvfs on a node: csvlockd, formatting the volume, mounting it."""
import json
import subprocess

from .errors import HarnessError
from .instance import BIN, MOUNT_POINT, VOLUME
from .shell import tail, text_of
from .wait import wait_until

# States of a volume (None: not mounted) from which only a new start leads back.
BAD_STATES = (None, "failed", "fenced", "withdrawn")

_LOCKD_SOCKET = "/run/csvfs/lockd.sock"


def require_binaries():
    """Fail early, and clearly, if csvfs has not been built."""
    missing = [name for name in ("csvlockd", "csvadm", "csvfs") if not (BIN / name).exists()]
    if missing:
        raise HarnessError(f"not built: {', '.join(f'build/bin/{name}' for name in missing)};"
                           " run make, or bring the cluster up with --no-csvfs")


def begin_lockd(node):
    """Start csvlockd on a node, unless it runs."""
    if node.pid_of("csvlockd"):
        return
    node.remove_file(_LOCKD_SOCKET)  # of a killed one; its presence is what we wait for
    node.spawn("csvlockd", [BIN / "csvlockd", "--foreground"])


def wait_lockd(node):
    """Wait until csvlockd takes connections."""
    wait_until(f"csvlockd of {node.name} to make {_LOCKD_SOCKET}",
               lambda: node.has_socket(_LOCKD_SOCKET), 15 * node.slowness,
               dead=node.dead_reason("csvlockd"))


def csvadm(node, words, timeout=None):
    """Run csvadm with its output in the node's csvadm.log.

    A file and not a pipe: a daemon left behind by `mount` may keep its
    standard output open, and nobody would see the end of a pipe.
    """
    timeout = timeout or 60 * node.slowness
    log = node.dir / "csvadm.log"
    argv = [BIN / "csvadm", *words]
    with open(log, "ab") as output:
        output.write(f"$ {text_of(argv)}\n".encode())
        output.flush()
        child = node.popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise HarnessError(f"{node.name}: no end after {timeout} s: {text_of(argv)}\n{tail(log)}") from None
    if code != 0:
        raise HarnessError(f"{node.name}: exit {code}: {text_of(argv)}\n{tail(log)}")


def format_volume(node, lun, cluster_name, options=()):
    """Make the volume, from one node, once in the life of the LUN."""
    csvadm(node, ["format", lun, "--name", VOLUME, "--cluster", cluster_name, *options])


def mount(node, lun):
    """Mount the volume on a node, unless it is mounted."""
    if not node.mounted(MOUNT_POINT):
        options = [f"lock={node.lock}", f"node={node.name}", f"log={node.dir}/csvfs.log", *node.options]
        csvadm(node, ["mount", lun, MOUNT_POINT, "-o", ",".join(options)])


def volume_state(node):
    """State of the volume on a node in csvadm's words ('online', ...), or None if it has none."""
    try:
        done = node.run([BIN / "csvadm", "--json", "status"], timeout=10 * node.slowness, check=False)
    except HarnessError:
        return None
    return state_in(done.stdout)


def state_in(text):
    """The same out of what `csvadm --json status` has printed."""
    try:
        volumes = json.loads(text)["volumes"]
    except (ValueError, KeyError):
        return None
    return next((volume["state"] for volume in volumes if volume["name"] == VOLUME), None)


def wait_online(node):
    """Wait until the volume is online on a node; recoveries in progress take their time."""
    wait_until(f"{VOLUME} to be online on {node.name}",
               lambda: volume_state(node) == "online", 60 * node.slowness, every=0.1)
