#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# First process of a box: arranges its mount namespace, then keeps it alive.
# Runs inside fresh mount and UTS namespaces whose mounts do not reach the host.
#
# usage: holder.sh NAME DIR MOUNT_POINT    a node; DIR has etc/ and lib/
#        holder.sh NAME DIR                a box without csvfs directories
set -eu
name=$1 dir=$2 mount_point=${3-}

# -n below: mount and umount would make /run/mount, on the host as long as /run is its.
# A copy of somebody's FUSE mount or namespace handle in here would keep it
# alive after its owner has unmounted it outside.
while read -r _ point type _; do
    point=$(printf '%b' "$point")
    case $dir/ in "${point%/}"/*) continue ;; esac
    case $type in fuse | fuse.* | nsfs) umount -n -l "$point" ;; esac
done </proc/self/mounts

mount -n -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/tgtd
# Private: corosync keeps ring buffers in /dev/shm and leaves them when killed.
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t sysfs sysfs /sys
hostname "$name"

# A directory below /etc or /var/lib that the host does not have: an overlay in
# memory gives the mount point without touching the host.
bind_below() { # PARENT LEAF SOURCE
    upper=/run/.overlay$1
    mkdir -p "$upper/up" "$upper/work"
    mount -t overlay -o "lowerdir=$1,upperdir=$upper/up,workdir=$upper/work" overlay "$1"
    mkdir -p "$1/$2"
    mount --bind "$3" "$1/$2"
}
if [ -n "$mount_point" ]; then
    bind_below /etc csvfs "$dir/etc"
    bind_below /var/lib csvfs "$dir/lib"
    mkdir -p /run/csvfs "$mount_point"
fi

: >"$dir/holder.ready"
exec sleep infinity
