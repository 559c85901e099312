/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The cpg lock engine: requests in total order, first come, first served, with the DLM's modes.
 *
 * A mount holds a resource in one mode or waits for it, never both: no upgrade in place (L7).  Conversions go down only
 * and are never refused.  A request waits behind earlier ones even if it would fit the holders, so that a stream of PR
 * cannot starve an EX.  A waiter has every conflicting holder told by BAST, once for each stronger want; a holder that
 * goes down is told again if it still stands in the way, so none is ever lost.
 *
 * The gate (may_grant): quorum in the configuration that delivers, and a volume that is not frozen (L1).  One exception
 * lets a volume that nobody has mounted be recovered at all: with no live mount left, a mounter gets `mount` and
 * `slot.N`. The dead owner of `mount` does not count then.  That is safe: under these locks a mounter writes its own
 * slot block only, of a slot that nobody has, and goes on to fence all that are out before it reads anything else.
 */
#include <string.h>

#include "lib/bug.h"
#include "lockd/core/core.h"

static struct csv_lkb *lkb_at(struct csv_list *pos)
{
	return csv_list_entry(pos, struct csv_lkb, link);
}

static bool mounting_lock(struct csv_res res)
{
	return res.type == CSV_RES_MOUNT || res.type == CSV_RES_SLOT;
}

static bool may_grant(const struct csv_machine *m, const struct csv_space *sp, const struct csv_lkb *w)
{
	if (!m->quorate && !CSV_BUG(L1_GRANT_WITHOUT_QUORUM))
		return false;
	if (!csv_space_frozen(sp))
		return true;
	return mounting_lock(w->rsb->res) && w->place->slot == CSV_NO_SLOT && csv_space_deserted(sp);
}

/* A holder that stands in the way of a new lock of p in this mode; NULL: none. */
static struct csv_lkb *conflict(const struct csv_space *sp, const struct csv_rsb *r, const struct csv_place *p,
				enum csv_mode mode)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &r->holders) {
		struct csv_lkb *h = lkb_at(pos);

		if (h->place == p || csv_mode_compatible(h->mode, mode))
			continue;
		if (mounting_lock(r->res) && h->place->slot != CSV_NO_SLOT &&
		    sp->slot[h->place->slot].life == CSV_LIFE_OUT && csv_space_deserted(sp))
			continue;
		return h;
	}
	return NULL;
}

static void tell_grant(struct csv_machine *m, struct csv_space *sp, const struct csv_lkb *l)
{
	struct csv_msg msg = { .type = CSV_MSG_GRANT, .seq = l->seq };
	struct csv_local *c = csv_local_at(m, sp, l->place);

	if (!c)
		return;
	csv_msg_lock_fill(&msg.lock, l->rsb->res, l->mode);
	csv_pending_add(m, c, &msg);
}

/* in_the_way: a holder or an earlier waiter. */
static void tell_deny(struct csv_machine *m, struct csv_space *sp, const struct csv_lkb *l,
		      const struct csv_lkb *in_the_way)
{
	struct csv_msg msg = { .type = CSV_MSG_DENY, .err = CSV_BUSY, .seq = l->seq };
	struct csv_local *c = csv_local_at(m, sp, l->place);
	struct csv_hold *h = c ? csv_hold_find(c, l->rsb->res) : NULL;

	if (!h || h->want == CSV_NL || h->seq != l->seq || CSV_BUG(DENY_LOST))
		return;
	h->want = CSV_NL;
	csv_msg_lock_fill(&msg.lock, l->rsb->res, l->mode);
	msg.lock.holder_nodeid = in_the_way->place->nodeid;
	msg.lock.holder_slot = in_the_way->place->slot;
	memccpy(msg.lock.holder_node, csv_node_name(m, in_the_way->place->nodeid), 0, sizeof(msg.lock.holder_node) - 1);
	csv_hold_put(m, c, h);
	csv_act_client(m, c->id, &msg);
}

