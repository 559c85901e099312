# SPDX-License-Identifier: GPL-2.0-or-later
# What every guest of the tests is made of: Debian's kernel, its modules, busybox, an initramfs. To be sourced.
#
# The caller sets:  root  the source tree
#                   out   its build folder
#                   tree  the initramfs while it is put together
# Set here: kernel, the unpacked kernel package, and vmlinux beside it; all guests share them.
# Needs busybox-static, dpkg, apt.

parts=$root/tests/guest
kernel=${CSV_GUEST_BUILD:-$root/build/guest}/kernel

die() {
	echo "guest build: $*" >&2
	exit 1
}

# newer TARGET SOURCE...: is the target there, and no older than its sources?
newer() {
	target=$1
	shift
	[ -e "$target" ] && [ -z "$(find "$@" -newer "$target")" ]
}

# Newest package of the generic kernel that the host's package lists know.
kernel_package() {
	apt-cache depends linux-image-amd64 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1
}

# download FOLDER PACKAGE...: the newest .deb files, and nothing else, in a new folder; nothing is installed.
download() {
	folder=$1
	shift
	rm -rf "$folder"
	mkdir -p "$folder"
	(
		cd "$folder"
		set -- -q -o APT::Sandbox::User=root download "$@"
		# The host's package lists may be too old for what the mirror still has.
		apt-get "$@" >&2 || { apt-get -q update >&2 && apt-get "$@" >&2; }
	) || die "cannot download $*"
}

# Debian's kernel package is downloaded once and unpacked, never installed; a second run works offline.
fetch_kernel() {
	[ -d "$kernel/boot" ] && return
	package=$(kernel_package)
	if [ -z "$package" ]; then
		apt-get -q update >&2 || die "apt-get update failed; it is needed once, for the guest's kernel"
		package=$(kernel_package)
	fi
	[ -n "$package" ] || die "apt knows no linux-image-amd64"
	download "$out/debs" "$package"
	mkdir -p "$(dirname "$kernel")"
	# Into another name first: an interrupted unpacking must not look complete.
	rm -rf "$kernel.new"
	dpkg-deb -x "$out/debs/${package}_"*.deb "$kernel.new"
	rm -rf "$kernel.new/usr/share"
	busybox depmod -b "$kernel.new" "$(ls "$kernel.new/lib/modules")"
	rm -rf "$kernel"
	mv "$kernel.new" "$kernel"
	rm -rf "$out/debs"
}

# The kernel as QEMU starts it fastest; beside its package, for all guests.
build_vmlinux() {
	vmlinux=${kernel%/*}/vmlinux
	newer "$vmlinux" "$parts/extract-vmlinux" "$kernel/boot" && return
	"$parts/extract-vmlinux" "$kernel"/boot/vmlinuz-* "$vmlinux.new"
	strip -s "$vmlinux.new"
	mv "$vmlinux.new" "$vmlinux"
}

# module_files NAME...: the modules' files with all they need, in loading order.
module_files() {
	release=$(ls "$kernel/lib/modules")
	for name in "$@"; do
		/usr/bin/python3 "$parts/module-order" "$kernel/lib/modules/$release/modules.dep" "$name"
	done | awk '!seen[$0]++' | sed "s|^|$kernel/lib/modules/$release/|"
}

# add_modules NAME...: into the tree, which gets their order in /etc/modules.
add_modules() {
	mkdir -p "$tree/modules"
	module_files "$@" >"$out/modules.list"
	[ -s "$out/modules.list" ] || die "no modules found"
	while read -r file; do
		cp "$file" "$tree/modules/"
		basename "$file"
	done <"$out/modules.list" >"$tree/etc/modules"
}

# A program of the host with the libraries it names, at the same paths.
add_program() {
	path=$(PATH=/usr/sbin:/usr/bin:/sbin:/bin command -v "$1") || die "$1 is not installed"
	cp "$path" "$tree/sbin/$1"
	for library in $(ldd "$path" | grep -o '/[^ ]*'); do
		mkdir -p "$tree$(dirname "$library")"
		cp -L "$library" "$tree$library"
	done
}

add_busybox() {
	busybox=$(command -v busybox) || die "busybox-static is not installed"
	# A dynamic one would start on the host and not in the guest.
	ldd "$busybox" >/dev/null 2>&1 && die "$busybox is not static: install busybox-static"
	cp "$busybox" "$tree/bin/busybox"
	for applet in $("$busybox" --list); do
		[ -e "$tree/bin/$applet" ] || [ -e "$tree/sbin/$applet" ] || ln -s busybox "$tree/bin/$applet"
	done
}

# An empty tree with the folders that every initramfs has.
new_tree() {
	rm -rf "$tree"
	mkdir -p "$tree/bin" "$tree/sbin" "$tree/etc" "$tree/proc" "$tree/sys" "$tree/dev" "$tree/tmp" "$tree/mnt"
}

# The finished tree becomes $out/initramfs.cpio.
pack_tree() {
	(cd "$tree" && find . | busybox cpio -o -H newc 2>/dev/null) >"$out/initramfs.new"
	mv "$out/initramfs.new" "$out/initramfs.cpio"
	rm -rf "$tree"
}
