/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registration keys at the LUN's target.  They tell who has the volume, whatever its blocks say: the blocks may be
 * damaged, overwritten, or those of a life that is over.
 *
 *	63..48  0xC5F5
 *	47..44  0: a life in a cluster: 43..32 slot, 31..0 incarnation (csv_slot_pr_key())
 *	        8: a mount with lock=local: 43..12 its host, 11..0 a number of its own among that host's keys
 *
 * A local mount's key names no slot: two hosts that mount at the same moment would choose the same one, and keys that
 * are equal cannot be told apart at the target.
 */
#ifndef CSV_DISK_KEYS_H
#define CSV_DISK_KEYS_H

#include "fs/disk/super.h"

bool csv_key_known(uint64_t key); /* csvfs's */
bool csv_key_local(uint64_t key); /* of a mount with lock=local */
bool csv_key_of_host(uint64_t key); /* of a mount with lock=local that this host made */
bool csv_key_among(const struct csv_pr_status *st, uint64_t key);
/* A key for a lock=local mount of this host that none of *st equals. */
uint64_t csv_key_make_local(struct csv_env *env, const struct csv_pr_status *st);

/*
 * Whether the key is that of a life in a cluster that has ended: by the slot that it names, whose block is written
 * clean behind the last write of that life, and whose next life has another key.  Such a key stays registered if the
 * path or the session that registered it was lost meanwhile; nobody writes under it any more.  False as well if the
 * slot cannot be read (sb may be NULL), and for a local mount's key, which the next mount may choose again.
 */
bool csv_key_over(struct csv_bdev *dev, const struct csv_super *sb, uint64_t key);

/* CSV_BUSY: says in *why who has the key, as far as the slots (sb; NULL: they cannot be read) tell. */
enum csv_err csv_key_busy(struct csv_bdev *dev, const struct csv_super *sb, uint64_t key, const char *hint,
			  struct csv_why *why);
/*
 * CSV_BUSY if a key of csvfs but `own` (0: we have none) and those that are over is registered: the volume is mounted,
 * or a dead host's key was left.  For who wants the whole LUN to himself.  A device or LUN without reservations is OK:
 * nobody can have registered.
 */
enum csv_err csv_keys_refuse(struct csv_bdev *dev, const struct csv_super *sb, uint64_t own, struct csv_why *why);

/*
 * Fences the keys of *st for which which() is true, `own` excepted: when this returns OK none of them is registered, no
 * command of theirs will be executed any more, and `own` stands with a reservation of type 7 (F1, F3).  Who may come
 * back (F2) must find in his slot that he is out before this is called.  FENCED: we are out ourselves.
 */
enum csv_err csv_keys_preempt(struct csv_bdev *dev, uint64_t own, const struct csv_pr_status *st,
			      bool (*which)(uint64_t key));

#endif
