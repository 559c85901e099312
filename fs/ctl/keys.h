/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who else has the LUN, when a volume is being mounted: a mount with lock=local tolerates no other key of csvfs, one in
 * a cluster no local one; the cluster's own keys are csvlockd's to judge.  docs/RECOVERY.md argues it.
 */
#ifndef CSV_CTL_KEYS_H
#define CSV_CTL_KEYS_H

#include "fs/disk/keys.h"
#include "fs/mount.h"

/*
 * This host's right to be the one process that has the volume mounted with lock=local: a lock on a file of the
 * volume's, which dies with its holder.  *fd is to be closed.  BUSY: another process of this host has it.
 */
enum csv_err csv_host_lock(struct csv_mount *m, int *fd, struct csv_why *why);

/*
 * Looks at the keys at the target.  Those of which `mine` is true keep us out (BUSY), but for our own, for what a dead
 * lock=local mount of this host left (the caller has the host lock), and with -o takeover for all.  *st: what was found.
 */
enum csv_err csv_keys_admit(struct csv_mount *m, uint64_t own, bool (*mine)(uint64_t key), struct csv_pr_status *st,
			    struct csv_why *why);

/*
 * In a cluster, once our key is registered and before our slot is written: no lock=local mount lives, or BUSY.  The key
 * that a dead one left goes with its slot's fence, one that is in no slot as any stranger's (slot.c).
 */
enum csv_err csv_keys_no_local(struct csv_mount *m, uint64_t own, struct csv_why *why);

/*
 * For mounts that have no slot to be told in that they are out: read-only ones, whose guard compares slot 0's block with
 * what it was.  Writes it again, with a higher version, if it is clean; else it has changed since anyway.
 */
enum csv_err csv_keys_touch_slot(struct csv_mount *m, struct csv_why *why);

#endif
