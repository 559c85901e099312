# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtual machines for the demo and the tests, without anything of csvfs.

paths       where things are in the tree
launcher    the shipped vm-launch, as a module and as a program
qmp         QEMU's monitor with deadlines, events and migration
seriallog   the guest's words, each line with the host's time of its arrival
disk        fixed VHDs and other images
bootsector  the one-sector guest and its records
linux       the Linux guest: definition, kernel line
accel       kvm or tcg, found by trying
machine     one VM on one node: start, wait, migrate, stop, kill
"""
