/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scenarios of two nodes, and of checkpoints beside running transactions. */
#include <unistd.h>

#include "scenarios.h"

#define FILES 5u

static void file_name(char *name, size_t size, unsigned i)
{
	snprintf(name, size, "disk %u.vhd", i);
}

static void expect(struct crash *c, enum csv_err err, const char *what)
{
	if (err != CSV_EXIST && err != CSV_NOENT)
		crash_expect(c, err, what);
}

static void some_changes(struct crash *c, unsigned n)
{
	struct csv_iref ref;
	char name[32], other[32];

	for (unsigned i = 0; i < n && crash_good(c); i++) {
		file_name(name, sizeof(name), crash_pick(c, FILES));
		file_name(other, sizeof(other), crash_pick(c, FILES));
		switch (crash_pick(c, 5)) {
		case 0:
		case 1:
			expect(c, crash_create(c, crash_root(c), name, S_IFREG | 0644, &ref), "create");
			break;
		case 2:
		case 3:
			expect(c, crash_remove(c, crash_root(c), name), "unlink");
			break;
		default:
			expect(c, crash_rename(c, crash_root(c), name, crash_root(c), other, 0), "rename");
			break;
		}
		if (crash_pick(c, 4) == 0)
			crash_commit(c);
	}
}

/*
 * The locks of everything go to and fro.  Giving them up takes blocks home, but leaves the journal as it is: so the
 * node that idles has old images of blocks that the other changes, frees and uses for something else.  Replay goes
 * from the last slot to the first, and the busy one's journal may be empty: nothing but versions keeps old images out.
 */
void crash_run_idle_node(struct crash *c)
{
	struct crash_node *busy = &c->node[0], *idle = &c->node[1];

	crash_give_all(c, busy);
	if (!crash_mount(c, c->dev, 1, idle))
		return;
	for (unsigned round = 0; round < 3 && crash_good(c); round++) {
		c->me = idle;
		some_changes(c, 6);
		crash_give_all(c, idle);
		c->me = busy;
		some_changes(c, 12);
		if (round % 2 == 0)
			crash_expect(c, csv_journal_checkpoint(&busy->fs), "checkpoint");
		crash_give_all(c, busy);
	}
}

/*
 * The journal is so large that it is half full (and its blocks go home in the background) before an operation lacks
 * room (and waits for them to be home).
 */
void crash_run_home_image(struct crash *c)
{
	for (unsigned i = 0; i < 60 && crash_good(c); i++) {
		some_changes(c, 3);
		/* What follows changes the same blocks, while these go to the journal and perhaps home. */
		crash_commit_later(c);
		some_changes(c, 3);
		while (!csv_journal_is_durable(&c->me->fs, csv_journal_last_tid(&c->me->fs) - 1))
			usleep(10);
	}
}

void crash_run_remount(struct crash *c)
{
	for (unsigned i = 0; i < 5 && crash_good(c); i++) {
		some_changes(c, 8);
		if (!crash_umount(c, c->me))
			return;
		crash_mark(c, CRASH_META, c->op);
		if (!crash_mount(c, c->dev, 0, c->me))
			return;
	}
}

#define WRAP_FILES 84u

/* One transaction that changes each of the files, in a way that no name shows. */
static void touch_all(struct crash *c, const struct csv_iref *ref, unsigned n)
{
	struct csv_fs *fs = &c->me->fs;
	struct csv_txn *txn;
	struct csv_buf *buf;

	crash_begin_op(c, false, "touch %u files", n);
	if (!crash_expect(c, csv_txn_begin(fs, n, &txn), "begin"))
		return;
	for (unsigned i = 0; i < n && crash_expect(c, csv_inode_get(fs, ref[i], &buf), "inode"); i++) {
		if (crash_expect(c, csv_txn_dirty(txn, buf), "dirty"))
			csv_inode_of(buf)->atime = csv_now(fs);
		csv_buf_put(fs, buf);
	}
	csv_txn_end(txn);
	crash_end_op(c);
}

/* Transactions of more than half the journal: each takes the place of the one before as soon as that is home. */
void crash_run_wrap(struct crash *c)
{
	struct csv_iref ref[WRAP_FILES];
	char name[32];

	for (unsigned i = 0; i < WRAP_FILES && crash_good(c); i++) {
		snprintf(name, sizeof(name), "%u", i);
		crash_expect(c, crash_create(c, crash_root(c), name, S_IFREG | 0644, &ref[i]), "create");
	}
	for (unsigned i = 0; i < 20 && crash_good(c); i++) {
		touch_all(c, ref, WRAP_FILES - crash_pick(c, 30));
		some_changes(c, 2);
		if (crash_pick(c, 3))
			crash_commit(c);
	}
}
