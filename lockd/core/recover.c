/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Recovery of the slots that are out, for one volume.  The state is replicated, so every member knows how far it is.
 *
 * 1. FREEZE.  A slot that is LOST, DECLARING or OUT freezes the volume (state.c).  Proof of L1: a grant that only its
 *    receiver saw delivered was ordered before the CONF that shows it out; the survivors order no grant from that CONF
 * on until the receiver is fenced and replayed, or has come back and declared it.
 * 2. CHOOSE.  With quorum, the first live slot behind rec_last becomes recoverer.  It stays so until it is out or has
 *    answered all its orders, one of them with an error.
 * 3. FENCE every slot that is out; none may come back from here on (`asked`).  A former recoverer is among them if
 *    it is out, whatever made it so: that is F4.  Its orders of FENCE and REPLAY can do nothing more once it is fenced.
 * 4. REPLAY, one slot after the other, only when all are fenced. One that fails waits until all others are through: a
 *    damaged journal must not cost more than the thaw.  Then no write of a dead slot or dead recoverer can
 *    land any more, and what replay reads and writes is moved by nobody else but live holders, whose blocks replay
 *    leaves alone (J1, J6).  One after the other, because a replay would take the home write of another one, half done,
 *    for a torn block that nobody alive owns, and put an older image over it.
 * 5. DONE.  REPLAYED is ordered: each member drops the slot and its locks at the same point.
 * 6. THAW.  No slot is out: waiting requests are granted (settle in apply.c).
 *
 * A recoverer that is LOST may still be writing: nothing is ordered until it is out, or back.  If it is back, it has
 * said by REATTACH that none of its replay writes is outstanding.  Whenever the recoverer changes, a new round begins
 * at 3: fence and replay can be repeated.  Only if it has answered all its orders do the fences that succeeded stand: a
 * fence may reset the LUN for everybody, and what cannot be replayed is tried again for as long as it takes.  Answers
 * name their round; those of another one are void. Without quorum no order is given.  Orders given before may still be
 * carried out; the quorate side, if there is one, fences their recoverer before it replays.
 */
#include <string.h>

#include "lib/bug.h"
#include "lockd/core/core.h"

static bool any_step(const struct csv_space *sp, enum csv_step step)
{
	for (unsigned i = 0; i < CSV_SLOTS_MAX; i++) {
		if (sp->slot[i].life == CSV_LIFE_OUT && sp->slot[i].step == step)
			return true;
	}
	return false;
}

bool csv_recover_busy(const struct csv_space *sp)
{
	return any_step(sp, CSV_STEP_FENCING) || any_step(sp, CSV_STEP_REPLAYING);
}

bool csv_recover_failed(const struct csv_space *sp)
{
	return any_step(sp, CSV_STEP_FAILED) || any_step(sp, CSV_STEP_STUCK);
}

uint32_t csv_recover_fails(const struct csv_space *sp)
{
	uint32_t least = UINT32_MAX;

	for (unsigned i = 0; i < CSV_SLOTS_MAX; i++) {
		const struct csv_slot *s = &sp->slot[i];

		if (s->life == CSV_LIFE_OUT && s->fails < least)
			least = s->fails;
	}
	return least;
}

bool csv_slot_fenced(const struct csv_slot *s)
{
	return s->life == CSV_LIFE_OUT &&
	       (s->step == CSV_STEP_FENCED || s->step == CSV_STEP_REPLAYING || s->step == CSV_STEP_STUCK);
}

/* Whose fence stands need not be fenced again, if nobody else's orders may still be at work: `all` is false. */
static void new_round(struct csv_space *sp, bool all)
{
	sp->round++;
	sp->rec_stale = false;
	for (unsigned i = 0; i < CSV_SLOTS_MAX; i++) {
		struct csv_slot *s = &sp->slot[i];
		bool stands = s->step == CSV_STEP_FENCED || s->step == CSV_STEP_STUCK;

		s->step = stands && !all ? CSV_STEP_FENCED : CSV_STEP_WAIT;
	}
}

