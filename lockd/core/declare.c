/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Declaring what a csvfs holds: after its csvlockd was restarted (L3: the csvfs sends REATTACH), or after the group
 * went on with another state than ours (then the machine itself declares, from what it has granted to its csvfs and
 * what that has given up since).
 *
 * Accepted is a slot that the state knows as LOST or OUT with the same incarnation, as long as nobody was told to
 * fence it: the volume has been frozen since it was lost, so what it holds was given to nobody else.  A slot that the
 * state does not know at all is accepted while the volume is not verified (the group started from nothing), else it
 * goes the safe way: out, fence, replay.  Everything else is over: the csvfs gets FENCED.
 *
 * A REATTACH also says that none of the csvfs's replay writes is outstanding (F4).
 */
#include <stdlib.h>
#include <string.h>

#include "lib/bug.h"
#include "lockd/core/core.h"

/* Entries in one DECLARE or DECLARE_BRL, so that a message stays well below CSV_MACHINE_SEND_MAX. */
#define BATCH 2000u

static bool acceptable(const struct csv_slot *s, uint32_t nodeid, uint32_t incarnation)
{
	switch (s->life) {
	case CSV_LIFE_FREE:
		return incarnation > s->dead;
	case CSV_LIFE_LOST:
	case CSV_LIFE_OUT:
		return s->incarnation == incarnation && s->nodeid == nodeid &&
		       (!s->asked || CSV_BUG(L3_BACK_AFTER_FENCE));
	case CSV_LIFE_ATTACHING:
	case CSV_LIFE_DECLARING:
	case CSV_LIFE_LIVE:
	case CSV_LIVES:
		break;
	}
	return false;
}

/* The sender's bound place takes over the slot; what the former place held is void. */
static void take_over(struct csv_space *sp, struct csv_place *p, uint32_t slot, const struct csv_slot *now)
{
	struct csv_slot *s = &sp->slot[slot];
	uint32_t dead = s->dead, episode = s->episode;

	if (s->place)
		csv_place_free(sp, s->place);
	*s = *now;
	s->dead = dead;
	s->episode = episode;
	s->life = CSV_LIFE_DECLARING;
	s->place = p;
	p->slot = slot;
	p->unlooked = true;
	if (sp->rec == slot)
		sp->rec_stale = true;
}

bool csv_apply_reattach(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	struct csv_slot now = { .nodeid = sender };
	uint64_t client = csv_get64(r);
	uint32_t slot = csv_get32(r);
	enum csv_lock_engine engine;
	const char *why = NULL;
	struct csv_place *p;
	struct csv_slot *s;
	bool unknown, fits;

	now.incarnation = csv_get32(r);
	now.pr_key = csv_get64(r);
	csv_get_str(r, now.node, sizeof(now.node));
	now.seq = csv_get64(r);
	engine = (enum csv_lock_engine)csv_get8(r);
	if (!csv_get_end(r) || slot >= CSV_SLOTS_MAX || engine <= CSV_ENGINE_AUTO || engine >= CSV_ENGINES)
		return false;
	p = csv_place_bound(sp, sender);
	if (p && p->slot != CSV_NO_SLOT)
		return true; /* a declaration sent twice */
	fits = csv_engine_decide(sp, engine, true, &why);
	if (!p)
		p = csv_place_new(sp, sender, client);
	p->client = client;
	s = &sp->slot[slot];
	m->view_dirty = true;
	if (!fits || (engine == CSV_ENGINE_DLM && csv_is_expelled(&m->state, sender)) ||
	    !acceptable(s, sender, now.incarnation)) {
		struct csv_local *c = csv_local_at(m, sp, p);

		csv_act_log(m, CSV_LOG_WARN, "volume %s: node %s comes back too late with slot %u", sp->name, now.node,
			    slot);
		if (c)
			csv_local_fenced(m, c);
		csv_dlm_place_gone(m, sp, sender);
		csv_place_free(sp, p);
		csv_space_kick(m, sp);
		return true;
	}
	unknown = s->life == CSV_LIFE_FREE;
	take_over(sp, p, slot, &now);
	if (!sp->verified)
		csv_space_doubt(sp); /* who has looked at the slot table has not looked at it as alive */
	if (unknown && sp->verified)
		csv_slot_out(m, sp, slot, "declared by its node, but known to nobody");
	return true;
}

