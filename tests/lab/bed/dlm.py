# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's DLM on a machine: dlm_controld."""
from harness.wait import wait_until

START_S = 60

# Without an agent the DLM waits for nobody.  With one it does, from the first moment: by default it would give a node
# that joins half a minute first.
_CONF_OFF = "enable_fencing=0\n"
_CONF_ON = "enable_fencing=1\nfence_all {agent}\npost_join_delay=1\n"
_READY = "/sys/kernel/config/dlm/cluster/comms/{number}/local"

# Whoever leaves its last lockspace takes leave of every other node's kernel, and if that one does so too, both may
# wait three minutes (midcomms.c of kernel 6.1). So no node of the lab ever leaves its last one.
_BASE = "base"


def begin_start(node, agent=None):
    """Start dlm_controld on a node, unless it runs; it fences with this agent. corosync has to run."""
    if node.pid_of("dlm_controld"):
        return
    node.run(["sh", "-c", 'mkdir -p /etc/dlm && printf %s "$0" >/etc/dlm/dlm.conf',
              _CONF_ON.format(agent=agent) if agent else _CONF_OFF])
    node.spawn("dlm_controld", ["dlm_controld", "-D", "-K"])


def runs(node):
    """Whether dlm_controld runs. It ends with its corosync, and corosync when another node's DLM wants it dead."""
    return node.run(["dlm_tool", "status"], check=False).returncode == 0


def wait_start(node):
    """Wait until dlm_controld has set up the kernel. dlm_tool answers before that, and joining then fails."""
    path = _READY.format(number=node.number)
    wait_until(f"dlm_controld of {node.name} to configure the kernel",
               lambda: node.run(["cat", path], check=False).stdout.strip() == "1", START_S,
               dead=node.dead_reason("dlm_controld"))


def join_base(node):
    """Join the lockspace that is never left. That waits until who is gone is fenced, and the fence for csvlockd."""
    if _BASE not in node.run(["dlm_tool", "ls"]).stdout.split():
        node.run(["dlm_tool", "join", _BASE])
