# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs inside a node: a csvfs without filesystem, for the handoff through real daemons.

ghostfs.py MOUNT SLOT DISK [die=VERB|stall=VERB]: speaks to csvlockd as a mount of one volume, whose leases lie in the file DISK (JSON,
shared by all nodes, replaced as a whole: one transaction).  Orders of a handoff are carried out on it.
die=VERB: ends after the work of that order, before its answer; stall=VERB: never does it.  Prints a line for each order.
"""
import fcntl
import json
import os
import pathlib
import socket
import struct
import sys
import time

HELLO, LOCK, GRANT, ATTACH, ATTACHED, FENCE, FENCE_DONE, REPLAY, REPLAY_DONE = 1, 10, 11, 20, 21, 30, 31, 32, 33
HANDLE, HO_FILE, HO_ORDER, HO_ANSWER = 50, 81, 83, 84
VERSION = 3  # CSV_PROTO_VERSION
HEAD = struct.Struct("=IIQII")
HO = struct.Struct("=16s16s14I4d64s64s64s64s128s200s")
HO_FILE_BODY = struct.Struct("=IIQQQ32s512s")
VERBS = ["NOTHING", "ARM", "COMMIT", "ACTIVATE", "RETURN", "RECLAIM", "RESOLVE", "WATCH", "RESUME", "REVOKE", "DECIDED",
         "SYNC"]
EVENTS = {name: n for n, name in enumerate(
    ["ARMED", "REFUSED", "COMMITTED", "FAILED", "ACTIVATED", "UNABLE", "RETURNED", "RAN", "IS_SRC", "IS_DST",
     "IS_OTHER", "RESUMED"])}
UUID = bytes(range(16))
FILES = [(1001, 1, b"web1.vhd"), (1002, 1, b"web1-data.vhd")]
LEASED = 2


def record(kind, body=b"", err=0, seq=0):
    return (HEAD.pack(kind, err, seq, 0, 0) + body).ljust(1024, b"\0")


class Ghost:
    def __init__(self, mount, slot, disk, options):
        self.slot, self.disk, self.options = slot, pathlib.Path(disk), options
        self.incarnation = int(time.time()) & 0x7fffffff
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.connect("/run/csvfs/lockd.sock")
        self.send(HELLO, struct.pack("=II16s64s64s256s256s", VERSION, 1, UUID, b"ghost", os.environ["GHOST_CLUSTER"].encode(),
                                     mount.encode(), b"none"))
        self.receive()
        self.send(ATTACH, struct.pack("=IIQII64s", slot, self.incarnation, 0, 0, 0, b""), seq=7)

    def send(self, kind, body=b"", err=0, seq=0):
        self.sock.send(record(kind, body, err, seq))

    def receive(self):
        data = self.sock.recv(2048)
        if not data:
            sys.exit(0)
        kind, err, seq, _, _ = HEAD.unpack_from(data)
        return kind, err, seq, data[HEAD.size:]

    def change(self, fn):
        """One transaction over all leases; fn(leases) changes them, or returns False."""
        with open(self.disk.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            leases = json.loads(self.disk.read_text())
            if fn(leases) is False:
                return False
            self.disk.with_suffix(".new").write_text(json.dumps(leases))
            self.disk.with_suffix(".new").rename(self.disk)
        return True

    def me(self):
        return [self.slot, self.incarnation]

    def take_all(self):
        """At the start: the VM has its disks open here."""
        def fn(leases):
            for lease in leases:
                lease.update(holder=self.me(), epoch=lease["epoch"] + 1, id=None, run=True)
        self.change(fn)
        for n, (ino, gen, path) in enumerate(FILES):
            self.send(HANDLE, struct.pack("=QQIIIIQ64s64s64s512s", n + 1, ino, gen, 4242, 1, LEASED, 1, b"web1", b"",
                                          b"", path))

    def give(self, frm, to, ident, check_run=False):
        def fn(leases):
            if any(x["holder"] != frm or (check_run and x["run"]) for x in leases):
                return False
            for lease in leases:
                lease.update(holder=to, epoch=lease["epoch"] + 1, id=ident, run=False)
            return True
        return self.change(fn)

    def work(self, verb, ident, src, dst):
        leases = json.loads(self.disk.read_text())
        if verb == "ARM":
            return "ARMED"
        if verb == "COMMIT":
            return "COMMITTED" if self.give(src, dst, ident) else "FAILED"
        if verb == "ACTIVATE":
            return "ACTIVATED" if all(x["holder"] == self.me() for x in leases) else "UNABLE"
        if verb == "RETURN":
            return "RETURNED" if self.give(dst, src, None, True) else "RAN"
        if verb == "RECLAIM":
            if all(x["holder"] == src for x in leases):
                return "RETURNED"
            return "RETURNED" if self.give(dst, src, None, True) else "RAN"
        if verb == "RESOLVE":
            if any(x["id"] == ident for x in leases):
                return "IS_DST"
            return "IS_SRC" if any(x["holder"] == src for x in leases) else "IS_OTHER"
        return "RESUMED" if verb == "RESUME" else None

    def answer(self, ident, event):
        files = json.loads(self.disk.read_text()) if event in ("COMMITTED", "RETURNED") else []
        for n, lease in enumerate(files):
            self.send(HO_FILE, HO_FILE_BODY.pack(n, FILES[n][1], FILES[n][0], lease["epoch"], 1 << 20, b"", b""))
        body = HO.pack(bytes.fromhex(ident), UUID, 0, EVENTS[event], 0, 0, len(files), *[0] * 9, 0.5, 1.5, 0.7, 0,
                       b"", b"", b"", b"", b"", b"")
        self.send(HO_ANSWER, body)

    def obey(self, data):
        values = HO.unpack_from(data)
        ident, verb = values[0].hex(), VERBS[values[2]]
        src, dst = list(values[8:10]), list(values[11:13])
        print(verb, flush=True)
        if self.options.get("stall") == verb:
            return
        event = self.work(verb, ident, src, dst)
        if self.options.get("die") == verb:
            os._exit(9)
        if event:
            self.answer(ident, event)

    def run(self):
        while True:
            kind, _, seq, data = self.receive()
            if kind == ATTACHED:
                print("ATTACHED", flush=True)
                if "source" in self.options:
                    self.take_all()
            elif kind == FENCE:
                self.send(FENCE_DONE, data[:8], seq=seq)
            elif kind == REPLAY:
                self.send(REPLAY_DONE, data[:8], seq=seq)
            elif kind == HO_ORDER:
                self.obey(data)


if __name__ == "__main__":
    given = dict(x.partition("=")[::2] for x in sys.argv[4:])
    Ghost(sys.argv[1], int(sys.argv[2]), sys.argv[3], given).run()
