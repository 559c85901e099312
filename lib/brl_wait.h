/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Those who wait for byte-range locks of a table (lib/brl.h), as a pure structure: csvlockd has one per volume, csvfs
 * one of what it decides itself.
 *
 * A waiter waits for locks that are held, never for another waiter: a request that no lock conflicts with is granted
 * whoever waits, as with the kernel's own locks.  To make it stand behind an earlier waiter would hang programs that are
 * right: who holds a shared flock and starts a child that takes the same one would wait for ever as soon as a third
 * waits for the exclusive one.  When a lock goes, those whom it let wait are tried in the order in which they came.
 *
 * Deadlock: an owner whose locks are a process's waits for each owner of a lock in its way.  A request that would close
 * a cycle of such owners is found before it waits.  OFD and flock locks belong to open files: who waits for one of them
 * may be freed by any process that has the file, so no cycle of theirs is certain, and none is looked for.
 */
#ifndef CSV_LIB_BRL_WAIT_H
#define CSV_LIB_BRL_WAIT_H

#include "lib/brl.h"
#include "lib/list.h"
#include "lib/omap.h"

/* Part of the user's own struct. */
struct csv_brl_waiter {
	struct csv_brl brl; /* what it wants; set before it is added */
	bool process;	    /* its owner is a process: counts in the search for a cycle; the user may change it */
	uint64_t order;	    /* of arrival: grows; to be read only */
	/* private */
	struct csv_omap_node by_file, by_owner;
	uint64_t search; /* the last one that found it */
	struct csv_list due;
};

struct csv_brl_waits {
	struct csv_omap by_file, by_owner;
	uint64_t next, search;
};

void csv_brl_waits_init(struct csv_brl_waits *q); /* it is freed by having its waiters taken out */
void csv_brl_waits_add(struct csv_brl_waits *q, struct csv_brl_waiter *w);
void csv_brl_waits_del(struct csv_brl_waits *q, struct csv_brl_waiter *w);

/*
 * In the order of arrival: the first one that came after `after` (NULL: the very first) and wants some of the range of
 * `of`, whoever that is of; NULL: there is none.
 */
struct csv_brl_waiter *csv_brl_waits_next(const struct csv_brl_waits *q, const struct csv_brl *of,
					  const struct csv_brl_waiter *after);
/* The same for the waiters of one owner, in all files. */
struct csv_brl_waiter *csv_brl_waits_of(const struct csv_brl_waits *q, uint32_t node, uint64_t owner,
					const struct csv_brl_waiter *after);

/*
 * Whether the owner of req, a process, would wait for itself in the end.  To keep it short whatever is there, no more
 * than CSV_BRL_SEARCH_MAX locks are looked at: of a cycle that lies further away nothing is said, and it waits.
 */
#define CSV_BRL_SEARCH_MAX 100000u
bool csv_brl_deadlock(const struct csv_brl_table *t, struct csv_brl_waits *q, const struct csv_brl *req);

#endif