/* Step 2. False: there is no live mount; its next mounter will be the one. */
static bool choose(struct csv_machine *m, struct csv_space *sp, bool all)
{
	for (uint32_t i = 1; i <= CSV_SLOTS_MAX; i++) {
		uint32_t n = (sp->rec_last + i) % CSV_SLOTS_MAX;

		if (sp->slot[n].life != CSV_LIFE_LIVE)
			continue;
		sp->rec = n;
		new_round(sp, all);
		csv_act_log(m, csv_recover_fails(sp) ? CSV_LOG_DEBUG : CSV_LOG_INFO,
			    "volume %s: slot %u (node %s) recovers, round %u", sp->name, n, sp->slot[n].node,
			    sp->round);
		return true;
	}
	return false;
}

/* Whether the recoverer can be given orders; looks for one if there is none. */
static bool have_recoverer(struct csv_machine *m, struct csv_space *sp)
{
	if (sp->rec == CSV_NO_SLOT)
		return choose(m, sp, false);
	switch (sp->slot[sp->rec].life) {
	case CSV_LIFE_LIVE:
		if (sp->rec_stale)
			new_round(sp, true);
		return true;
	case CSV_LIFE_LOST:
	case CSV_LIFE_DECLARING:
		sp->rec_stale = true;
		return false;
	case CSV_LIFE_FREE:
	case CSV_LIFE_ATTACHING:
	case CSV_LIFE_OUT:
	case CSV_LIVES:
		break;
	}
	return choose(m, sp, true);
}

static void give_order(struct csv_machine *m, struct csv_space *sp, uint32_t slot, enum csv_order_kind kind)
{
	struct csv_msg msg = { .type = kind == CSV_ORDER_FENCE ? CSV_MSG_FENCE : CSV_MSG_REPLAY };
	struct csv_slot *s = &sp->slot[slot];
	struct csv_local *c = csv_local_at(m, sp, sp->slot[sp->rec].place);

	s->step = kind == CSV_ORDER_FENCE ? CSV_STEP_FENCING : CSV_STEP_REPLAYING;
	s->asked = true;
	if (!c)
		return;
	CSV_ASSERT(!c->order[slot].kind);
	c->order[slot] = (struct csv_order){ kind, s->incarnation, sp->round };
	c->orders++;
	msg.seq = ++m->next_seq;
	msg.slot.slot = slot;
	msg.slot.incarnation = s->incarnation;
	msg.slot.pr_key = s->pr_key;
	msg.slot.nodeid = s->nodeid;
	memcpy(msg.slot.node, s->node, sizeof(s->node));
	csv_views_flush(m);
	csv_act_client(m, c->id, &msg);
}

/* Step 3. */
static void fence_all(struct csv_machine *m, struct csv_space *sp)
{
	for (uint32_t i = 0; i < CSV_SLOTS_MAX; i++) {
		struct csv_slot *s = &sp->slot[i];

		if (s->life != CSV_LIFE_OUT || s->step != CSV_STEP_WAIT)
			continue;
		if ((CSV_BUG(F4_NO_RECOVERER_FENCE) && s->was_rec) || CSV_BUG(REPLAY_WITHOUT_FENCE))
			s->step = CSV_STEP_FENCED;
		else
			give_order(m, sp, i, CSV_ORDER_FENCE);
	}
}

/* Step 4, one by one; what has failed before comes last. */
static void replay_next(struct csv_machine *m, struct csv_space *sp)
{
	uint32_t next = CSV_NO_SLOT;

	if (any_step(sp, CSV_STEP_WAIT) || any_step(sp, CSV_STEP_FENCING) || any_step(sp, CSV_STEP_FAILED) ||
	    any_step(sp, CSV_STEP_REPLAYING))
		return;
	for (uint32_t i = 0; i < CSV_SLOTS_MAX; i++) {
		const struct csv_slot *s = &sp->slot[i];

		if (s->life == CSV_LIFE_OUT && s->step == CSV_STEP_FENCED &&
		    (next == CSV_NO_SLOT || s->fails < sp->slot[next].fails))
			next = i;
	}
	if (next != CSV_NO_SLOT)
		give_order(m, sp, next, CSV_ORDER_REPLAY);
}

