# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs inside a node: stands between a migration's driver and QEMU's monitor.

monitor.py SOCKET COMMAND...: takes SOCKET's place and hands everything on. Before it hands on the first of the COMMANDs
it prints "held" and waits for a line on standard input, then it does so for the next. "go" hands the command on; "drop"
does, too, but closes the driver's connection instead of bringing it QEMU's answer.
"""
import os
import select
import socket
import sys


def held(qemu, data):
    """Tells that a command is here and waits for what is to become of it; whether its answer is to get lost."""
    print("held", flush=True)
    drop = sys.stdin.readline().strip() == "drop"
    qemu.sendall(data)
    while drop and b'"return"' not in qemu.recv(1 << 16):
        pass
    return drop


def pump(driver, qemu, commands):
    """Until one of them closes."""
    while True:
        for end in select.select([driver, qemu], [], [])[0]:
            data = end.recv(1 << 16)
            if not data:
                return
            if end is driver and commands and f'"{commands[0]}"'.encode() in data:
                commands.pop(0)
                if held(qemu, data):
                    return
            else:
                (qemu if end is driver else driver).sendall(data)


def main(path, *commands):
    os.rename(path, path + ".real")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        print("ready", flush=True)
        left = list(commands)
        while True:
            driver, _ = server.accept()
            with driver, socket.socket(socket.AF_UNIX) as qemu:
                try:
                    qemu.connect(path + ".real")
                    pump(driver, qemu, left)
                except ConnectionRefusedError:  # QEMU has ended: so shall its monitor
                    os.unlink(path)
                    return
                except OSError:
                    pass


main(*sys.argv[1:])
