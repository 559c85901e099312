# SPDX-License-Identifier: GPL-2.0-or-later
"""Survivors that want what the victim had: from the moment of the fault they try, again and again, until they get it."""
import threading
import time

from agents import Agent
from harness.errors import HarnessError

from .columns import HEIR_AT


class Heir:
    """One process on a survivor, and the one thing that it wants."""

    def __init__(self, node, seconds, *operation):
        self.node, self.seconds, self.operation = node, seconds * node.slowness, operation
        self.agent = Agent(node, seconds=2 * seconds)
        self.thread = threading.Thread(target=self._wait, daemon=True)
        self.done = self.error = None

    def begin(self):
        try:
            self.agent.begin("until_done", self.seconds, *self.operation)
        except OSError as error:  # its node is dead
            self.error = error
            return
        self.thread.start()

    def _wait(self):
        try:
            self.agent.finish()
            self.done = time.monotonic()
        except (OSError, HarnessError) as error:
            self.error = error

    def close(self):
        self.agent.kill()
        if self.thread.ident:
            self.thread.join()
        with self.agent:
            pass


class Heirs:
    """On each of some nodes one for the image and one for the directory."""

    def __init__(self, scene, nodes):
        seconds = scene.bed.seconds
        self.scene = scene
        self.image = [Heir(node, seconds, "write_through", scene.image, "heir", HEIR_AT) for node in nodes]
        self.folder = [Heir(node, seconds, "write_through", f"{scene.folder}/heir-{node.name}", "heir", 0, "O_WRONLY|O_CREAT")
                       for node in nodes]

    def begin(self, image=True):
        """They begin to try; image=False: only for the directory, since the image is still its owner's."""
        if not image:
            self.close_some(self.image)
            self.image = []
        for heir in self.image + self.folder:
            heir.begin()

    def first(self, heirs, what):
        """Ms from the fault to the first success of several."""
        for heir in heirs:
            if heir.thread.ident:
                heir.thread.join()
        done = [heir.done for heir in heirs if heir.done]
        failed = [h.error for h in heirs if h.error and h.node not in self.scene.killed]
        if failed or not done:
            raise HarnessError(f"no survivor could write {what}: {failed}")
        return (min(done) - self.scene.died_at) * 1000

    def wait(self):
        """(ms to the first write into the image, None without; ms to the first new name in the directory)"""
        return (self.first(self.image, self.scene.image) if self.image else None), self.first(self.folder, self.scene.folder)

    def close_some(self, heirs):
        for heir in heirs:
            heir.close()

    def close(self):
        self.close_some(self.image + self.folder)
