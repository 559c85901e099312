# SPDX-License-Identifier: GPL-2.0-or-later
"""The shipped vm-launch: its functions as a module, and itself as a program on a node."""
import importlib.machinery
import importlib.util
import json
import subprocess
import sys

from . import paths


def _load():
    """The program has no suffix that Python knows, so its loader is named here."""
    loader = importlib.machinery.SourceFileLoader("vm_launch", str(paths.VM_LAUNCH))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module
    write_nothing, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = write_nothing
    return module


vm_launch = _load()


class LaunchFailed(Exception):
    """vm-launch refused; its line and its exit status."""

    def __init__(self, text, status):
        super().__init__(text)
        self.status = status


def launch(definition, incoming="-", env=None, prefix=(), timeout=60.0):
    """Runs vm-launch; prefix: what brings a command onto the node. Returns its JSON object."""
    done = subprocess.run([*prefix, "/usr/bin/python3", str(paths.VM_LAUNCH), str(definition), incoming],
                          env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                          timeout=timeout)
    if done.returncode != 0:
        raise LaunchFailed(done.stderr.strip(), done.returncode)
    return json.loads(done.stdout)
