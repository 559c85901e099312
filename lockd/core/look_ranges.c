/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking at the byte ranges of a volume: who has them, who waits, and for whom. Changes nothing. */
#include <string.h>

#include "lockd/core/core.h"

struct lister {
	const struct csv_machine *m;
	const struct csv_space *sp;
	struct csv_look *at;
	unsigned left;
	void (*fn)(void *arg, const struct csv_msg_brl_item *b);
	void *arg;
};

static void name_node(const struct lister *li, uint32_t place, uint32_t *nodeid, char *name, size_t size)
{
	const struct csv_place *p = csv_place_by_id(li->sp, place);

	if (!p)
		return;
	*nodeid = p->nodeid;
	memccpy(name, csv_node_name(li->m, p->nodeid), 0, size - 1);
}

static struct csv_msg_brl_item item_of(const struct lister *li, const struct csv_brl *l, enum csv_brl_state state)
{
	struct csv_msg_brl_item it = { .state = state };

	it.brl.ino = l->ino;
	it.brl.gen = l->gen;
	it.brl.type = l->type;
	it.brl.handle = l->handle;
	it.brl.owner = l->owner;
	it.brl.start = l->start;
	it.brl.end = l->end;
	it.brl.pid = l->pid;
	it.brl.flock = l->flock;
	name_node(li, l->node, &it.brl.nodeid, it.node, sizeof(it.node));
	return it;
}

static void list_lock(void *arg, const struct csv_brl *l)
{
	const struct lister *li = arg;
	struct csv_msg_brl_item it = item_of(li, l, CSV_BRL_HELD);

	li->fn(li->arg, &it);
	li->at->brl = *l;
	li->at->begun = true;
}

static void list_waiter(const struct lister *li, const struct csv_brl_wait *w)
{
	struct csv_msg_brl_item it = item_of(li, &w->w.brl, w->tried ? CSV_BRL_BEHIND : CSV_BRL_FROZEN);
	struct csv_brl found;
	uint32_t nodeid;

	if (csv_brl_test(li->sp->brl, &w->w.brl, &found)) {
		it.behind_pid = found.pid;
		name_node(li, found.node, &nodeid, it.behind_node, sizeof(it.behind_node));
	}
	li->fn(li->arg, &it);
}

static void list_locks(struct lister *li)
{
	struct csv_brl after = li->at->brl;
	unsigned n = csv_brl_walk_from(li->sp->brl, li->at->begun ? &after : NULL, li->left, list_lock, li);

	if (n < li->left)
		li->at->part++;
	li->left -= n;
}

static void list_waiters(struct lister *li)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &li->sp->brl_waits) {
		const struct csv_brl_wait *w = csv_list_entry(pos, const struct csv_brl_wait, link);

		if (w->w.order < li->at->order)
			continue;
		if (!li->left)
			return;
		li->left--;
		list_waiter(li, w);
		li->at->order = w->w.order + 1;
	}
	li->at->part++;
}

bool csv_machine_ranges(const struct csv_machine *m, const uint8_t *uuid, struct csv_look *at, unsigned max,
			void (*fn)(void *arg, const struct csv_msg_brl_item *b), void *arg)
{
	struct lister li = {
		.m = m, .sp = csv_space_find(&m->state, uuid), .at = at, .left = max, .fn = fn, .arg = arg
	};

	if (!li.sp)
		return false;
	if (at->part == 0)
		list_locks(&li);
	if (at->part == 1 && li.left)
		list_waiters(&li);
	return at->part < 2;
}
