# SPDX-License-Identifier: GPL-2.0-or-later
"""The stage: cluster, VHD, definition of the VM, its start on a node, the records it has acknowledged."""
import json
import os
import pathlib
import shutil
import subprocess
import time

from harness.cluster import Cluster
from harness.instance import MOUNT_POINT
from vm import disk, linux, seriallog
from vm.paths import ROOT

from .timeline import require

VM = "vm1"
MAC = "52:54:00:c5:f5:01"
SEED = 1
DISK_SIZE = disk.GUEST_DISK
BIN = ROOT / "build" / "bin"
LOGS = ROOT / "build" / "demo" / "vm-logs"
HOOK = ROOT / "migrate" / "hook" / "vm-launch"


class Stage:
    """Everything the acts of the demo share."""

    def __init__(self, timeline, accel):
        self.timeline = timeline
        self.accel = accel
        self.cluster = Cluster("demo", nodes=3, lun_size="8G", token_ms=1000)
        self.log_dirs = []
        self.log = None

    def up(self):
        """Cluster up, hooks installed, one log folder for all nodes."""
        os.environ["CSV_VM_BOOT_DIR"] = str(ROOT / "build" / "guest")
        os.environ["CSV_VM_EXEC"] = str(BIN / "csv-vm-exec")
        shutil.rmtree(LOGS, ignore_errors=True)
        self.new_log()  # before csvlockd starts, which hands the folder on to the VMs that come to it
        self.cluster.up()
        for node in self.cluster.nodes:
            node.run(["install", "-d", "/etc/csvfs/hooks"])
            node.run(["install", "-m", "755", HOOK, "/etc/csvfs/hooks/vm-launch"])

    def new_log(self):
        """VMs that are started from now on write another log; what an old one of them still says is not followed."""
        if self.log:
            self.log.close()
        folder = LOGS / str(len(self.log_dirs))
        folder.mkdir(parents=True)
        self.log_dirs.append(folder)
        os.environ["CSV_VM_LOG_DIR"] = str(folder)
        self.log = seriallog.SerialLog(folder / f"{VM}.log")

    def log_files(self):
        """All logs of the VM, oldest first."""
        return [folder / f"{VM}.log" for folder in self.log_dirs]

    def adm(self, node, *words, codes=(0,), timeout=120):
        """csvadm --json on a node; its object. Other exit codes than `codes` end the demo."""
        argv = self.cluster.node(node).enter_words() + [str(BIN / "csvadm"), "--json", *map(str, words)]
        done = subprocess.run(argv, env=self.cluster.node(node).environment(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False, timeout=timeout)
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

    def make_vm(self, node):
        """VHD and definition, both on the volume."""
        made = self.adm(node, "vhd", "create", self.image, "--size", DISK_SIZE)
        text = linux.definition(VM, f"{VM}.vhd", accel=self.accel, bridge="vmbr0", mac=MAC, size=DISK_SIZE,
                                append=linux.append_line(seed=SEED, address="10.77.4.100/24"))
        path = self.cluster.node(node).path(self.definition)
        pathlib.Path(path).write_text(text, encoding="utf-8")
        return made

    def boot(self, node, deadline_s=60):
        """Starts the VM cold on a node; ms from the call to the guest's first word and to READY."""
        seen = len(self.log.lines)
        start = time.monotonic_ns()
        self.launch(node, "-")
        ready, _ = self.log.wait_line("READY", deadline_s, after=seen)
        return (ready - start) / 1e6

    def launch(self, node, incoming):
        """vm-launch on a node, as an administrator or hypervisor calls it."""
        argv = self.cluster.node(node).enter_words() + ["/etc/csvfs/hooks/vm-launch", self.definition, incoming]
        done = subprocess.run(argv, env=self.cluster.node(node).environment(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False, timeout=60)
        require(done.returncode == 0, f"vm-launch on {node}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def close(self):
        """Ends the log's thread; the cluster is the caller's."""
        if self.log:
            self.log.close()