static void tell_bast(struct csv_machine *m, struct csv_space *sp, const struct csv_lkb *l, enum csv_mode want)
{
	struct csv_msg msg = { .type = CSV_MSG_BAST };
	struct csv_local *c = csv_local_at(m, sp, l->place);
	struct csv_hold *h = c ? csv_hold_find(c, l->rsb->res) : NULL;

	if (!h || h->held == CSV_NL)
		return; /* given up, or not told yet that it has it: pending.c tells both */
	csv_msg_lock_fill(&msg.lock, l->rsb->res, want);
	csv_act_client(m, c->id, &msg);
}

static void send_basts(struct csv_machine *m, struct csv_space *sp, struct csv_rsb *r)
{
	struct csv_list *wpos, *hpos;

	csv_list_for_each(wpos, &r->waiters) {
		struct csv_lkb *w = lkb_at(wpos);

		if (w->flags & CSV_LOCKF_NOQUEUE)
			continue;
		csv_list_for_each(hpos, &r->holders) {
			struct csv_lkb *h = lkb_at(hpos);

			if (csv_mode_compatible(h->mode, w->mode) || csv_mode_covers(h->bast, w->mode))
				continue;
			h->bast = w->mode;
			tell_bast(m, sp, h, w->mode);
		}
	}
}

static void grant(struct csv_machine *m, struct csv_space *sp, struct csv_lkb *w)
{
	csv_list_del(&w->link);
	csv_list_push_back(&w->rsb->holders, &w->link);
	w->waiting = false;
	w->bast = CSV_NL;
	w->flags = 0;
	tell_grant(m, sp, w);
	w->seq = 0;
}

/* NOQUEUE requests that cannot be granted now or soon: also while frozen if somebody alive holds it. */
static void deny_hopeless(struct csv_machine *m, struct csv_space *sp, struct csv_rsb *r)
{
	struct csv_lkb *before = NULL;
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &r->waiters) {
		struct csv_lkb *w = lkb_at(pos), *h;

		if (!(w->flags & CSV_LOCKF_NOQUEUE)) {
			before = w;
			continue;
		}
		h = conflict(sp, r, w->place, w->mode);
		if (!h && before && !may_grant(m, sp, w))
			continue; /* who is before it may be gone at the thaw */
		if (!h)
			h = before;
		if (!h)
			continue;
		if (!h->place->bound && !h->waiting && !may_grant(m, sp, w))
			continue; /* a dead holder: decided at the thaw */
		tell_deny(m, sp, w, h);
		csv_lkb_free(w);
	}
}

void csv_rsb_run(struct csv_machine *m, struct csv_space *sp, struct csv_rsb *r)
{
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &r->waiters) {
		struct csv_lkb *w = lkb_at(pos);

		if (!may_grant(m, sp, w) || conflict(sp, r, w->place, w->mode)) {
			if (w->flags & CSV_LOCKF_NOQUEUE)
				continue; /* waits for nothing that others behind it would have to respect */
			break;
		}
		grant(m, sp, w);
	}
	deny_hopeless(m, sp, r);
	send_basts(m, sp, r);
	csv_rsb_put(sp, r);
}

void csv_space_kick(struct csv_machine *m, struct csv_space *sp)
{
	struct csv_omap_node *n, *next;

	for (n = csv_omap_first(&sp->rsbs); n; n = next) {
		struct csv_rsb *r = csv_rsb_of(n);

		next = csv_omap_next(n);
		if (!csv_list_empty(&r->waiters))
			csv_rsb_run(m, sp, r);
	}
	csv_ranges_kick(m, sp);
}

/* Who mounted has looked at the slot table; its DIRTY records came before this. */
static void note_verified(struct csv_machine *m, struct csv_space *sp, const struct csv_place *p)
{
	if (sp->verified || p->unlooked || (p->slot != CSV_NO_SLOT && sp->slot[p->slot].life != CSV_LIFE_LIVE))
		return;
	sp->verified = true;
	m->view_dirty = true;
}

