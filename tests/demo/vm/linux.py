# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux guest: its definition file and what its kernel is told."""
from . import disk, paths

MEMORY_MIB = 256
KERNEL_LINE = ("console=ttyS0 loglevel=4 tsc=reliable mitigations=off random.trust_cpu=on "
               "rcupdate.rcu_expedited=1 panic=-1")
BOOT_DEADLINE_S = 60.0  # from QEMU's start to READY; 3 s on a quiet host


def boot_environment():
    """What vm-launch needs in its environment so that definitions may name the guest's kernel by a bare name."""
    return {"CSV_VM_BOOT_DIR": str(paths.BUILD)}


def append_line(start="auto", count=0, seed=1, address=None):
    """Kernel line; see recorder's params.h. address: the guest's own, as ADDRESS/PREFIX."""
    words = [KERNEL_LINE, f"csv.start={start}", f"csv.count={count}", f"csv.seed={seed}"]
    if address:
        words.append(f"csv.ip={address}")
    return " ".join(words)


def definition(name, disk_path, accel="tcg", append=None, bridge=None, mac="52:54:00:c5:f5:01",
               size=disk.GUEST_DISK):
    """Text of a definition; disk_path is relative to the definition's folder, size in bytes."""
    lines = ["[vm]", f"name = {name}", f"memory = {MEMORY_MIB}", "cpus = 1", f"accel = {accel}",
             f"kernel = {paths.KERNEL.name}", f"initrd = {paths.INITRD.name}",
             f"append = {append or append_line()}", "",
             "[disk 0]", f"path = {disk_path}", "format = raw", f"size = {size}", ""]
    if bridge:
        lines += ["[nic 0]", f"bridge = {bridge}", f"mac = {mac}", ""]
    return "\n".join(lines + ["[serial]", f"log = {name}.log", ""])
