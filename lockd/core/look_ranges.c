/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking at the byte ranges of a volume: who has them, who waits, and for whom. Changes nothing. */
#include <string.h>

#include "lockd/core/core.h"

struct lister {
	const struct csv_machine *m;
	const struct csv_space *sp;
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

void csv_machine_ranges(const struct csv_machine *m, const uint8_t *uuid,
			void (*fn)(void *arg, const struct csv_msg_brl_item *b), void *arg)
{
	struct lister li = { .m = m, .sp = csv_space_find(&m->state, uuid), .fn = fn, .arg = arg };
	struct csv_list *pos;

	if (!li.sp)
		return;
	csv_brl_walk(li.sp->brl, list_lock, &li);
	csv_list_for_each(pos, &li.sp->brl_waits)
		list_waiter(&li, csv_list_entry(pos, const struct csv_brl_wait, link));
}
