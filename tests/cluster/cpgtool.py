#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Member of a CPG group, for tests of what corosync does.

cpgtool.py GROUP sit                 joins, says "joined", and stops itself; continued, it dispatches all it has missed
cpgtool.py GROUP send BYTES SIZE     multicasts BYTES in messages of SIZE and dispatches until all have come back

A line of JSON tells what was delivered: {"count": n, "bytes": n, "seconds": s}.
"""
import ctypes
import json
import os
import select
import signal
import sys
import time

CS_OK, CS_ERR_TRY_AGAIN = 1, 6
CPG_TYPE_AGREED = 1
CS_DISPATCH_ALL = 2
MEMBERS_S = 30  # deadline for anything

lib = ctypes.CDLL("libcpg.so.4")


class Name(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint32), ("value", ctypes.c_char * 128)]


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_char_p), ("len", ctypes.c_size_t)]


DELIVER = ctypes.CFUNCTYPE(None, ctypes.c_uint64, ctypes.POINTER(Name), ctypes.c_uint32, ctypes.c_uint32,
                           ctypes.c_void_p, ctypes.c_size_t)
CONFCHG = ctypes.CFUNCTYPE(None, ctypes.c_uint64, ctypes.POINTER(Name), ctypes.c_void_p, ctypes.c_size_t,
                           ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t)


class Callbacks(ctypes.Structure):
    _fields_ = [("deliver", DELIVER), ("confchg", CONFCHG)]


class Member:
    def __init__(self, group):
        self.count = self.bytes = 0
        self.handle = ctypes.c_uint64()
        self.callbacks = Callbacks(DELIVER(self.on_deliver), CONFCHG(lambda *_: None))
        check(lib.cpg_initialize(ctypes.byref(self.handle), ctypes.byref(self.callbacks)))
        name = Name(len(group), group.encode())
        deadline = time.monotonic() + MEMBERS_S
        while (code := lib.cpg_join(self.handle, ctypes.byref(name))) == CS_ERR_TRY_AGAIN:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        check(code)
        fd = ctypes.c_int()
        check(lib.cpg_fd_get(self.handle, ctypes.byref(fd)))
        self.fd = fd.value

    def on_deliver(self, handle, group, nodeid, pid, message, size):
        self.count += 1
        self.bytes += size

    def dispatch(self, seconds):
        """Deliver what comes within a time; False if nothing did."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        check(lib.cpg_dispatch(self.handle, CS_DISPATCH_ALL), CS_ERR_TRY_AGAIN)
        return True

    def send(self, message):
        """False: corosync's flow control says not now."""
        iovec = Iovec(message, len(message))
        code = lib.cpg_mcast_joined(self.handle, CPG_TYPE_AGREED, ctypes.byref(iovec), 1)
        check(code, CS_ERR_TRY_AGAIN)
        return code == CS_OK

    def tell(self, seconds):
        print(json.dumps({"count": self.count, "bytes": self.bytes, "seconds": seconds}), flush=True)


def check(code, *others):
    if code not in (CS_OK, *others):
        raise SystemExit(f"corosync says {code}")


def sit(member):
    while member.dispatch(0.5):
        pass
    print("joined", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    begin = last = time.monotonic()
    while member.dispatch(2):
        last = time.monotonic()
    member.tell(last - begin)


def send(member, total, size):
    message = b"x" * size
    sent, begin = 0, time.monotonic()
    while member.count * size < total:
        assert time.monotonic() < begin + 10 * MEMBERS_S
        if sent * size < total and member.send(message):
            sent += 1
            member.dispatch(0)
        else:
            member.dispatch(0.01)
    member.tell(time.monotonic() - begin)


if __name__ == "__main__":
    joined = Member(sys.argv[1])
    if sys.argv[2] == "sit":
        sit(joined)
    else:
        send(joined, int(sys.argv[3]), int(sys.argv[4]))
