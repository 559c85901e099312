/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking into the machine: for status, lists and tests. Changes nothing. */
#include <string.h>

#include "lockd/core/core.h"

bool csv_machine_quorate(const struct csv_machine *m)
{
	return m->phase != CSV_PHASE_NONE && m->quorate;
}

bool csv_machine_formed(const struct csv_machine *m)
{
	return m->phase == CSV_PHASE_FORMED;
}

unsigned csv_machine_version(const struct csv_machine *m)
{
	return m->phase == CSV_PHASE_FORMED ? m->version : 0;
}

uint64_t csv_machine_news(const struct csv_machine *m)
{
	return m->news;
}

unsigned csv_machine_members(const struct csv_machine *m, uint32_t *nodeids)
{
	memcpy(nodeids, m->conf, m->nconf * sizeof(m->conf[0]));
	return m->nconf;
}

unsigned csv_machine_down(const struct csv_machine *m, uint32_t *nodeids)
{
	memcpy(nodeids, m->down, m->ndown * sizeof(m->down[0]));
	return m->ndown;
}

uint64_t csv_machine_digest(const struct csv_machine *m)
{
	struct csv_wbuf w = { 0 };
	uint64_t digest;

	csv_state_write(&m->state, &w);
	digest = csv_mix(0, w.data, w.len);
	csv_wbuf_free(&w);
	return digest;
}

static bool is_member(const struct csv_machine *m, uint32_t nodeid)
{
	for (unsigned i = 0; i < m->nconf; i++) {
		if (m->conf[i] == nodeid)
			return m->phase != CSV_PHASE_NONE;
	}
	return false;
}

/* The node's slot on the first volume where it has one, and whether it is being recovered. */
static void look_for_slot(const struct csv_machine *m, struct csv_msg_node *n, bool *out)
{
	const struct csv_space *sp;

	n->slot = CSV_NO_SLOT;
	csv_for_each_space(sp, &m->state)
	{
		for (uint32_t i = 0; i < CSV_SLOTS_MAX; i++) {
			if (sp->slot[i].life == CSV_LIFE_FREE || sp->slot[i].nodeid != n->nodeid)
				continue;
			if (n->slot == CSV_NO_SLOT)
				n->slot = i;
			*out |= sp->slot[i].life == CSV_LIFE_OUT;
		}
	}
}

void csv_machine_nodes(const struct csv_machine *m, void (*fn)(void *arg, const struct csv_msg_node *n), void *arg)
{
	for (unsigned i = 0; i < m->cfg.nnodes; i++) {
		struct csv_msg_node n = { .nodeid = m->cfg.node[i].nodeid };
		bool out = false;

		n.member = is_member(m, n.nodeid);
		n.quorate = csv_machine_quorate(m);
		n.self = n.nodeid == m->cfg.nodeid;
		memcpy(n.name, m->cfg.node[i].name, sizeof(n.name));
		look_for_slot(m, &n, &out);
		strcpy(n.state, out ? "recovering" : n.member ? "member" : "out");
		fn(arg, &n);
	}
}

struct lister {
	const struct csv_machine *m;
	unsigned left; /* of this piece; it may be exceeded by one resource's */
	void (*fn)(void *arg, const struct csv_msg_lock *l);
	void *arg;
};

static void list_item(struct lister *li, const struct csv_msg_lock *l)
{
	li->fn(li->arg, l);
	li->left -= li->left > 0;
}

static void list_some(struct lister *li, const struct csv_list *head)
{
	struct csv_list *pos;

	csv_list_for_each(pos, head) {
		const struct csv_lkb *l = csv_list_entry(pos, const struct csv_lkb, link);
		struct csv_msg_lock out = { .res_type = l->rsb->res.type, .res_id = l->rsb->res.id, .mode = l->mode };

		out.holder_nodeid = l->place->nodeid;
		out.holder_slot = l->place->slot;
		out.waiting = l->waiting;
		memccpy(out.holder_node, csv_node_name(li->m, l->place->nodeid), 0, sizeof(out.holder_node) - 1);
		list_item(li, &out);
	}
}

/* *at is set behind `res`. */
static void pass(struct csv_look *at, struct csv_res res)
{
	at->res = res.id < UINT64_MAX ? csv_res(res.type, res.id + 1) : csv_res(res.type + 1, 0);
}

static void next_part(struct csv_look *at)
{
	*at = (struct csv_look){ .part = at->part + 1 };
}

static void list_group(struct lister *li, const struct csv_space *sp, struct csv_look *at)
{
	struct csv_omap_node *n = csv_omap_ceil(&sp->rsbs, &at->res);

	for (; n && li->left; n = csv_omap_next(n)) {
		list_some(li, &csv_rsb_of(n)->holders);
		list_some(li, &csv_rsb_of(n)->waiters);
		pass(at, csv_rsb_of(n)->res);
	}
	if (!n)
		next_part(at);
}

/* The DLM's locks are not in the state: of these each node knows its own. */
static void list_dlm(struct lister *li, const struct csv_local *c, struct csv_look *at)
{
	struct csv_omap_node *n = c ? csv_omap_ceil(&c->holds, &at->res) : NULL;

	for (; n && li->left; n = csv_omap_next(n)) {
		const struct csv_hold *h = csv_omap_entry(n, const struct csv_hold, node);
		bool waits = h->held == CSV_NL;
		struct csv_msg_lock out = { .res_type = h->res.type, .res_id = h->res.id };

		pass(at, h->res);
		if (!csv_dlm_routed(c, h->res))
			continue;
		out.mode = waits ? h->want : h->held;
		out.waiting = waits;
		out.holder_nodeid = li->m->cfg.nodeid;
		out.holder_slot = c->slot.slot;
		memccpy(out.holder_node, csv_node_name(li->m, out.holder_nodeid), 0, sizeof(out.holder_node) - 1);
		list_item(li, &out);
	}
	if (!n)
		next_part(at);
}

bool csv_machine_locks(const struct csv_machine *m, const uint8_t *uuid, struct csv_look *at, unsigned max,
		       void (*fn)(void *arg, const struct csv_msg_lock *l), void *arg)
{
	struct lister li = { .m = m, .left = max, .fn = fn, .arg = arg };
	const struct csv_space *sp = csv_space_find(&m->state, uuid);

	if (!sp)
		return false;
	if (at->part == 0)
		list_group(&li, sp, at);
	if (at->part == 1 && li.left)
		list_dlm(&li, csv_local_of((struct csv_machine *)m, uuid), at);
	return at->part < 2;
}

void csv_machine_view(const struct csv_machine *m, const uint8_t *uuid, struct csv_msg_view *view)
{
	const struct csv_space *sp = csv_space_find(&m->state, uuid);

	*view = (struct csv_msg_view){ .quorate = csv_machine_quorate(m), .frozen = 1 };
	if (sp)
		csv_space_view(sp, csv_machine_quorate(m), view);
}

bool csv_machine_dlm_unused(const struct csv_machine *m, const uint8_t *uuid)
{
	const struct csv_space *sp = csv_space_find(&m->state, uuid);

	if (m->phase != CSV_PHASE_FORMED || !m->has_state || csv_local_of((struct csv_machine *)m, uuid))
		return false;
	return !sp || !csv_space_has_node(sp, m->cfg.nodeid);
}
