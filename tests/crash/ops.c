/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbered operations: each is marked in the record, run, and its state taken. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"

struct csv_iref crash_root(const struct crash *c)
{
	return (struct csv_iref){ c->sb.root_inode, 0 };
}

bool crash_expect(struct crash *c, enum csv_err err, const char *what)
{
	if (err == CSV_OK)
		return true;
	return crash_failed(c, "operation %u, %s: %s%s%s", c->op, what, csv_err_text(err),
			    c->me->fs.withdrawn ? "; withdrawn: " : "",
			    c->me->fs.withdrawn ? c->me->fs.withdraw_reason : "");
}

void crash_begin_op(struct crash *c, bool steps, const char *fmt, ...)
{
	va_list ap;

	c->state[c->op].steps = steps;
	c->op++;
	if (c->op >= c->states_room) {
		c->states_room = 2 * c->states_room;
		c->state = realloc(c->state, c->states_room * sizeof(*c->state));
		if (!c->state)
			abort();
	}
	va_start(ap, fmt);
	vsnprintf(c->what, sizeof(c->what), fmt, ap);
	va_end(ap);
	if (getenv("CRASH_TRACE"))
		printf("  %u: %s\n", c->op, c->what);
	crash_mark(c, CRASH_BEGIN, c->op);
}

void crash_end_op(struct crash *c)
{
	crash_walk(c, &c->me->fs, &c->state[c->op]);
	memcpy(c->state[c->op].what, c->what, sizeof(c->what));
}

/* ---- names ------------------------------------------------------------------------ */

static enum csv_err create(struct crash *c, struct csv_iref dir, const char *name, const struct csv_new *what,
			   struct csv_iref *ref)
{
	struct csv_attr attr;
	enum csv_err err;

	crash_begin_op(c, false, "create %s in %llu", name, (unsigned long long)dir.ino);
	err = CRASH_RUN(c->me, csv_create(&c->me->ctx, dir, name, what, &attr, NULL));
	if (err == CSV_OK && ref)
		*ref = attr.ref;
	crash_end_op(c);
	return err;
}

enum csv_err crash_create(struct crash *c, struct csv_iref dir, const char *name, uint32_t mode, struct csv_iref *ref)
{
	const struct csv_new what = { .mode = mode };

	return create(c, dir, name, &what, ref);
}

enum csv_err crash_symlink(struct crash *c, struct csv_iref dir, const char *name, const char *target)
{
	const struct csv_new what = { .mode = S_IFLNK | 0777, .target = target };

	return create(c, dir, name, &what, NULL);
}

enum csv_err crash_link(struct crash *c, struct csv_iref ref, struct csv_iref dir, const char *name)
{
	enum csv_err err;

	crash_begin_op(c, false, "link %llu as %s", (unsigned long long)ref.ino, name);
	err = CRASH_RUN(c->me, csv_link(&c->me->ctx, ref, dir, name, NULL, NULL));
	crash_end_op(c);
	return err;
}

/* The last name is gone: takes the inode apart, which no name shows. */
void crash_destroy(struct crash *c, struct csv_iref ref)
{
	crash_begin_op(c, true, "destroy %llu", (unsigned long long)ref.ino);
	crash_expect(c, CRASH_RUN(c->me, csv_inode_destroy(&c->me->ctx, ref)), "destroy");
	crash_end_op(c);
}

/* ref with its generation: what a name leads to. */
static enum csv_err victim_of(struct crash *c, struct csv_iref dir, const char *name, struct csv_attr *a)
{
	struct csv_iref ref;
	enum csv_err err = csv_lookup(&c->me->ctx, dir, name, &ref);

	return err == CSV_OK ? csv_getattr(&c->me->ctx, ref, a) : err;
}

enum csv_err crash_remove(struct crash *c, struct csv_iref dir, const char *name)
{
	uint32_t nlink = 0;
	struct csv_attr a;
	enum csv_err err = victim_of(c, dir, name, &a);

	if (err != CSV_OK)
		return err;
	crash_begin_op(c, false, "remove %s in %llu", name, (unsigned long long)dir.ino);
	if (S_ISDIR(a.mode))
		err = CRASH_RUN(c->me, csv_rmdir(&c->me->ctx, dir, name, a.ref, NULL));
	else
		err = CRASH_RUN(c->me, csv_unlink(&c->me->ctx, dir, name, a.ref, &nlink, NULL));
	crash_end_op(c);
	if (err == CSV_OK && nlink == 0 && crash_pick(c, 4))
		crash_destroy(c, a.ref); /* else it stays an orphan */
	return err;
}

