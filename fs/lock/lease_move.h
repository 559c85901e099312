/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a handoff does to the leases that this mount has in memory; the blocks it writes itself. */
#ifndef CSV_LOCK_LEASE_MOVE_H
#define CSV_LOCK_LEASE_MOVE_H

#include "fs/lock/lease.h"

/*
 * The lease block of `image` names another mount by now, durably and at home: this one holds the lease no more. Shares
 * stay, without meaning: closing one writes nothing.  lease.I is unpinned: it goes to whoever asks.
 */
void csv_lease_gone(struct csv_leases *ls, struct csv_iref image);
/*
 * The lease block names this mount again (*l): the shares that were left by csv_lease_gone() have their meaning back.
 * op holds lease.I EX, which is pinned.  No share is left: the lease is closed as after its last one.
 */
enum csv_err csv_lease_again(struct csv_leases *ls, struct csv_op *op, const struct csv_lease *l);
/*
 * The lease block names this mount (*l), by a handoff, and nobody here has opened it: it is ours from now on, with one
 * share, *ref.  op holds lease.I EX, which is pinned.  Opens of the same VM share it.
 */
enum csv_err csv_lease_adopt(struct csv_leases *ls, struct csv_op *op, const struct csv_lease *l,
			     struct csv_lease_ref **ref);
/* A further share of a lease that is held here, whatever its VM: for handles that a handoff had armed. */
enum csv_err csv_lease_share(struct csv_leases *ls, struct csv_iref image, struct csv_lease_ref **ref);

#endif