/* The sender's place if it is declaring; locks of others are none of its business. */
static struct csv_place *declaring(const struct csv_space *sp, uint32_t sender)
{
	struct csv_place *p = csv_place_bound(sp, sender);

	return p && p->slot != CSV_NO_SLOT && sp->slot[p->slot].life == CSV_LIFE_DECLARING ? p : NULL;
}

static bool get_lock(struct csv_rbuf *r, struct csv_res *res, enum csv_mode *mode)
{
	res->type = (enum csv_res_type)csv_get8(r);
	res->id = csv_get64(r);
	*mode = (enum csv_mode)csv_get8(r);
	return !r->bad && res->type > CSV_RES_NONE && res->type<CSV_RES_TYPES && * mode> CSV_NL && *mode <= CSV_EX;
}

bool csv_apply_declare(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	struct csv_place *p = declaring(sp, sender);
	uint32_t n = csv_get32(r);
	struct csv_rbuf check = *r;
	enum csv_mode mode;
	struct csv_res res;

	for (uint32_t i = 0; i < n; i++) {
		if (!get_lock(&check, &res, &mode))
			return false;
	}
	if (!csv_get_end(&check))
		return false;
	for (uint32_t i = 0; p && i < n; i++) {
		get_lock(r, &res, &mode);
		if (csv_space_declare(sp, p, res, mode))
			continue;
		csv_act_log(m, CSV_LOG_ERROR, "volume %s: %s lock %llu is declared by node %u, but somebody else's",
			    sp->name, csv_res_type_name(res.type), (unsigned long long)res.id, sender);
		csv_slot_out(m, sp, p->slot, "it declared a lock that another node has");
		break;
	}
	return true;
}

bool csv_apply_declare_brl(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	struct csv_place *p = declaring(sp, sender);
	uint32_t n = csv_get32(r);
	struct csv_rbuf check = *r;
	struct csv_brl l;

	for (uint32_t i = 0; i < n; i++) {
		if (!csv_brl_get(&check, &l))
			return false;
	}
	if (!csv_get_end(&check))
		return false;
	for (uint32_t i = 0; p && i < n; i++) {
		csv_brl_get(r, &l);
		l.node = p->id;
		if (!csv_brl_set(sp->brl, &l, NULL))
			csv_act_log(m, CSV_LOG_WARN, "volume %s: a byte range of inode %llu is declared by two nodes",
				    sp->name, (unsigned long long)l.ino);
	}
	return true;
}

bool csv_apply_declared(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	struct csv_place *p = declaring(sp, sender);
	struct csv_local *c = csv_local_at(m, sp, p);
	struct csv_msg msg = { .type = CSV_MSG_ATTACHED };

	if (!csv_get_end(r))
		return false;
	if (!p)
		return true;
	sp->slot[p->slot].life = CSV_LIFE_LIVE;
	m->view_dirty = true;
	csv_act_log(m, CSV_LOG_INFO, "volume %s: node %s has declared slot %u again", sp->name, sp->slot[p->slot].node,
		    p->slot);
	if (c) {
		c->phase = CSV_LOCAL_ATTACHED;
		if (c->tell_attached) {
			c->tell_attached = false;
			msg.seq = sp->slot[p->slot].seq;
			csv_space_view(sp, m->quorate, &msg.view);
			c->view = msg.view;
			c->viewed = true;
			csv_act_client(m, c->id, &msg);
		}
		csv_handoff_attached(m, c);
	}
	return true;
}

/* ---- sending ---- */

struct batch {
	struct csv_machine *m;
	const struct csv_local *c;
	enum csv_group_kind kind;
	struct csv_wbuf body;
	uint32_t n;
};

static void batch_flush(struct batch *b)
{
	struct csv_wbuf w;

	if (b->n) {
		w = csv_op_begin(b->m, b->kind, b->c->uuid);
		csv_put32(&w, b->n);
		csv_put(&w, b->body.data, b->body.len);
		csv_op_submit(b->m, &w);
	}
	b->n = 0;
	b->body.len = 0;
}

