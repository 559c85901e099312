/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/brl_wait.h"

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

/* Where in an index: a waiter's place in it. */
struct key {
	const struct csv_brl *brl;
	uint64_t order;
};

static int file_cmp(const void *key, const struct csv_omap_node *n)
{
	const struct csv_brl_waiter *w = csv_omap_entry(n, const struct csv_brl_waiter, by_file);
	const struct key *k = key;
	int c = COMPARE(k->brl->ino, w->brl.ino);

	if (!c)
		c = COMPARE(k->brl->gen, w->brl.gen);
	if (!c)
		c = COMPARE(k->brl->flock, w->brl.flock);
	return c ? c : COMPARE(k->order, w->order);
}

static int owner_cmp(const void *key, const struct csv_omap_node *n)
{
	const struct csv_brl_waiter *w = csv_omap_entry(n, const struct csv_brl_waiter, by_owner);
	const struct key *k = key;
	int c = COMPARE(k->brl->node, w->brl.node);

	if (!c)
		c = COMPARE(k->brl->owner, w->brl.owner);
	return c ? c : COMPARE(k->order, w->order);
}

void csv_brl_waits_init(struct csv_brl_waits *q)
{
	*q = (struct csv_brl_waits){ 0 };
	csv_omap_init(&q->by_file, file_cmp);
	csv_omap_init(&q->by_owner, owner_cmp);
}

void csv_brl_waits_add(struct csv_brl_waits *q, struct csv_brl_waiter *w)
{
	struct key key = { &w->brl, ++q->next };

	w->order = key.order;
	w->search = 0;
	csv_list_init(&w->due);
	csv_omap_insert(&q->by_file, &key, &w->by_file);
	csv_omap_insert(&q->by_owner, &key, &w->by_owner);
}

void csv_brl_waits_del(struct csv_brl_waits *q, struct csv_brl_waiter *w)
{
	csv_omap_del(&q->by_file, &w->by_file);
	csv_omap_del(&q->by_owner, &w->by_owner);
}

struct csv_brl_waiter *csv_brl_waits_next(const struct csv_brl_waits *q, const struct csv_brl *of,
					  const struct csv_brl_waiter *after)
{
	struct key key = { of, 0 };
	struct csv_omap_node *n = after ? csv_omap_next(&after->by_file) : csv_omap_ceil(&q->by_file, &key);

	for (; n; n = csv_omap_next(n)) {
		struct csv_brl_waiter *w = csv_omap_entry(n, struct csv_brl_waiter, by_file);

		if (w->brl.ino != of->ino || w->brl.gen != of->gen || w->brl.flock != of->flock)
			return NULL;
		if (w->brl.start <= of->end && of->start <= w->brl.end)
			return w;
	}
	return NULL;
}

struct csv_brl_waiter *csv_brl_waits_of(const struct csv_brl_waits *q, uint32_t node, uint64_t owner,
					const struct csv_brl_waiter *after)
{
	struct csv_brl of = { .node = node, .owner = owner };
	struct key key = { &of, 0 };
	struct csv_omap_node *n = after ? csv_omap_next(&after->by_owner) : csv_omap_ceil(&q->by_owner, &key);
	struct csv_brl_waiter *w = n ? csv_omap_entry(n, struct csv_brl_waiter, by_owner) : NULL;

	return w && w->brl.node == node && w->brl.owner == owner ? w : NULL;
}

/* ---- deadlock: breadth first from those in the way, until it comes back to who asks ---- */

struct search {
	struct csv_brl_waits *q;
	const struct csv_brl *req;
	struct csv_list due; /* waiters found, whose own obstacles are still to be looked at */
	unsigned looks;
	bool cycle;
};

/* A lock in somebody's way: its owner is waited for, and so is everybody that its owner waits for. */
static bool in_the_way(void *arg, const struct csv_brl *l)
{
	struct search *s = arg;
	struct csv_brl_waiter *w;

	if (l->node == s->req->node && l->owner == s->req->owner)
		s->cycle = true;
	for (w = csv_brl_waits_of(s->q, l->node, l->owner, NULL); w && !s->cycle;
	     w = csv_brl_waits_of(s->q, l->node, l->owner, w)) {
		if (!w->process || w->search == s->q->search)
			continue;
		w->search = s->q->search;
		csv_list_push_back(&s->due, &w->due);
	}
	return s->cycle || ++s->looks > CSV_BRL_SEARCH_MAX;
}

bool csv_brl_deadlock(const struct csv_brl_table *t, struct csv_brl_waits *q, const struct csv_brl *req)
{
	struct search s = { .q = q, .req = req };

	if (req->flock || !csv_brl_has_owner(t, req->node, req->owner))
		return false; /* nobody can wait for it */
	csv_list_init(&s.due);
	q->search++;
	csv_brl_each_conflict(t, req, in_the_way, &s);
	while (!csv_list_empty(&s.due) && s.looks <= CSV_BRL_SEARCH_MAX) {
		struct csv_brl_waiter *w = csv_list_entry(s.due.next, struct csv_brl_waiter, due);

		csv_list_del(&w->due);
		if (!s.cycle)
			csv_brl_each_conflict(t, &w->brl, in_the_way, &s);
	}
	while (!csv_list_empty(&s.due))
		csv_list_del(s.due.next);
	return s.cycle;
}
