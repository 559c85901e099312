/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The transitions: a table of states by events; what is not in it means nothing in that state. */
#include <stdio.h>
#include <string.h>

#include "lib/bug.h"
#include "lib/log.h"
#include "migrate/core/handoff.h"

typedef void (*transition)(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out);

static struct csv_ho_action *act(struct csv_ho_actions *out, enum csv_ho_act type)
{
	struct csv_ho_action *a;

	CSV_ASSERT(out->n < CSV_HO_ACTIONS_MAX);
	a = &out->a[out->n++];
	*a = (struct csv_ho_action){ .act = type };
	return a;
}

static void tell(enum csv_ho_verb verb, struct csv_ho_actions *out)
{
	act(out, CSV_HO_ACT_TELL)->verb = verb;
}

static void say(enum csv_ho_verb verb, uint32_t slot, uint32_t incarnation, struct csv_ho_actions *out)
{
	struct csv_ho_action *a = act(out, CSV_HO_ACT_ORDER);

	a->verb = verb;
	a->slot = slot;
	a->incarnation = incarnation;
}

/* An order that is answered. */
static void order(struct csv_handoff *h, enum csv_ho_verb verb, uint32_t slot, uint32_t incarnation,
		  struct csv_ho_actions *out)
{
	h->order = verb;
	h->actor_slot = slot;
	h->actor_incarnation = incarnation;
	say(verb, slot, incarnation, out);
}

static void order_src(struct csv_handoff *h, enum csv_ho_verb verb, struct csv_ho_actions *out)
{
	order(h, verb, h->plan.src.slot, h->plan.src.incarnation, out);
}

static void order_dst(struct csv_handoff *h, enum csv_ho_verb verb, struct csv_ho_actions *out)
{
	order(h, verb, h->plan.dst.slot, h->plan.dst.incarnation, out);
}

static void move(struct csv_handoff *h, uint32_t from, uint32_t to, struct csv_ho_actions *out)
{
	struct csv_ho_action *a = act(out, CSV_HO_ACT_MOVE);

	(void)h;
	a->from = from;
	a->to = to;
}

static void note_why(struct csv_handoff *h, enum csv_err err, const char *why)
{
	h->err = err;
	snprintf(h->why, sizeof(h->why), "%s", why ? why : "");
}

/* ---- where things come to rest ---- */

static void kept(struct csv_handoff *h, struct csv_ho_actions *out)
{
	h->state = CSV_HO_DONE;
	h->outcome = CSV_HO_KEPT;
	h->order = CSV_HO_NOTHING;
	if (!h->src_out)
		say(CSV_HO_RESUME, h->plan.src.slot, h->plan.src.incarnation, out);
	tell(CSV_HO_DECIDED, out);
}

/* The destination has it; who could take it back if the destination cannot go on? Nobody, if the source is dead. */
static void moved(struct csv_handoff *h, struct csv_ho_actions *out)
{
	h->state = h->src_out ? CSV_HO_DONE : CSV_HO_ACTIVE;
	h->outcome = CSV_HO_MOVED;
	h->order = CSV_HO_NOTHING;
	if (!h->src_out)
		say(CSV_HO_REVOKE, h->plan.src.slot, h->plan.src.incarnation, out);
	tell(CSV_HO_DECIDED, out);
}

/* ---- waiting for recovery ---- */

static bool ready(const struct csv_handoff *h)
{
	return ((!h->src_out || h->src_recovered) && (!h->dst_out || h->dst_recovered)) || CSV_BUG(H4_LOOKS_TOO_EARLY);
}

static bool alive(const struct csv_ho_view *v, uint32_t slot)
{
	return slot < CSV_SLOTS_MAX && (v->live >> slot & 1);
}

/* Anybody can read; the parties first, since they have the leases at hand. */
static void resolve(struct csv_handoff *h, const struct csv_ho_view *v, struct csv_ho_actions *out)
{
	h->state = CSV_HO_RESOLVING;
	h->order = CSV_HO_NOTHING;
	if (!ready(h))
		return;
	if (!h->dst_out && alive(v, h->plan.dst.slot)) {
		order_dst(h, CSV_HO_RESOLVE, out);
		return;
	}
	if (!h->src_out && alive(v, h->plan.src.slot)) {
		order_src(h, CSV_HO_RESOLVE, out);
		return;
	}
	for (uint32_t s = 0; s < CSV_SLOTS_MAX; s++) {
		if (alive(v, s)) {
			order(h, CSV_HO_RESOLVE, s, v->incarnation[s], out);
			return;
		}
	}
}

/* The leases name the destination; they are to name the source again, by whoever may write them (H6). */
static void give_back(struct csv_handoff *h, const struct csv_ho_view *v, struct csv_ho_actions *out)
{
	h->state = CSV_HO_RETURNING;
	h->order = CSV_HO_NOTHING;
	if (!h->dst_out)
		order_dst(h, CSV_HO_RETURN, out);
	else if (h->src_out)
		resolve(h, v, out);
	else if (h->dst_recovered)
		order_src(h, CSV_HO_RECLAIM, out);
}

