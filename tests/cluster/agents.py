# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes on the nodes that the tests drive step by step (agent.py)."""
import contextlib
import json
import select
import subprocess
import threading
from pathlib import Path

from harness.errors import HarnessError
from harness.wait import wait_until

AGENT = Path(__file__).with_name("agent.py")
RECORDER = Path(__file__).with_name("recorder.py")


class Agent:
    """A process on a node; agent.open(...), agent.pread(...): its operations, raising OSError as the node saw it."""

    def __init__(self, node, seconds=30):
        self.node = node
        self.seconds = seconds * node.slowness
        self.child = node.popen(["/usr/bin/python3", AGENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __getattr__(self, operation):
        def call(*arguments):
            self.begin(operation, *arguments)
            return self.finish()
        return call

    def begin(self, operation, *arguments):
        """Starts an operation; finish() gives its result."""
        self.child.stdin.write(json.dumps([operation, *arguments]) + "\n")
        self.child.stdin.flush()

    def finish(self, seconds=None):
        """Result of the operation that was begun."""
        seconds = self.seconds if seconds is None else seconds * self.node.slowness
        if not select.select([self.child.stdout], [], [], seconds)[0]:
            raise HarnessError(f"the process on {self.node.name} does not answer within {seconds} s")
        line = self.child.stdout.readline()
        if not line:
            raise HarnessError(f"the process on {self.node.name} has ended")
        answer = json.loads(line)
        if "errno" in answer:
            raise OSError(answer["errno"], f"on {self.node.name}")
        return answer["ok"]

    def kill(self):
        """SIGKILL; what it had open and locked goes."""
        self.child.kill()
        self.child.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        with contextlib.suppress(BrokenPipeError):  # what it was told when it had died already
            self.child.stdin.close()
        self.child.stdout.close()


class Follower:
    """A process on a node that prints a line again and again; `last` is the last one."""

    def __init__(self, node, argv, last=None):
        self.node = node
        self.last = last
        self.lines = 0
        self.child = node.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()

    def _follow(self):
        for line in self.child.stdout:
            self.last = line.strip()
            self.lines += 1

    def wait_more(self, count, seconds=30):
        """Waits for so many more lines than there are now."""
        self.wait_lines(self.lines + count, seconds)

    def wait_lines(self, count, seconds=30):
        """Waits until it has printed so many lines."""
        wait_until(f"{count} lines from {self.node.name}", lambda: self.lines >= count, seconds * self.node.slowness,
                   dead=self.dead)

    def failed(self):
        """Whether it has ended by itself."""
        return self.child.poll() is not None

    def dead(self):
        """Why nothing more will come, if so."""
        return self.child.poll() is not None and f"it has ended: {self.child.stderr.read()[-300:]}"

    def end(self, seconds=60):
        """Kills it, if it still lives; it may be waiting for a mount that answers no more."""
        self.child.kill()
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise HarnessError(f"a process on {self.node.name} does not end, {seconds} s after SIGKILL") from None
        self.thread.join()
        self.child.stdout.close()
        self.child.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self.child.stdout.closed:
            self.end()


class Recorder(Follower):
    """A process on a node that writes durable records without end (recorder.py)."""

    def __init__(self, node, kind, path, first=0, count=None):
        super().__init__(node, ["/usr/bin/python3", RECORDER, kind, path, str(first), *([str(count)] if count else [])],
                         first - 1)

    def wait_more(self, count, seconds=30):
        """As Follower.wait_more(), for fewer on a slow node."""
        super().wait_more(max(1, count // self.node.slowness), seconds)

    def acked(self):
        """Kills it and returns the number of the last record that was acknowledged."""
        self.end()
        return int(self.last)


def errno_of(call, *arguments):
    """errno of a call that must fail; 0 if it does not."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0
