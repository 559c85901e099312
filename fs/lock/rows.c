/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What each type of lock covers, in one table.
 *
 * ag: data blocks that a transaction freed wait in the allocator's pending list
 * until that transaction is durable, and csv_journal_sync_res() comes back only
 * then: so no other node allocates them before (J2).
 * open and lease are asked for without queueing, so "cached" would look like "in
 * use": they are given up at once.
 * open, rename and mount cover no block: open.I is only a sign that somebody has
 * the file open, the superblock is written directly.
 */
#include "fs/journal/journal.h"
#include "fs/lock/cache.h"

const struct csv_lock_row csv_lock_rows[CSV_RES_TYPES] = {
	[CSV_RES_MOUNT] = { NULL, NULL },
	[CSV_RES_SLOT] = { csv_journal_sync_res, csv_cache_drop }, /* orphan blocks */
	[CSV_RES_RENAME] = { NULL, NULL },
	[CSV_RES_INODE] = { csv_journal_sync_res, csv_cache_drop },
	[CSV_RES_OPEN] = { NULL, NULL, true },
	[CSV_RES_LEASE] = { csv_journal_sync_res, csv_cache_drop, true },
	[CSV_RES_AG] = { csv_journal_sync_res, csv_cache_drop },
};
