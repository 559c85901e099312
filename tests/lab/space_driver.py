#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands in for csvlockd at the other end of csv-dlm-space: space_driver.py PROGRAM LOCKSPACE DETECT_MS.

Standard input, a command a line (words as in lockd/engine/dlm_wire.h; MODE is NL CR CW PR PW EX):

    start                             a csv-dlm-space; a new one, if there was one before
    lock COOKIE NAME MODE [noqueue]   convert COOKIE MODE   unlock COOKIE   cancel COOKIE
    adopt COOKIE NAME MODE            purge                 leave           garbage
    signal NAME                       to it
    hangup                            closes the socket
    then COOKIE COMMAND...            as soon as COOKIE is done, in no time

It says: joined, done COOKIE STATUS MODE, bast COOKIE MODE, left, failed STATUS TEXT; "end CODE" when the process is
gone.
End of input: hangs up and ends.
"""
import contextlib
import errno
import os
import signal
import socket
import struct
import sys
import threading

SOCKET_FD = 3
MODES = ["NL", "CR", "CW", "PR", "PW", "EX"]
OPS = {name: number for number, name in enumerate(
    ["lock", "convert", "unlock", "cancel", "adopt", "purge", "leave"], 1)}
EVENTS = {1: "joined", 2: "done", 3: "bast", 4: "left", 5: "failed"}
REQUEST = struct.Struct("=IIQII32s")
RESULT = struct.Struct("=IIQII104s")


def say(*words):
    # In one piece: an old process and its successor may have something to say at the same time.
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")
    sys.stdout.flush()


class Driver:
    """One csv-dlm-space at a time."""

    def __init__(self, *argv):
        self.argv = argv
        self.socket = self.child = None
        self.later = {}

    def start(self):
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), SOCKET_FD)]
        self.child = os.posix_spawn(self.argv[0], self.argv, os.environ, file_actions=actions)
        theirs.close()
        threading.Thread(target=self.follow, args=(self.socket, self.child), daemon=True).start()

    def follow(self, sock, child):
        """All it says, and then how it ended."""
        while self.read(sock):
            pass
        say("end", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    def read(self, sock):
        """One record; False: there is none any more."""
        try:
            packet = sock.recv(RESULT.size)
        except OSError:
            return False
        if not packet:
            return False
        event, mode, cookie, status, _, text = RESULT.unpack(packet)
        name, code = EVENTS[event], errno.errorcode[status] if status else "0"
        if name == "done":
            self.obey(*self.later.pop(cookie, ()))
            say(name, cookie, code, MODES[mode])
        elif name == "bast":
            say(name, cookie, MODES[mode])
        elif name == "failed":
            say(name, code, text.rstrip(b"\0").decode())
        else:
            say(name)
        return True

    def send(self, op, cookie=0, mode=0, noqueue=0, name=b""):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has ended, which is said elsewhere
            self.socket.send(REQUEST.pack(OPS[op], mode, cookie, noqueue, 0, name))

    def obey(self, verb=None, *words):
        if not verb:
            return
        if verb == "start":
            self.start()
        elif verb == "then":
            self.later[int(words[0])] = words[1:]
        elif verb == "signal":
            os.kill(self.child, getattr(signal, f"SIG{words[0]}"))
        elif verb == "hangup":
            self.socket.shutdown(socket.SHUT_RDWR)
        elif verb == "garbage":
            self.socket.send(b"garbage")
        elif verb in ("lock", "adopt"):
            self.send(verb, int(words[0]), MODES.index(words[2]), words[3:] == ("noqueue",), words[1].encode())
        elif verb == "convert":
            self.send(verb, int(words[0]), MODES.index(words[1]))
        else:
            self.send(verb, int(words[0]) if words else 0)


def main():
    driver = Driver(*sys.argv[1:])
    for line in sys.stdin:
        driver.obey(*line.split())


main()
