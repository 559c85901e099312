/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Long holds: those that outlive an operation. */
#include "fs/lock/cache_int.h"

void csv_hold_pin(struct csv_op *op, struct csv_res res)
{
	struct csv_locks *c = op->locks;
	struct csv_op_hold *e = NULL;
	struct csv_lock *l;
	unsigned i;

	csv_locks_lock(c);
	for (unsigned k = 0; k < op->nholds; k++)
		if (csv_res_eq(op->hold[k].lock->res, res))
			e = &op->hold[k];
	CSV_ASSERT(e && e->have);
	l = e->lock;
	i = lock_index((enum csv_mode)e->mode);
	l->pins[i]++;
	l->holds[i]--;
	if (l->excl == op)
		l->excl = NULL;
	csv_lock_put(l);
	csv_lock_mark(l); /* others of this node may wait for the end of the exclusive hold */
	*e = op->hold[--op->nholds];
	csv_locks_unlock(c);
}

void csv_hold_unpin(struct csv_locks *c, struct csv_res res)
{
	struct csv_lock *l;

	csv_locks_lock(c);
	l = csv_lock_find(c, res);
	CSV_ASSERT(l && lock_pinned(l));
	l->pins[l->pins[LOCK_PR] ? LOCK_PR : LOCK_EX]--;
	csv_lock_mark(l); /* a BAST may have been remembered */
	csv_locks_unlock(c);
}

bool csv_hold_pinned(struct csv_locks *c, struct csv_res res)
{
	struct csv_lock *l;
	bool pinned;

	csv_locks_lock(c);
	l = csv_lock_find(c, res);
	pinned = l && lock_pinned(l);
	csv_locks_unlock(c);
	return pinned;
}
