# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `node`: another command inside a node, in this process's place."""
import os

from .errors import HarnessError
from .fabric import FABRIC, TARGET


def enter(cluster_class, words):
    """Become `CMD ARG...` in a box; words are BOX CMD ARG... Does not return.

    BOX is a node, `tgt` for the target's box, or `fab` for the namespace with the bridges.
    """
    if len(words) < 2:
        raise HarnessError(f"usage: {cluster_class.command}/node nX|tgt|fab CMD ARG...")
    cluster, where, command = cluster_class.load(), words[0], words[1:]
    if where == FABRIC:
        entry = ["ip", "netns", "exec", cluster.instance.netns(FABRIC)]
        os.execvp(entry[0], entry + command)
    box = cluster.target if where == TARGET else cluster.node(where)
    entry = box.enter_words()
    os.execvpe(entry[0], entry + command, box.environment())