static void declare_brl(void *arg, const struct csv_brl *l)
{
	struct batch *b = arg;

	csv_brl_put(&b->body, l);
	if (++b->n == BATCH)
		batch_flush(b);
}

static void declare_holds(struct batch *b)
{
	struct csv_omap_node *n;

	b->kind = CSV_G_DECLARE;
	for (n = csv_omap_first(&b->c->holds); n; n = csv_omap_next(n)) {
		const struct csv_hold *h = csv_omap_entry(n, const struct csv_hold, node);

		if (h->held == CSV_NL || csv_dlm_routed(b->c, h->res))
			continue;
		csv_put8(&b->body, (uint8_t)h->res.type);
		csv_put64(&b->body, h->res.id);
		csv_put8(&b->body, (uint8_t)h->held);
		if (++b->n == BATCH)
			batch_flush(b);
	}
	batch_flush(b);
	b->kind = CSV_G_DECLARE_BRL;
	csv_brl_walk(b->c->brl, declare_brl, b);
	batch_flush(b);
	csv_wbuf_free(&b->body);
}

void csv_declare_local(struct csv_machine *m, struct csv_local *c)
{
	struct batch b = { .m = m, .c = c };
	struct csv_wbuf w = csv_op_begin(m, CSV_G_REATTACH, c->uuid);

	csv_put_str(&w, c->name);
	csv_put64(&w, c->id);
	csv_put32(&w, c->slot.slot);
	csv_put32(&w, c->slot.incarnation);
	csv_put64(&w, c->slot.pr_key);
	csv_put_str(&w, c->slot.node);
	csv_put64(&w, c->attach_seq);
	csv_put8(&w, (uint8_t)c->engine);
	csv_op_submit(m, &w);
	declare_holds(&b);
	w = csv_op_begin(m, CSV_G_DECLARED, c->uuid);
	csv_op_submit(m, &w);
	c->redeclare = false;
	c->verify_seq = 0;
	if (c->phase == CSV_LOCAL_DECLARING)
		c->tell_attached = true;
	c->phase = CSV_LOCAL_REATTACHING;
	csv_local_resubmit(m, c);
}

void csv_declare_waiting(struct csv_machine *m)
{
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &m->locals) {
		struct csv_local *c = csv_list_entry(pos, struct csv_local, link);

		if (c->redeclare && !c->orders)
			csv_declare_local(m, c);
	}
}

static bool holds_any(const struct csv_local *c)
{
	struct csv_omap_node *n;

	for (n = csv_omap_first(&c->holds); n; n = csv_omap_next(n)) {
		if (csv_omap_entry(n, const struct csv_hold, node)->held != CSV_NL)
			return true;
	}
	return false;
}

/* What became of one csvfs when the state was exchanged. */
static void declare_one(struct csv_machine *m, struct csv_local *c)
{
	switch (c->phase) {
	case CSV_LOCAL_JOINED:
	case CSV_LOCAL_DETACHED:
		if (holds_any(c) || c->dirty) {
			csv_local_close(m, c, "the group went on without this node while it mounted");
			return;
		}
		csv_local_join(m, c);
		csv_local_resubmit(m, c);
		return;
	case CSV_LOCAL_ATTACHING:
		csv_local_close(m, c, "the group went on without this node while it mounted");
		return;
	case CSV_LOCAL_DECLARING:
		csv_local_join(m, c);
		return;
	case CSV_LOCAL_REATTACHING:
	case CSV_LOCAL_ATTACHED:
		if (c->orders)
			c->redeclare = true; /* F4: not before it has said that none of its writes is outstanding */
		else
			csv_declare_local(m, c);
		return;
	case CSV_LOCAL_FENCED:
		return;
	}
}

void csv_declare_all(struct csv_machine *m)
{
	struct csv_list *pos, *tmp;

	csv_pending_clear(m);
	csv_fifo_clear(m); /* what was in there is said again from what we know of the csvfs */
	csv_list_for_each_safe(pos, tmp, &m->locals)
		declare_one(m, csv_list_entry(pos, struct csv_local, link));
}
