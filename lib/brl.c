/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Byte-range locks: an ordered map of files (POSIX and flock locks of an inode are two), each with its locks by (start,
 * node, owner).  Each lock is in three trees, so that no request has to look at locks that are not its business:
 *
 *	brl_file.locks  an interval tree: who conflicts with a range.  Each element knows how far the locks below it
 *	                reach, and how far the write locks among them do, since a read lock minds no other.
 *	owners          what one owner has in one file, by start: what a request replaces, splits or joins
 *	handles         what goes with a handle, or with a node
 *
 * A request costs O(log n), and O(log n) more for each lock of its own owner that it touches.
 *
 * Invariants: locks of one owner on one file do not overlap; neighbours of one owner with the same type, handle
 * and pid are one lock; a file without locks is not in the map.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>

#include "lib/brl.h"
#include "lib/log.h"
#include "lib/omap.h"

struct brl_file {
	struct csv_omap_node node;
	uint64_t ino;
	uint32_t gen, flock;
	struct csv_omap locks;
};

struct brl_lock {
	struct csv_omap_node at, own, held; /* in brl_file.locks, owners, handles */
	struct brl_file *file;
	struct csv_brl l;
	/* of this element of brl_file.locks and all below it */
	uint64_t reach;	      /* the highest end */
	uint64_t write_reach; /* that of write locks */
	bool write;	      /* there are any */
};

struct csv_brl_table {
	struct csv_omap files, owners, handles;
	uint64_t count;
};

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

static struct brl_file *file_entry(struct csv_omap_node *n)
{
	return n ? csv_omap_entry(n, struct brl_file, node) : NULL;
}

static struct brl_lock *at_entry(struct csv_omap_node *n)
{
	return n ? csv_omap_entry(n, struct brl_lock, at) : NULL;
}

static struct brl_lock *own_entry(struct csv_omap_node *n)
{
	return n ? csv_omap_entry(n, struct brl_lock, own) : NULL;
}

static struct brl_lock *held_entry(struct csv_omap_node *n)
{
	return n ? csv_omap_entry(n, struct brl_lock, held) : NULL;
}

static int by_file(const struct csv_brl *a, uint64_t ino, uint32_t gen, uint32_t flock)
{
	int c = COMPARE(a->ino, ino);

	if (!c)
		c = COMPARE(a->gen, gen);
	return c ? c : COMPARE(a->flock, flock);
}

static int file_cmp(const void *key, const struct csv_omap_node *n)
{
	const struct brl_file *f = csv_omap_entry(n, const struct brl_file, node);

	return by_file(key, f->ino, f->gen, f->flock);
}

static int at_cmp(const void *key, const struct csv_omap_node *n)
{
	const struct csv_brl *a = key, *b = &csv_omap_entry(n, const struct brl_lock, at)->l;
	int c = COMPARE(a->start, b->start);

	if (!c)
		c = COMPARE(a->node, b->node);
	return c ? c : COMPARE(a->owner, b->owner);
}

static int own_cmp(const void *key, const struct csv_omap_node *n)
{
	const struct csv_brl *a = key, *b = &csv_omap_entry(n, const struct brl_lock, own)->l;
	int c = COMPARE(a->node, b->node);

	if (!c)
		c = COMPARE(a->owner, b->owner);
	if (!c)
		c = by_file(a, b->ino, b->gen, b->flock);
	return c ? c : COMPARE(a->start, b->start);
}

static int held_cmp(const void *key, const struct csv_omap_node *n)
{
	const struct csv_brl *a = key, *b = &csv_omap_entry(n, const struct brl_lock, held)->l;
	int c = COMPARE(a->node, b->node);

	if (!c)
		c = COMPARE(a->handle, b->handle);
	if (!c)
		c = by_file(a, b->ino, b->gen, b->flock);
	if (!c)
		c = COMPARE(a->start, b->start);
	return c ? c : COMPARE(a->owner, b->owner);
}

static void add_reach(struct brl_lock *l, const struct brl_lock *below)
{
	if (!below)
		return;
	if (below->reach > l->reach)
		l->reach = below->reach;
	if (below->write && (!l->write || below->write_reach > l->write_reach))
		l->write_reach = below->write_reach;
	l->write |= below->write;
}

static void update_reach(struct csv_omap_node *n)
{
	struct brl_lock *l = at_entry(n);

	l->reach = l->write_reach = l->l.end;
	l->write = l->l.type == F_WRLCK;
	add_reach(l, at_entry(n->left));
	add_reach(l, at_entry(n->right));
}

struct csv_brl_table *csv_brl_new(void)
{
	struct csv_brl_table *t = calloc(1, sizeof(*t));

	CSV_ASSERT(t);
	csv_omap_init(&t->files, file_cmp);
	csv_omap_init(&t->owners, own_cmp);
	csv_omap_init(&t->handles, held_cmp);
	return t;
}