enum csv_err crash_rename(struct crash *c, struct csv_iref from, const char *a, struct csv_iref to, const char *b,
			  unsigned flags)
{
	struct csv_rename r = { .from_dir = from, .to_dir = to, .from = a, .to = b, .flags = flags };
	struct csv_attr moved, replaced;
	uint32_t nlink = 1;
	enum csv_err err = victim_of(c, from, a, &moved);

	if (err != CSV_OK)
		return err;
	r.moved = moved.ref;
	if (victim_of(c, to, b, &replaced) == CSV_OK)
		r.replaced = replaced.ref;
	crash_begin_op(c, false, "rename %s to %s, flags %u", a, b, flags);
	err = CRASH_RUN(c->me, csv_rename(&c->me->ctx, &r, &nlink, NULL));
	crash_end_op(c);
	if (err == CSV_OK && r.replaced.ino && nlink == 0 && !(flags & RENAME_EXCHANGE) &&
	    (r.replaced.ino != r.moved.ino))
		crash_destroy(c, r.replaced);
	return err;
}

enum csv_err crash_lease(struct crash *c, struct csv_iref ref, enum csv_lease_mode mode, const char *vm)
{
	struct csv_fs *fs = &c->me->fs;
	struct csv_attr a;
	struct csv_lease l;
	struct csv_txn *txn;
	enum csv_err err = csv_getattr(&c->me->ctx, ref, &a);

	if (err != CSV_OK || !a.lease)
		return err ? err : CSV_INVAL;
	crash_begin_op(c, false, "lease of %llu to %s", (unsigned long long)ref.ino, vm);
	err = csv_txn_begin(fs, 0, &txn);
	if (err != CSV_OK)
		return err;
	err = csv_lease_read(fs, ref, a.lease, &l);
	if (err == CSV_OK) {
		l.mode = mode;
		l.epoch++;
		l.slot = mode == CSV_LEASE_NONE ? 0 : c->me->slot;
		l.incarnation = mode == CSV_LEASE_NONE ? 0 : c->me->incarnation;
		snprintf(l.vm, sizeof(l.vm), "%s", vm);
		err = csv_lease_write(txn, &l);
	}
	if (err == CSV_OK)
		csv_txn_end(txn);
	else
		csv_txn_abort(txn);
	crash_end_op(c);
	return err;
}

/* ---- durability --------------------------------------------------------------------- */

void crash_commit(struct crash *c)
{
	if (crash_expect(c, csv_journal_commit(&c->me->fs, 0), "commit"))
		crash_mark(c, CRASH_META, c->op);
}

/* A commit that is under way while operations go on. */
struct later {
	struct csv_commit_wait wait;
	struct crash *c;
	uint32_t op;
};

static void later_done(struct csv_commit_wait *w, enum csv_err err)
{
	struct later *l = csv_list_entry(w, struct later, wait);

	if (err == CSV_OK)
		crash_mark(l->c, CRASH_META, l->op);
	free(l);
}

void crash_commit_later(struct crash *c)
{
	struct later *l = calloc(1, sizeof(*l));

	if (!l)
		abort();
	l->c = c;
	l->op = c->op;
	l->wait.tid = csv_journal_last_tid(&c->me->fs);
	l->wait.fn = later_done;
	csv_journal_commit_async(&c->me->fs, &l->wait);
}

void crash_checkpoint(struct crash *c)
{
	uint32_t what = crash_pick(c, c->sb.ag_count + 2);
	enum csv_err err;

	if (what < c->sb.ag_count)
		err = csv_journal_sync_res(&c->me->fs, csv_res(CSV_RES_AG, what));
	else if (what == c->sb.ag_count)
		err = csv_journal_sync_res(&c->me->fs, csv_res(CSV_RES_INODE, c->sb.root_inode));
	else
		err = csv_journal_checkpoint(&c->me->fs);
	crash_expect(c, err, "checkpoint");
}

void crash_give_all(struct crash *c, struct crash_node *n)
{
	struct csv_fs *fs = &n->fs;

	/* Every lock there could be: an inode or lease lock has the number of a block. */
	for (uint64_t i = 0; i < 2 * c->sb.blocks + c->sb.ag_count && crash_good(c); i++) {
		struct csv_res res = i < c->sb.ag_count ? csv_res(CSV_RES_AG, i)
				     : i < c->sb.ag_count + c->sb.blocks
					 ? csv_res(CSV_RES_INODE, i - c->sb.ag_count)
					 : csv_res(CSV_RES_LEASE, i - c->sb.ag_count - c->sb.blocks);

		crash_expect(c, csv_journal_sync_res(fs, res), "giving up a lock");
		csv_cache_drop(fs, res);
	}
	crash_mark(c, CRASH_META, c->op);
}
