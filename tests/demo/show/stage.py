# SPDX-License-Identifier: GPL-2.0-or-later
"""The stage: cluster, VHD, definition of the VM, its start on a node, the records it has acknowledged."""
import json
import os
import shutil
import subprocess
import time

from harness.instance import MOUNT_POINT
from vm import seriallog
from vm.paths import ROOT

from .timeline import require

VM = "vm1"
BIN = ROOT / "build" / "bin"
HOOK = ROOT / "migrate" / "hook" / "vm-launch"


class Stage:
    """Everything the acts of a demo share.

    cluster  one that is not up yet
    logs     folder for the VM's serial logs, the same path on all nodes
    """

    def __init__(self, timeline, cluster, logs):
        self.timeline = timeline
        self.cluster = cluster
        self.logs = logs
        self.log_dirs = []
        self.log = None

    def up(self):
        """Cluster up, hooks installed, one log folder for all nodes."""
        os.environ["CSV_VM_BOOT_DIR"] = str(ROOT / "build" / "guest")
        os.environ["CSV_VM_EXEC"] = str(BIN / "csv-vm-exec")
        shutil.rmtree(self.logs, ignore_errors=True)
        self.new_log()  # before csvlockd starts, which hands the folder on to the VMs that come to it
        self.cluster.up()
        for node in self.cluster.nodes:
            node.run(["install", "-d", "/etc/csvfs/hooks"])
            node.run(["install", "-m", "755", HOOK, "/etc/csvfs/hooks/vm-launch"])

    def new_log(self):
        """VMs that are started from now on write another log; what an old one of them still says is not followed."""
        if self.log:
            self.log.close()
        folder = self.logs / str(len(self.log_dirs))
        folder.mkdir(parents=True)
        self.log_dirs.append(folder)
        os.environ["CSV_VM_LOG_DIR"] = str(folder)
        self.log = seriallog.SerialLog(folder / f"{VM}.log")

    def log_files(self):
        """All logs of the VM, oldest first."""
        return [folder / f"{VM}.log" for folder in self.log_dirs]

    def adm(self, node, *words, codes=(0,)):
        """csvadm --json on a node; its object. Other exit codes than `codes` end the demo."""
        argv = self.cluster.node(node).enter_words() + [str(BIN / "csvadm"), "--json", *map(str, words)]
        done = subprocess.run(argv, env=self.cluster.node(node).environment(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False,
                              timeout=120 * self.cluster.node(node).slowness)
        require(done.returncode in codes, f"csvadm {' '.join(map(str, words))} on {node}: exit {done.returncode}:"
                                          f" {done.stderr.strip()}")
        return json.loads(done.stdout) if done.stdout.strip() else {}

    # -- the VM -----------------------------------------------------------

    @property
    def image(self):
        """The VHD inside a node."""
        return f"{MOUNT_POINT}/{VM}.vhd"

    @property
    def definition(self):
        """The VM's definition inside a node."""
        return f"{MOUNT_POINT}/{VM}.ini"

    def make_vm(self, node, size, text):
        """VHD of that many bytes and a definition of that text, both on the volume."""
        made = self.adm(node, "vhd", "create", self.image, "--size", size)
        self.cluster.node(node).run(["sh", "-c", 'cat >"$0"', self.definition], input=text)
        return made

    def boot(self, node, word="READY", deadline_s=60):
        """Starts the VM cold on a node; ms from the call to the guest's line that begins with this word."""
        seen = len(self.log.lines)
        start = time.monotonic_ns()
        self.launch(node, "-")
        ready, _ = self.log.wait_line(word, deadline_s * self.cluster.node(node).slowness, after=seen)
        return (ready - start) / 1e6

    def launch(self, node, incoming):
        """vm-launch on a node, as an administrator or hypervisor calls it."""
        argv = self.cluster.node(node).enter_words() + ["/etc/csvfs/hooks/vm-launch", self.definition, incoming]
        done = subprocess.run(argv, env=self.cluster.node(node).environment(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False,
                              timeout=60 * self.cluster.node(node).slowness)
        require(done.returncode == 0, f"vm-launch on {node}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def close(self):
        """Ends the log's thread; the cluster is the caller's."""
        if self.log:
            self.log.close()