static struct brl_file *find_file(const struct csv_brl_table *t, const struct csv_brl *of)
{
	return file_entry(csv_omap_find(&t->files, of));
}

static struct brl_file *make_file(struct csv_brl_table *t, const struct csv_brl *of)
{
	struct brl_file *f = find_file(t, of);

	if (f)
		return f;
	f = calloc(1, sizeof(*f));
	CSV_ASSERT(f);
	f->ino = of->ino;
	f->gen = of->gen;
	f->flock = of->flock;
	csv_omap_init(&f->locks, at_cmp);
	f->locks.update = update_reach;
	csv_omap_insert(&t->files, of, &f->node);
	return f;
}

static void drop_lock(struct csv_brl_table *t, struct brl_lock *l)
{
	struct brl_file *f = l->file;

	csv_omap_del(&f->locks, &l->at);
	csv_omap_del(&t->owners, &l->own);
	csv_omap_del(&t->handles, &l->held);
	free(l);
	t->count--;
	if (f->locks.count)
		return;
	csv_omap_del(&t->files, &f->node);
	free(f);
}

static void add_lock(struct csv_brl_table *t, const struct csv_brl *what)
{
	struct brl_lock *l = calloc(1, sizeof(*l));

	CSV_ASSERT(l);
	l->l = *what;
	l->file = make_file(t, what);
	csv_omap_insert(&l->file->locks, what, &l->at);
	csv_omap_insert(&t->owners, what, &l->own);
	csv_omap_insert(&t->handles, what, &l->held);
	t->count++;
}

static bool same_owner(const struct csv_brl *a, const struct csv_brl *b)
{
	return a->node == b->node && a->owner == b->owner && a->flock == b->flock;
}

static bool overlap(const struct csv_brl *a, const struct csv_brl *b)
{
	return a->start <= b->end && b->start <= a->end;
}

static bool joinable(const struct csv_brl *a, const struct csv_brl *b)
{
	return a->type == b->type && a->handle == b->handle && a->pid == b->pid;
}

bool csv_brl_sound(const struct csv_brl *req)
{
	return (req->type == F_RDLCK || req->type == F_WRLCK || req->type == F_UNLCK) && req->start <= req->end &&
	       req->flock <= 1;
}

static bool conflicts(const struct csv_brl *l, const struct csv_brl *req)
{
	return overlap(l, req) && !same_owner(l, req) && (l->type == F_WRLCK || req->type == F_WRLCK);
}

/* In order.  True: fn has said so, and the rest was not looked at. */
static bool each_conflict(struct csv_omap_node *n, const struct csv_brl *req,
			  bool (*fn)(void *arg, const struct csv_brl *l), void *arg)
{
	const struct brl_lock *l = at_entry(n);
	bool read = req->type == F_RDLCK;

	if (!l || (read && !l->write) || (read ? l->write_reach : l->reach) < req->start)
		return false;
	if (each_conflict(n->left, req, fn, arg))
		return true;
	if (l->l.start > req->end)
		return false;
	return (conflicts(&l->l, req) && fn(arg, &l->l)) || each_conflict(n->right, req, fn, arg);
}

bool csv_brl_each_conflict(const struct csv_brl_table *t, const struct csv_brl *req,
			   bool (*fn)(void *arg, const struct csv_brl *l), void *arg)
{
	struct brl_file *f = req->type == F_UNLCK ? NULL : find_file(t, req);

	return f && each_conflict(f->locks.root, req, fn, arg);
}

static bool take_it(void *arg, const struct csv_brl *l)
{
	if (arg)
		*(struct csv_brl *)arg = *l;
	return true;
}

bool csv_brl_test(const struct csv_brl_table *t, const struct csv_brl *req, struct csv_brl *found)
{
	return csv_brl_each_conflict(t, req, take_it, found);
}

/* l, if it is of the same owner and file. */
static struct brl_lock *if_own(struct brl_lock *l, const struct csv_brl *req)
{
	return l && same_owner(&l->l, req) && l->l.ino == req->ino && l->l.gen == req->gen ? l : NULL;
}

/* The owner's first lock in the file that overlaps req; NULL: there is none. */
static struct brl_lock *first_own(const struct csv_brl_table *t, const struct csv_brl *req)
{
	struct csv_omap_node *n = csv_omap_floor(&t->owners, req);
	struct brl_lock *l = if_own(own_entry(n), req);

	if (!l || l->l.end < req->start)
		l = if_own(own_entry(n ? csv_omap_next(n) : csv_omap_first(&t->owners)), req);
	return l && l->l.start <= req->end ? l : NULL;
}

bool csv_brl_has(const struct csv_brl_table *t, const struct csv_brl *req, struct csv_brl *found)
{
	const struct brl_lock *l = first_own(t, req);

	if (l && found)
		*found = l->l;
	return l != NULL;
}

