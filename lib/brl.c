/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Byte-range locks: an ordered map of files, each with a list of its locks sorted by (flock, start, node, owner).
 * Invariants: locks of one owner on one file do not overlap; neighbours of one owner with the same type, handle
 * and pid are one lock; a file without locks is not in the map.
 */
#include <fcntl.h>
#include <stdlib.h>

#include "lib/brl.h"
#include "lib/list.h"
#include "lib/log.h"
#include "lib/omap.h"

struct brl_lock {
	struct csv_list link;
	struct csv_brl l;
};

struct brl_file {
	struct csv_omap_node node;
	uint64_t ino;
	uint32_t gen;
	struct csv_list locks;
};

struct csv_brl_table {
	struct csv_omap files;
	uint64_t count;
};

struct file_key {
	uint64_t ino;
	uint32_t gen;
};

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

static struct brl_file *file_entry(struct csv_omap_node *n)
{
	return n ? csv_omap_entry(n, struct brl_file, node) : NULL;
}

static struct brl_lock *lock_entry(struct csv_list *pos)
{
	return csv_list_entry(pos, struct brl_lock, link);
}

static int file_cmp(const void *key, const struct csv_omap_node *n)
{
	const struct file_key *k = key;
	const struct brl_file *f = csv_omap_entry(n, const struct brl_file, node);
	int c = COMPARE(k->ino, f->ino);

	return c ? c : COMPARE(k->gen, f->gen);
}

static int lock_cmp(const struct csv_brl *a, const struct csv_brl *b)
{
	int c = COMPARE(a->flock, b->flock);

	if (!c)
		c = COMPARE(a->start, b->start);
	if (!c)
		c = COMPARE(a->node, b->node);
	return c ? c : COMPARE(a->owner, b->owner);
}

struct csv_brl_table *csv_brl_new(void)
{
	struct csv_brl_table *t = calloc(1, sizeof(*t));

	CSV_ASSERT(t);
	csv_omap_init(&t->files, file_cmp);
	return t;
}

static struct brl_file *find_file(const struct csv_brl_table *t, uint64_t ino, uint32_t gen)
{
	struct file_key key = { ino, gen };

	return file_entry(csv_omap_find(&t->files, &key));
}

static struct brl_file *make_file(struct csv_brl_table *t, uint64_t ino, uint32_t gen)
{
	struct file_key key = { ino, gen };
	struct brl_file *f = find_file(t, ino, gen);

	if (f)
		return f;
	f = calloc(1, sizeof(*f));
	CSV_ASSERT(f);
	f->ino = ino;
	f->gen = gen;
	csv_list_init(&f->locks);
	csv_omap_insert(&t->files, &key, &f->node);
	return f;
}

static void drop_if_empty(struct csv_brl_table *t, struct brl_file *f)
{
	if (!csv_list_empty(&f->locks))
		return;
	csv_omap_del(&t->files, &f->node);
	free(f);
}

static void drop_lock(struct csv_brl_table *t, struct brl_lock *l)
{
	csv_list_del(&l->link);
	free(l);
	t->count--;
}

static void add_lock(struct csv_brl_table *t, struct brl_file *f, const struct csv_brl *what)
{
	struct brl_lock *l = calloc(1, sizeof(*l));
	struct csv_list *pos;

	CSV_ASSERT(l);
	l->l = *what;
	csv_list_for_each(pos, &f->locks) {
		if (lock_cmp(what, &lock_entry(pos)->l) < 0)
			break;
	}
	csv_list_push_back(pos, &l->link);
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

/* a ends right before b begins. */
static bool touches(const struct csv_brl *a, const struct csv_brl *b)
{
	return a->end != UINT64_MAX && a->end + 1 == b->start;
}

static bool joinable(const struct csv_brl *a, const struct csv_brl *b)
{
	return same_owner(a, b) && a->type == b->type && a->handle == b->handle && a->pid == b->pid;
}

bool csv_brl_sound(const struct csv_brl *req)
{
	return (req->type == F_RDLCK || req->type == F_WRLCK || req->type == F_UNLCK) && req->start <= req->end &&
	       req->flock <= 1;
}

bool csv_brl_test(const struct csv_brl_table *t, const struct csv_brl *req, struct csv_brl *found)
{
	struct brl_file *f = find_file(t, req->ino, req->gen);
	struct csv_list *pos;

	if (!f || req->type == F_UNLCK)
		return false;
	csv_list_for_each(pos, &f->locks) {
		const struct csv_brl *l = &lock_entry(pos)->l;

		if (l->flock != req->flock || same_owner(l, req) || !overlap(l, req) ||
		    (l->type == F_RDLCK && req->type == F_RDLCK))
			continue;
		if (found)
			*found = *l;
		return true;
	}
	return false;
}

/* Takes the range of req out of the owner's locks: what overlaps shrinks, splits or goes. */
static void cut_out(struct csv_brl_table *t, struct brl_file *f, const struct csv_brl *req)
{
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &f->locks) {
		struct csv_brl old = lock_entry(pos)->l, rest;

		if (!same_owner(&old, req) || !overlap(&old, req))
			continue;
		drop_lock(t, lock_entry(pos));
		if (old.start < req->start) {
			rest = old;
			rest.end = req->start - 1;
			add_lock(t, f, &rest);
		}
		if (old.end > req->end) {
			rest = old;
			rest.start = req->end + 1;
			add_lock(t, f, &rest);
		}
	}
}

