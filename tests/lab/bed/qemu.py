# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's command line for a machine of the lab."""
from harness import fabric
from harness.instance import ROOT

BUILD = ROOT / "build" / "lab"
KERNEL = ROOT / "build" / "guest" / "vmlinux"
INITRD = BUILD / "initramfs.cpio"
EXEC = BUILD / "vm-exec"

MEMORY_MIB = 768
# In the order in which the machine numbers its interfaces.
NETS = ("stor", "clus", "guest", "mig")
AGENT_NET = "guest"  # the one net that no fault cuts

_KERNEL_LINE = ("console=ttyS0 loglevel=4 tsc=reliable mitigations=off random.trust_cpu=on"
                " rcupdate.rcu_expedited=1 panic=-1")
_MACHINE = ("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35",
            "-accel", "tcg,thread=multi,tb-size=256", "-cpu", "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt",
            "-smp", "1", "-device", "virtio-rng-pci")


def words(machine):
    """The whole command line; it has to run in the fabric's namespace."""
    line = ["qemu-system-x86_64", "-name", machine.name, *_MACHINE, "-m", str(MEMORY_MIB),
            "-kernel", KERNEL, "-initrd", INITRD, "-append", kernel_line(machine),
            "-serial", f"file:{machine.console}"]
    line += shared_folder("root", "/", ",readonly=on,multidevs=remap")
    line += shared_folder("packages", BUILD / "root", ",readonly=on")
    line += shared_folder("work", machine.instance.state, "")
    for index, net in enumerate(NETS):
        line += ["-netdev", f"tap,id={net},ifname={fabric.port(machine.name, net)},script=no,downscript=no",
                 "-device", f"virtio-net-pci,netdev={net},mac=52:54:00:1a:{index:02x}:{machine.number:02x}"]
    for path in machine.disks():
        line += ["-drive", f"file={path},format=raw,if=virtio,cache=none"]
    return line


def shared_folder(tag, path, options):
    """A folder of the host, for a 9p mount of that tag."""
    return ["-fsdev", f"local,id={tag},path={path},security_model=none{options}",
            "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]


def kernel_line(machine):
    """What the machine's init and start read."""
    links = ",".join(f"{net}0={machine.address(net)}/24" for net in NETS)
    return (f"{_KERNEL_LINE} csv.name={machine.name} csv.tree={ROOT} csv.work={machine.instance.state}"
            f" csv.dir={machine.dir} csv.mount={machine.mount_point}"
            f" csv.links={links} csv.agent={machine.address(AGENT_NET)}")