/* ---- the table's entries ---- */

static void on_armed(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	h->state = CSV_HO_PREPARED;
	h->order = CSV_HO_NOTHING;
	if (ev->uri && *ev->uri)
		snprintf(h->plan.uri, sizeof(h->plan.uri), "%s", ev->uri);
}

static void on_no(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	note_why(h, ev->err, ev->why);
	kept(h, out);
}

static void on_go(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	h->state = CSV_HO_COMMITTING;
	order_src(h, CSV_HO_COMMIT, out);
}

static void on_abort(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	note_why(h, CSV_INTR, ev->why && *ev->why ? ev->why : "aborted on request");
	kept(h, out);
}

static void take_results(struct csv_handoff *h, const struct csv_ho_event *ev)
{
	for (unsigned i = 0; i < h->plan.nfiles && i < ev->nfiles; i++) {
		h->plan.file[i].epoch = ev->file[i].epoch;
		h->plan.file[i].size = ev->file[i].size;
	}
}

static void on_committed(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	take_results(h, ev);
	h->times = ev->times;
	if (h->dst_out) {
		note_why(h, CSV_UNREACH, "the destination failed during the commit");
		give_back(h, ev->view, out);
		return;
	}
	h->state = CSV_HO_ACTIVATING;
	move(h, h->plan.src.slot, h->plan.dst.slot, out);
	order_dst(h, CSV_HO_ACTIVATE, out);
}

static void on_activated(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	h->times.activate = ev->times.activate;
	moved(h, out);
}

/* Each of its handles says so: the first of them counts. */
static void on_first_io(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	if (!h->times.first || ev->times.first < h->times.first)
		h->times.first = ev->times.first;
}

static void on_unable(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	note_why(h, ev->err, ev->why);
	if (h->src_out)
		moved(h, out);
	else
		give_back(h, ev->view, out);
}

static void on_takeback(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	note_why(h, CSV_INTR, ev->why && *ev->why ? ev->why : "taken back on request");
	tell(CSV_HO_WATCH, out);
	give_back(h, ev->view, out);
}

static void on_returned(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	take_results(h, ev);
	if (h->src_out) {
		kept(h, out);
		return;
	}
	if (!h->dst_out)
		move(h, h->plan.dst.slot, h->plan.src.slot, out);
	order_src(h, CSV_HO_RESUME, out);
}

/* Only now: whoever hears "kept" may let the guest go on, and its I/O must not meet a revoked handle. */
static void on_resumed(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	kept(h, out);
}

static void on_ran(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	note_why(h, ev->err, ev->why);
	moved(h, out);
	if (h->dst_out)
		h->state = CSV_HO_DONE; /* nothing is left to take back */
}

static void on_finish(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	h->state = CSV_HO_DONE;
	tell(CSV_HO_DECIDED, out);
}

static void on_is_src(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	if (h->err == CSV_OK)
		note_why(h, CSV_UNREACH, "a node failed before the commit was durable");
	kept(h, out);
}

static void on_is_dst(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	if (!h->dst_out) {
		h->state = CSV_HO_ACTIVATING;
		move(h, h->plan.src.slot, h->plan.dst.slot, out);
		order_dst(h, CSV_HO_ACTIVATE, out);
	} else if (h->src_out || h->outcome == CSV_HO_MOVED) {
		moved(h, out);
	} else {
		give_back(h, ev->view, out);
	}
}

/* A third has taken stale leases since, which it may only once all know that the bundle had moved (see undecided). */
static void on_is_other(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	if (h->outcome == CSV_HO_MOVED)
		moved(h, out);
	else
		on_is_src(h, ev, out);
}

/*
 * A life has ended (h->*_out is set already).  The source's end is always settled from disk, even in PREPARED: the
 * COMMIT may have been delivered to the dead node alone (L1) and carried out.
 */
static void out_before(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	if (h->src_out) {
		resolve(h, ev->view, out);
	} else if (h->dst_out) {
		note_why(h, CSV_UNREACH, "the destination failed before the commit");
		kept(h, out);
	}
}

static void out_committing(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	if (h->src_out) /* else the source's answer is awaited: it lives and may be writing */
		resolve(h, ev->view, out);
}

static void out_activating(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	if (!h->dst_out)
		return;
	note_why(h, CSV_UNREACH, "the destination failed before it took up");
	give_back(h, ev->view, out);
}

/*
 * The destination may have been told to give back, in messages that died with it: look.  What third nodes are told
 * stays: moved, so the stale leases are anybody's.
 */
static void out_active(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	if (h->src_out)
		on_finish(h, ev, out);
	else if (h->dst_out)
		resolve(h, ev->view, out);
}

static void out_returning(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	if (h->order == CSV_HO_RESUME) { /* the leases are the source's already */
		if (h->src_out)
			kept(h, out);
	} else if (h->dst_out) {
		give_back(h, ev->view, out);
	}
}

static void look_again(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	bool busy =
	    h->order == CSV_HO_RESOLVE && ready(h) &&
	    !(ev->type == CSV_HO_EV_OUT && ev->slot == h->actor_slot && ev->incarnation == h->actor_incarnation);

	if (!busy)
		resolve(h, ev->view, out);
}