/* Swallows the owner's neighbours of the same kind into *l. */
static void join_neighbours(struct csv_brl_table *t, struct brl_file *f, struct csv_brl *l)
{
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &f->locks) {
		const struct csv_brl *o = &lock_entry(pos)->l;

		if (!joinable(o, l) || !(touches(o, l) || touches(l, o)))
			continue;
		if (o->start < l->start)
			l->start = o->start;
		else
			l->end = o->end;
		drop_lock(t, lock_entry(pos));
	}
}

bool csv_brl_set(struct csv_brl_table *t, const struct csv_brl *req, struct csv_brl *found)
{
	struct csv_brl l = *req;
	struct brl_file *f;

	CSV_ASSERT(csv_brl_sound(req));
	if (csv_brl_test(t, req, found))
		return false;
	f = req->type == F_UNLCK ? find_file(t, req->ino, req->gen) : make_file(t, req->ino, req->gen);
	if (!f)
		return true;
	cut_out(t, f, req);
	if (req->type != F_UNLCK) {
		join_neighbours(t, f, &l);
		add_lock(t, f, &l);
	}
	drop_if_empty(t, f);
	return true;
}

/* Drops in one file what fits; by_handle: the node's locks of that handle, else all of the node's. */
static void drop_in_file(struct csv_brl_table *t, struct brl_file *f, uint32_t node, const uint64_t *handle)
{
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &f->locks) {
		const struct csv_brl *l = &lock_entry(pos)->l;

		if (l->node == node && (!handle || l->handle == *handle))
			drop_lock(t, lock_entry(pos));
	}
	drop_if_empty(t, f);
}

static void drop_everywhere(struct csv_brl_table *t, uint32_t node, const uint64_t *handle)
{
	struct csv_omap_node *n, *next;

	for (n = csv_omap_first(&t->files); n; n = next) {
		next = csv_omap_next(n);
		drop_in_file(t, file_entry(n), node, handle);
	}
}

void csv_brl_drop_handle(struct csv_brl_table *t, uint32_t node, uint64_t handle)
{
	drop_everywhere(t, node, &handle);
}

void csv_brl_drop_node(struct csv_brl_table *t, uint32_t node)
{
	drop_everywhere(t, node, NULL);
}

static void empty_file(struct csv_brl_table *t, struct brl_file *f)
{
	while (!csv_list_empty(&f->locks))
		drop_lock(t, lock_entry(f->locks.next));
	drop_if_empty(t, f);
}

static void walk_file(const struct brl_file *f, void (*fn)(void *arg, const struct csv_brl *l), void *arg)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &f->locks)
		fn(arg, &lock_entry(pos)->l);
}

void csv_brl_walk(const struct csv_brl_table *t, void (*fn)(void *arg, const struct csv_brl *l), void *arg)
{
	struct csv_omap_node *n;

	for (n = csv_omap_first(&t->files); n; n = csv_omap_next(n))
		walk_file(file_entry(n), fn, arg);
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
	while ((n = csv_omap_first(&t->files)))
		empty_file(t, file_entry(n));
	free(t);
}
