# SPDX-License-Identifier: GPL-2.0-or-later
"""One VM on one node, started by the shipped vm-launch and ended for certain."""
import os
import select
import signal
import socket

from . import linux, qmp
from .launcher import launch

EXIT_DEADLINE_S = 30.0


class Machine:
    """A QEMU process. `with` ends it, however the block was left.

    run_dir, log_dir: the node's CSV_RUN_DIR and CSV_VM_LOG_DIR; prefix: what brings a command onto the node.
    """

    def __init__(self, definition, run_dir, log_dir, prefix=(), env=None):
        self.definition = definition
        self.prefix = prefix
        # Said last: a node's environment is the caller's, and that may name other folders for other VMs.
        self.env = {**os.environ, **linux.boot_environment(), **(env or {}), "CSV_RUN_DIR": str(run_dir),
                    "CSV_VM_LOG_DIR": str(log_dir)}
        self.pid = None
        self.info = None
        self._pidfd = None

    def start(self, incoming="-"):
        """Boots the VM, or with a URI makes it wait for a migration; the URI with its real port."""
        self.info = launch(self.definition, incoming, self.env, self.prefix)
        self.pid = self.info["pid"]
        # A pid may be used again; a descriptor of the process may not.
        self._pidfd = os.pidfd_open(self.pid)
        return self.info["incoming"]

    def monitor(self):
        """A new monitor client; close it before the next."""
        return qmp.Client(self.info["qmp"])

    def send(self, text):
        """Types into the guest's serial port."""
        with socket.socket(socket.AF_UNIX) as serial:
            serial.connect(self.info["serial"])
            serial.sendall(text.encode())

    def alive(self):
        """Does the process still run?"""
        return self._pidfd is not None and not select.select([self._pidfd], [], [], 0)[0]

    def wait_exit(self, deadline_s=EXIT_DEADLINE_S):
        """Waits for the process to end; False if it does not."""
        return self._pidfd is None or bool(select.select([self._pidfd], [], [], deadline_s)[0])

    def quit(self):
        """Ends QEMU by its monitor, as one does with the source after a migration."""
        with self.monitor() as monitor:
            monitor.execute("quit")
        if not self.wait_exit():
            raise TimeoutError(f"QEMU {self.pid} does not quit")

    def kill(self):
        """Power cut: the guest notices nothing."""
        if self.alive():
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            self.wait_exit()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