static void recovered_returning(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	if (h->order == CSV_HO_NOTHING)
		give_back(h, ev->view, out);
}

#define EV(name) [CSV_HO_EV_##name]
static const transition table[CSV_HO_STATE_COUNT][CSV_HO_EV_COUNT] = {
	[CSV_HO_PREPARING] = { EV(ARMED) = on_armed, EV(REFUSED) = on_no, EV(ABORT) = on_abort, EV(OUT) = out_before },
	[CSV_HO_PREPARED] = { EV(GO) = on_go, EV(ABORT) = on_abort, EV(OUT) = out_before },
	[CSV_HO_COMMITTING] = { EV(COMMITTED) = on_committed, EV(FAILED) = on_no, EV(OUT) = out_committing },
	[CSV_HO_ACTIVATING] = { EV(ACTIVATED) = on_activated, EV(UNABLE) = on_unable, EV(OUT) = out_activating },
	[CSV_HO_ACTIVE] = { EV(TAKEBACK) = on_takeback, EV(FINISH) = on_finish, EV(OUT) = out_active,
			    EV(FIRST_IO) = on_first_io },
	[CSV_HO_RETURNING] = { EV(RETURNED) = on_returned, EV(RAN) = on_ran, EV(RESUMED) = on_resumed,
			       EV(OUT) = out_returning, EV(RECOVERED) = recovered_returning },
	[CSV_HO_DONE] = { EV(FIRST_IO) = on_first_io },
	[CSV_HO_RESOLVING] = { EV(IS_SRC) = on_is_src, EV(IS_DST) = on_is_dst, EV(IS_OTHER) = on_is_other,
			       EV(OUT) = look_again, EV(RECOVERED) = look_again, EV(LIVE) = look_again },
};

/* Which order an answer answers. */
static enum csv_ho_verb asked(enum csv_ho_event_type e, enum csv_ho_verb outstanding)
{
	switch (e) {
	case CSV_HO_EV_ARMED:
	case CSV_HO_EV_REFUSED:
		return CSV_HO_ARM;
	case CSV_HO_EV_COMMITTED:
	case CSV_HO_EV_FAILED:
		return CSV_HO_COMMIT;
	case CSV_HO_EV_ACTIVATED:
	case CSV_HO_EV_UNABLE:
		return CSV_HO_ACTIVATE;
	case CSV_HO_EV_RETURNED:
	case CSV_HO_EV_RAN:
		return outstanding == CSV_HO_RECLAIM ? CSV_HO_RECLAIM : CSV_HO_RETURN;
	case CSV_HO_EV_RESUMED:
		return CSV_HO_RESUME;
	case CSV_HO_EV_IS_SRC:
	case CSV_HO_EV_IS_DST:
	case CSV_HO_EV_IS_OTHER:
		return CSV_HO_RESOLVE;
	case CSV_HO_EV_FIRST_IO:
	case CSV_HO_EV_GO:
	case CSV_HO_EV_ABORT:
	case CSV_HO_EV_TAKEBACK:
	case CSV_HO_EV_FINISH:
	case CSV_HO_EV_OUT:
	case CSV_HO_EV_RECOVERED:
	case CSV_HO_EV_LIVE:
	case CSV_HO_EV_COUNT:
		break;
	}
	return CSV_HO_NOTHING;
}

static bool is(const struct csv_ho_life *l, const struct csv_ho_event *ev)
{
	return l->slot == ev->slot && l->incarnation == ev->incarnation;
}

/* Ends of lives are noted in every state. */
static void note_life(struct csv_handoff *h, const struct csv_ho_event *ev)
{
	if (ev->type == CSV_HO_EV_OUT) {
		h->src_out |= is(&h->plan.src, ev);
		h->dst_out |= is(&h->plan.dst, ev);
	} else if (ev->type == CSV_HO_EV_RECOVERED) {
		h->src_recovered |= h->src_out && is(&h->plan.src, ev);
		h->dst_recovered |= h->dst_out && is(&h->plan.dst, ev);
	}
}

bool csv_handoff_step(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out)
{
	enum csv_ho_verb verb = asked(ev->type, h->order);
	transition t;

	note_life(h, ev);
	if (ev->type == CSV_HO_EV_FIRST_IO && (h->outcome != CSV_HO_MOVED || !is(&h->plan.dst, ev)))
		return false;
	if (verb && (h->order != verb || h->actor_slot != ev->slot || h->actor_incarnation != ev->incarnation))
		return false;
	t = table[h->state][ev->type];
	if (!t)
		return false;
	t(h, ev, out);
	CSV_ASSERT(csv_handoff_ok(h));
	return true;
}

void csv_handoff_start(struct csv_handoff *h, const struct csv_ho_plan *plan, struct csv_ho_actions *out)
{
	memset(h, 0, sizeof(*h));
	h->plan = *plan;
	h->state = CSV_HO_PREPARING;
	tell(CSV_HO_WATCH, out);
	order_dst(h, CSV_HO_ARM, out);
}
