# SPDX-License-Identifier: GPL-2.0-or-later
"""corosync on a node: its configuration, its start, what it says of the membership."""
import os

from .errors import HarnessError
from .instance import address
from .shell import run, tail
from .wait import wait_until

_TOTEM = """\
totem {{
    version: 2
    cluster_name: {cluster}
    transport: knet
    crypto_model: openssl
    crypto_cipher: aes256
    crypto_hash: sha256
    keyfile: {key}
    token: {token}
    # Without this each node beyond two adds 650 ms to the time in which a death is noticed.
    token_coefficient: 0
{link}}}
"""

# No real-time scheduling and no cgroup move: the test bed has no right to either.
_SYSTEM = """\
system {{
    state_dir: {state}
    sched_rr: no
    move_to_root_cgroup: no
    allow_knet_handle_fallback: yes
}}
logging {{
    to_stderr: no
    to_syslog: no
    to_logfile: yes
    logfile: {log}
    timestamp: hires
}}
"""


def make_key(path):
    """Write the key that all nodes share."""
    run(["corosync-keygen", "-k", path])


def config_text(cluster, number):
    """corosync.conf of node `number`; all differ only in their own paths."""
    node = cluster.node(number)
    text = _TOTEM.format(cluster=cluster.instance.name, key=cluster.key_file, token=cluster.token_ms,
                         link=link_text(cluster.link_options))
    text += "nodelist {\n"
    for other in cluster.nodes:
        text += (f"    node {{\n        nodeid: {other.number}\n        name: {other.name}\n"
                 f"        ring0_addr: {address('clus', other.number)}\n    }}\n")
    text += f"}}\nquorum {{\n    provider: corosync_votequorum\n    expected_votes: {len(cluster.nodes)}\n"
    if len(cluster.nodes) == 2:
        text += "    two_node: 1\n"
    return text + "}\n" + _SYSTEM.format(state=node.dir / "corosync", log=log_file(node))


def link_text(options):
    """The section of corosync.conf for the one link; nothing if it has no options."""
    if not options:
        return ""
    lines = ["linknumber: 0"] + [f"{key}: {value}" for key, value in options.items()]
    return "    interface {\n" + "".join(f"        {line}\n" for line in lines) + "    }\n"


def log_file(node):
    """Where a node's corosync logs."""
    return node.dir / "corosync.main.log"


def begin_start(cluster, number):
    """Start corosync on a node, unless it runs."""
    node = cluster.node(number)
    if node.pid_of("corosync"):
        return
    (node.dir / "corosync").mkdir(exist_ok=True)
    conf = node.dir / "corosync.conf"
    conf.write_text(config_text(cluster, number), encoding="utf-8")
    os.chmod(conf, 0o600)
    node.spawn("corosync", ["corosync", "-f", "-c", conf])


def membership(node):
    """What a node believes: {'quorate': bool, 'members': {ids}}, or None if it does not answer."""
    try:
        done = node.run(["corosync-quorumtool", "-s", "-p"], check=False, timeout=5 * node.slowness)
    except HarnessError:
        return None
    return parse_quorumtool(done.stdout)


def parse_quorumtool(text):
    """Parse `corosync-quorumtool -s -p`; None if it is no answer."""
    quorate, members, in_list = None, set(), False
    for line in text.splitlines():
        words = line.split()
        if line.startswith("Quorate:"):
            quorate = words[1] == "Yes"
        elif words[:1] == ["Nodeid"]:
            in_list = True
        elif in_list and words and words[0].isdigit():
            members.add(int(words[0]))
    return None if quorate is None else {"quorate": quorate, "members": members}


def wait_members(node, expected, seconds, quorate=None):
    """Wait until a node sees exactly these members (node ids).

    quorate  if given, also wait for this value
    Returns the membership; raises WaitTimeout with the end of the log.
    """
    expected = set(expected)

    def check():
        seen = membership(node)
        ok = (seen and seen["members"] == expected
              and (quorate is None or seen["quorate"] == quorate))
        return seen if ok else None

    what = f"{node.name} to see members {sorted(expected)}"
    if quorate is not None:
        what += " with quorum" if quorate else " without quorum"
    gone = node.dead_reason("corosync")
    return wait_until(what, check, seconds, every=0.05,
                      dead=lambda: gone() and f"{gone()}{tail(log_file(node))}")