/* Takes the range of req out of the owner's locks: what overlaps shrinks, splits or goes. */
static void cut_out(struct csv_brl_table *t, const struct csv_brl *req)
{
	struct brl_lock *l;

	while ((l = first_own(t, req))) {
		struct csv_brl old = l->l, rest = old;

		drop_lock(t, l);
		if (old.start < req->start) {
			rest.end = req->start - 1;
			add_lock(t, &rest);
		}
		if (old.end > req->end) {
			rest = old;
			rest.start = req->end + 1;
			add_lock(t, &rest);
		}
	}
}

/* Swallows the owner's neighbours of the same kind into *l; nothing of the owner's overlaps it. */
static void join_neighbours(struct csv_brl_table *t, struct csv_brl *l)
{
	struct csv_brl beside = *l;
	struct brl_lock *o;

	beside.start = beside.end = l->start - 1;
	o = l->start ? first_own(t, &beside) : NULL;
	if (o && joinable(&o->l, l)) {
		l->start = o->l.start;
		drop_lock(t, o);
	}
	beside.start = beside.end = l->end + 1;
	o = l->end != UINT64_MAX ? first_own(t, &beside) : NULL;
	if (o && joinable(&o->l, l)) {
		l->end = o->l.end;
		drop_lock(t, o);
	}
}

bool csv_brl_set(struct csv_brl_table *t, const struct csv_brl *req, struct csv_brl *found)
{
	struct csv_brl l = *req;

	CSV_ASSERT(csv_brl_sound(req));
	if (csv_brl_test(t, req, found))
		return false;
	cut_out(t, req);
	if (req->type != F_UNLCK) {
		join_neighbours(t, &l);
		add_lock(t, &l);
	}
	return true;
}

bool csv_brl_drop_handle(struct csv_brl_table *t, uint32_t node, uint64_t handle)
{
	struct csv_brl first = { .node = node, .handle = handle };
	struct brl_lock *l;
	bool any = false;

	while ((l = held_entry(csv_omap_ceil(&t->handles, &first))) && l->l.node == node && l->l.handle == handle) {
		drop_lock(t, l);
		any = true;
	}
	return any;
}

void csv_brl_drop_node(struct csv_brl_table *t, uint32_t node)
{
	struct csv_brl first = { .node = node };
	struct brl_lock *l;

	while ((l = held_entry(csv_omap_ceil(&t->handles, &first))) && l->l.node == node)
		drop_lock(t, l);
}

bool csv_brl_has_handle(const struct csv_brl_table *t, uint32_t node, uint64_t handle)
{
	struct csv_brl first = { .node = node, .handle = handle };
	const struct brl_lock *l = held_entry(csv_omap_ceil(&t->handles, &first));

	return l && l->l.node == node && l->l.handle == handle;
}

bool csv_brl_has_owner(const struct csv_brl_table *t, uint32_t node, uint64_t owner)
{
	struct csv_brl first = { .node = node, .owner = owner };
	const struct brl_lock *l = own_entry(csv_omap_ceil(&t->owners, &first));

	return l && l->l.node == node && l->l.owner == owner;
}

/* The first lock of the file behind *after, which may be in another file or NULL. */
static struct csv_omap_node *first_behind(const struct brl_file *f, const struct csv_brl *after)
{
	struct csv_omap_node *n;

	if (!after || file_cmp(after, &f->node) != 0)
		return csv_omap_first(&f->locks);
	n = csv_omap_ceil(&f->locks, after);
	return n && at_cmp(after, n) == 0 ? csv_omap_next(n) : n;
}

unsigned csv_brl_walk_from(const struct csv_brl_table *t, const struct csv_brl *after, unsigned max,
			   void (*fn)(void *arg, const struct csv_brl *l), void *arg)
{
	struct csv_omap_node *f = after ? csv_omap_ceil(&t->files, after) : csv_omap_first(&t->files), *n;
	unsigned done = 0;

	for (; f && done < max; f = csv_omap_next(f))
		for (n = first_behind(file_entry(f), after); n && done < max; n = csv_omap_next(n), done++)
			fn(arg, &at_entry(n)->l);
	return done;
}

void csv_brl_walk(const struct csv_brl_table *t, void (*fn)(void *arg, const struct csv_brl *l), void *arg)
{
	csv_brl_walk_from(t, NULL, UINT_MAX, fn, arg);
}

uint64_t csv_brl_count(const struct csv_brl_table *t)
{
	return t->count;
}

void csv_brl_free(struct csv_brl_table *t)
{
	struct csv_omap_node *n;

	if (!t)
		return;
	while ((n = csv_omap_first(&t->handles)))
		drop_lock(t, held_entry(n));
	free(t);
}
