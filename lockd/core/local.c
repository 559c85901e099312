/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The csvfs connected to this member: what each of them holds and has been told. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lockd/core/core.h"

static int hold_cmp(const void *key, const struct csv_omap_node *n)
{
	const struct csv_res *a = key, *b = &csv_omap_entry(n, const struct csv_hold, node)->res;

	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	return (a->id > b->id) - (a->id < b->id);
}

struct csv_local *csv_local_new(struct csv_machine *m, uint64_t id, const struct csv_msg_hello *h)
{
	struct csv_local *c = calloc(1, sizeof(*c));

	CSV_ASSERT(c);
	c->id = id;
	memcpy(c->uuid, h->uuid, sizeof(c->uuid));
	snprintf(c->name, sizeof(c->name), "%s", h->volume);
	c->slot.slot = CSV_NO_SLOT;
	c->wants = (enum csv_lock_engine)h->engine;
	c->can_dlm = h->dlm;
	c->again = h->again;
	csv_omap_init(&c->holds, hold_cmp);
	csv_list_init(&c->late);
	csv_list_init(&c->waiting);
	c->brl = csv_brl_new();
	csv_list_init(&c->brl_asks);
	csv_list_push_back(&m->locals, &c->link);
	return c;
}

static void hold_free(struct csv_machine *m, struct csv_local *c, struct csv_hold *h)
{
	csv_omap_del(&c->holds, &h->node);
	csv_wait_end(h);
	if (h->is_late) {
		csv_list_del(&h->late);
		m->nlate--;
	}
	free(h);
}

void csv_holds_free(struct csv_machine *m, struct csv_local *c)
{
	struct csv_omap_node *n;

	while ((n = csv_omap_first(&c->holds)))
		hold_free(m, c, csv_omap_entry(n, struct csv_hold, node));
}

void csv_local_free(struct csv_machine *m, struct csv_local *c)
{
	csv_holds_free(m, c);
	while (!csv_list_empty(&c->brl_asks)) {
		struct csv_brl_ask *a = csv_list_entry(c->brl_asks.next, struct csv_brl_ask, link);

		csv_list_del(&a->link);
		free(a);
	}
	csv_brl_free(c->brl);
	free(c->ho);
	csv_list_del(&c->link);
	free(c);
}

struct csv_local *csv_local_by_id(struct csv_machine *m, uint64_t id)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &m->locals) {
		struct csv_local *c = csv_list_entry(pos, struct csv_local, link);

		if (c->id == id)
			return c;
	}
	return NULL;
}

struct csv_local *csv_local_of(struct csv_machine *m, const uint8_t *uuid)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &m->locals) {
		struct csv_local *c = csv_list_entry(pos, struct csv_local, link);

		if (c->phase != CSV_LOCAL_FENCED && !memcmp(c->uuid, uuid, 16))
			return c;
	}
	return NULL;
}

/*
 * While the state is being loaded, the places of this node in it are of a former life, or of a line that is over: what
 * is applied then concerns none of the present csvfs.
 */
struct csv_local *csv_local_at(struct csv_machine *m, const struct csv_space *sp, const struct csv_place *p)
{
	struct csv_local *c;

	if (!p || !p->bound || p->nodeid != m->cfg.nodeid || m->phase == CSV_PHASE_LOADING)
		return NULL;
	c = csv_local_by_id(m, p->client);
	return c && c->phase != CSV_LOCAL_FENCED ? c : NULL;
}

bool csv_msg_lock_sound(const struct csv_msg_lock *l)
{
	return l->res_type > CSV_RES_NONE && l->res_type < CSV_RES_TYPES && l->mode <= CSV_EX;
}

void csv_msg_lock_fill(struct csv_msg_lock *l, struct csv_res res, enum csv_mode mode)
{
	l->res_type = res.type;
	l->res_id = res.id;
	l->mode = mode;
}

struct csv_hold *csv_hold_find(const struct csv_local *c, struct csv_res res)
{
	struct csv_omap_node *n = csv_omap_find(&c->holds, &res);

	return n ? csv_omap_entry(n, struct csv_hold, node) : NULL;
}

struct csv_hold *csv_hold_make(struct csv_local *c, struct csv_res res)
{
	struct csv_hold *h = csv_hold_find(c, res);

	if (h)
		return h;
	h = calloc(1, sizeof(*h));
	CSV_ASSERT(h);
	h->res = res;
	csv_omap_insert(&c->holds, &res, &h->node);
	return h;
}

void csv_hold_put(struct csv_machine *m, struct csv_local *c, struct csv_hold *h)
{
	if (h->held == CSV_NL && h->want == CSV_NL)
		hold_free(m, c, h);
}

void csv_local_error(struct csv_machine *m, struct csv_local *c, uint64_t seq, enum csv_err err, const char *fmt, ...)
{
	struct csv_msg msg = { .type = CSV_MSG_ERROR, .err = err, .seq = seq, .last = 1 };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg.text, sizeof(msg.text), fmt, ap);
	va_end(ap);
	csv_act_client(m, c->id, &msg);
}

void csv_local_done(struct csv_machine *m, struct csv_local *c, uint64_t seq)
{
	struct csv_msg msg = { .type = CSV_MSG_DONE, .seq = seq };

	csv_act_client(m, c->id, &msg);
}

void csv_local_fenced(struct csv_machine *m, struct csv_local *c)
{
	struct csv_msg msg = { .type = CSV_MSG_FENCED, .err = CSV_FENCED };

	c->phase = CSV_LOCAL_FENCED;
	msg.slot = c->slot;
	csv_act_client(m, c->id, &msg);
}

void csv_local_close(struct csv_machine *m, struct csv_local *c, const char *why)
{
	c->phase = CSV_LOCAL_FENCED;
	csv_act_log(m, CSV_LOG_WARN, "volume %s: connection of its csvfs is closed: %s", c->name, why);
	csv_act_close(m, c->id);
}

/* A slot that it found dirty and that is out no more needs no remembering. */
static void forget_dirty(struct csv_local *c, const struct csv_space *sp)
{
	for (uint32_t i = 0; i < CSV_SLOTS_MAX; i++) {
		if ((c->dirty >> i & 1) && sp->slot[i].dead >= c->dirty_slot[i].incarnation)
			c->dirty &= ~(1ull << i);
	}
}

void csv_views_flush(struct csv_machine *m)
{
	struct csv_list *pos;

	if (!m->view_dirty || m->phase == CSV_PHASE_LOADING)
		return;
	m->view_dirty = false;
	m->news++;
	csv_list_for_each(pos, &m->locals) {
		struct csv_local *c = csv_list_entry(pos, struct csv_local, link);
		struct csv_space *sp = m->has_state ? csv_space_find(&m->state, c->uuid) : NULL;
		struct csv_msg msg = { .type = CSV_MSG_VIEW };

		if (c->phase == CSV_LOCAL_FENCED || !sp)
			continue;
		forget_dirty(c, sp);
		csv_space_view(sp, m->quorate, &msg.view);
		if (c->viewed && !memcmp(&c->view, &msg.view, sizeof(msg.view)))
			continue;
		c->view = msg.view;
		c->viewed = true;
		csv_act_client(m, c->id, &msg);
	}
}

const char *csv_node_name(const struct csv_machine *m, uint32_t nodeid)
{
	for (unsigned i = 0; i < m->cfg.nnodes; i++) {
		if (m->cfg.node[i].nodeid == nodeid)
			return m->cfg.node[i].name;
	}
	return "?";
}