void csv_recover_run(struct csv_machine *m, struct csv_space *sp)
{
	if (!csv_space_any(sp, CSV_LIFE_BIT(OUT))) {
		if (sp->rec != CSV_NO_SLOT)
			csv_act_log(m, CSV_LOG_INFO, "volume %s: recovered", sp->name);
		sp->rec = CSV_NO_SLOT;
		sp->rec_last = CSV_SLOTS_MAX - 1;
		return;
	}
	if (!m->quorate || !have_recoverer(m, sp))
		return;
	fence_all(m, sp);
	replay_next(m, sp);
}

struct answer {
	uint32_t slot, incarnation, round;
	enum csv_err err;
	double ms;
};

static bool get_answer(struct csv_rbuf *r, struct answer *a)
{
	uint64_t us;

	a->slot = csv_get32(r);
	a->incarnation = csv_get32(r);
	a->round = csv_get32(r);
	a->err = (enum csv_err)csv_get32(r);
	us = csv_get64(r);
	a->ms = (double)us / 1000.0;
	return csv_get_end(r) && a->slot < CSV_SLOTS_MAX;
}

/* NULL: the answer of another round. */
static struct csv_slot *answered(struct csv_space *sp, uint32_t sender, const struct answer *a, enum csv_step step)
{
	struct csv_slot *s = &sp->slot[a->slot];

	if (s->life != CSV_LIFE_OUT || s->step != step || s->incarnation != a->incarnation || sp->round != a->round ||
	    sp->rec == CSV_NO_SLOT || sp->slot[sp->rec].nodeid != sender)
		return NULL;
	return s;
}

/* Told when it is new; it is tried again and again. */
static void failed(struct csv_machine *m, struct csv_space *sp, struct csv_slot *s, const struct answer *a,
		   enum csv_step how)
{
	bool news = s->fail != how || s->err != a->err;

	s->step = s->fail = how;
	s->err = a->err;
	s->fails++;
	m->view_dirty = true;
	csv_act_log(m, news ? CSV_LOG_ERROR : CSV_LOG_DEBUG, "volume %s: slot %u (node %s) cannot be %s by node %s: %s",
		    sp->name, a->slot, s->node, how == CSV_STEP_FAILED ? "fenced" : "replayed", sp->slot[sp->rec].node,
		    csv_err_text(a->err));
	if (a->err == CSV_FENCED && sp->slot[sp->rec].life == CSV_LIFE_LIVE)
		csv_slot_out(m, sp, sp->rec, "it found itself fenced");
}

bool csv_apply_fenced(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	struct csv_slot *s;
	struct answer a;

	if (!get_answer(r, &a))
		return false;
	s = answered(sp, sender, &a, CSV_STEP_FENCING);
	if (!s)
		return true;
	if (a.err) {
		failed(m, sp, s, &a, CSV_STEP_FAILED);
		return true;
	}
	s->step = CSV_STEP_FENCED;
	m->state.gen++;
	csv_act_log(m, s->fails ? CSV_LOG_DEBUG : CSV_LOG_INFO, "volume %s: slot %u (node %s) is fenced, %.1f ms",
		    sp->name, a.slot, s->node, a.ms);
	return true;
}

bool csv_apply_replayed(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	struct csv_slot *s;
	struct answer a;

	if (!get_answer(r, &a))
		return false;
	s = answered(sp, sender, &a, CSV_STEP_REPLAYING);
	if (!s)
		return true;
	if (a.err) {
		failed(m, sp, s, &a, CSV_STEP_STUCK);
		return true;
	}
	csv_act_log(m, CSV_LOG_INFO, "volume %s: slot %u (node %s) is replayed, %.1f ms", sp->name, a.slot, s->node,
		    a.ms);
	csv_slot_free(m, sp, a.slot);
	return true;
}

/* Some order failed: once the recoverer has answered all, the next live mount tries. The fences stand. */
bool csv_apply_retry(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	uint32_t round = csv_get32(r);

	if (!csv_get_end(r))
		return false;
	if (round != sp->round || !csv_recover_failed(sp) || csv_recover_busy(sp))
		return true;
	if (sp->rec != CSV_NO_SLOT)
		sp->rec_last = sp->rec;
	sp->rec = CSV_NO_SLOT;
	return true;
}