static bool get_res(struct csv_rbuf *r, struct csv_res *res, enum csv_mode *mode)
{
	res->type = (enum csv_res_type)csv_get8(r);
	res->id = csv_get64(r);
	*mode = (enum csv_mode)csv_get8(r);
	return !r->bad && res->type > CSV_RES_NONE && res->type < CSV_RES_TYPES && *mode <= CSV_EX;
}

bool csv_apply_lock(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	struct csv_place *p = csv_place_bound(sp, sender);
	struct csv_rsb *rsb;
	enum csv_mode mode;
	struct csv_res res;
	struct csv_lkb *l;
	uint32_t flags;
	uint64_t seq;
	bool sound = get_res(r, &res, &mode);

	flags = csv_get32(r);
	seq = csv_get64(r);
	if (!sound || !csv_get_end(r) || mode == CSV_NL || (flags & ~CSV_LOCKF_NOQUEUE))
		return false;
	if (!p)
		return true; /* its slot is out: it was told */
	if (!mounting_lock(res))
		note_verified(m, sp, p);
	rsb = csv_rsb_make(sp, res);
	if (csv_lkb_find(rsb, p, false) || csv_lkb_find(rsb, p, true)) {
		csv_act_log(m, CSV_LOG_ERROR, "node %u asks for a %s lock that it has or waits for", sender,
			    csv_res_type_name(res.type));
		return true;
	}
	l = csv_lkb_new(rsb, p, mode, true);
	l->flags = flags;
	l->seq = seq;
	csv_rsb_run(m, sp, rsb);
	return true;
}

bool csv_apply_unlock(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	struct csv_place *p = csv_place_bound(sp, sender);
	struct csv_rsb *rsb;
	enum csv_mode mode;
	struct csv_res res;
	struct csv_lkb *l;

	if (!get_res(r, &res, &mode) || !csv_get_end(r))
		return false;
	rsb = p ? csv_rsb_find(sp, res) : NULL;
	if (!rsb)
		return true;
	if (res.type == CSV_RES_MOUNT && p->slot != CSV_NO_SLOT)
		note_verified(m, sp, p);
	l = csv_lkb_find(rsb, p, false);
	if (!l && mode == CSV_NL)
		l = csv_lkb_find(rsb, p, true); /* takes its request back */
	if (l && mode == CSV_NL) {
		csv_lkb_free(l);
	} else if (l && csv_mode_covers(l->mode, mode)) {
		l->mode = mode;
		l->bast = CSV_NL;
	}
	csv_rsb_run(m, sp, rsb);
	return true;
}

bool csv_space_declare(struct csv_space *sp, struct csv_place *p, struct csv_res res, enum csv_mode mode)
{
	struct csv_rsb *r = csv_rsb_make(sp, res);
	struct csv_lkb *l = csv_lkb_find(r, p, false);

	if (conflict(sp, r, p, mode)) {
		csv_rsb_put(sp, r);
		return false;
	}
	if (!l)
		l = csv_lkb_new(r, p, mode, false);
	l->mode = mode;
	l->bast = CSV_NL;
	return true;
}

enum csv_mode csv_space_in_use(const struct csv_space *sp, struct csv_res res)
{
	struct csv_rsb *r = csv_rsb_find(sp, res);
	struct csv_list *pos;

	if (!r || CSV_BUG(J6_NOBODY_USES_IT))
		return CSV_NL;
	csv_list_for_each(pos, &r->holders) {
		const struct csv_lkb *h = lkb_at(pos);

		if (h->place->slot != CSV_NO_SLOT && !csv_slot_fenced(&sp->slot[h->place->slot]) && h->mode >= CSV_PW)
			return h->mode;
	}
	return CSV_NL;
}
