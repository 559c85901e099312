# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's DLM on a machine: dlm_controld."""
from harness.wait import wait_until

START_S = 60

# Fencing is ours; the DLM waits for nobody.
_CONF = "enable_fencing=0\n"
_JOINED = "/sys/kernel/config/dlm/cluster/comms/{number}/local"


def begin_start(node):
    """Start dlm_controld on a node, unless it runs. corosync has to run."""
    if node.pid_of("dlm_controld"):
        return
    node.run(["sh", "-c", 'mkdir -p /etc/dlm && printf %s "$0" >/etc/dlm/dlm.conf', _CONF])
    node.spawn("dlm_controld", ["dlm_controld", "-D", "-K"])


def wait_start(node):
    """Wait until lockspaces can be joined. dlm_tool answers before that, and joining then fails."""
    path = _JOINED.format(number=node.number)
    wait_until(f"dlm_controld of {node.name} to configure the kernel",
               lambda: node.run(["cat", path], check=False).stdout.strip() == "1", START_S,
               dead=node.dead_reason("dlm_controld"))
