# SPDX-License-Identifier: GPL-2.0-or-later
"""What the victim is doing when it happens. Whatever it is, it has an image of its own and a directory that it works in."""
import json

from agents import Agent, Recorder
from harness.errors import HarnessError
from harness.instance import BIN
from records import RECORDS, SIZE, SLOTS

HEIR_AT = SIZE * SLOTS          # where in the image survivors write: behind the records
ARMED_AT = HEIR_AT + SIZE       # and the destination of a handoff
IMAGE_SIZE = ARMED_AT + SIZE


class Column:
    """Recorders (recorder.py) on the victim: image and directory, each at work or at rest.

    image, names  whether these write without end; else they have written and keep open what they have open
    """

    def __init__(self, name, text, image, names):
        self.name, self.text, self.image, self.names = name, text, image, names

    def start(self, scene):
        """Fills the scene's loads; returns when each has written RECORDS."""
        node, seconds = scene.victim, scene.bed.seconds
        node.run(["fallocate", "-l", str(IMAGE_SIZE), scene.image])
        scene.add_load("image", scene.image, self.image)
        scene.add_load("names" if self.names else "files", scene.folder, self.names)
        for load in scene.loads:
            load.recorder.wait_lines(RECORDS, seconds)


class Handoff(Column):
    """The image's handoff to another node is prepared, and not committed. A writer waits at the other end."""

    def start(self, scene):
        super().start(scene)
        scene.handoff = Prepared(scene)


class Prepared:
    """A handoff between prepare and commit."""

    def __init__(self, scene):
        self.scene, self.source, self.destination = scene, scene.victim, scene.others[0]
        self.armed = Agent(self.destination, seconds=scene.bed.seconds)
        self.id = self.csvadm(self.source, "prepare", scene.image, "--to", self.destination.name)["id"]
        self.armed.open("armed", scene.image, "O_RDWR")
        self.armed.begin("pwrite", "armed", "armed", ARMED_AT)

    def csvadm(self, node, *words, codes=(0,)):
        done = node.run([BIN / "csvadm", "--json", "handoff", *words], check=False, timeout=self.scene.bed.seconds)
        if done.returncode not in codes:
            raise HarnessError(f"handoff {words[0]} on {node.name}: exit {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)

    def waiter_wrote(self):
        """Whether the write at the destination went through; None if its process has died."""
        try:
            return self.armed.finish() == len("armed")
        except OSError:
            return False
        except HarnessError:
            if self.destination in self.scene.killed:
                return None
            raise

    def is_kept(self, node):
        """The source is dead: nothing has moved."""
        told = self.csvadm(node, "status")["handoffs"]
        mine = [h for h in told if h["id"] == self.id]
        return bool(mine) and mine[0]["outcome"] == "kept"

    def commit(self):
        """The source lives: (outcome, whether the destination could write)."""
        told = self.csvadm(self.source, "commit", self.id, codes=(0, 10))
        return told["outcome"], self.waiter_wrote()

    def finish(self):
        """Who has it keeps it; its process ends."""
        self.armed.kill()
        self.csvadm(self.destination, "finish", self.id, codes=(0, 10))

    def close(self):
        with self.armed:
            pass


COLUMNS = [Column("idle", "the victim has written, and holds what it has open", False, False),
           Column("writes", "into a leased image, each with fsync", True, False),
           Column("names", "files are made, renamed, unlinked, each durable", False, True),
           Handoff("handoff", "of the image, between prepare and commit; it is being written", True, False)]


class Load:
    """A recorder of the victim's, and where its records must be found again."""

    def __init__(self, node, kind, path, endless):
        self.kind, self.path, self.endless = kind, path, endless
        self.recorder = Recorder(node, kind, path, 0, None if endless else RECORDS)

    def last(self):
        """Number of the last record acknowledged so far."""
        return int(self.recorder.last)
