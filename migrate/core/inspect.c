/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking at a record: what it means for third parties, for those who wait, for those who come back. */
#include <stddef.h>

#include "migrate/core/handoff.h"

bool csv_handoff_undecided(const struct csv_handoff *h)
{
	switch (h->state) {
	case CSV_HO_ACTIVE:
	case CSV_HO_DONE:
		return false;
	case CSV_HO_RESOLVING:
		return h->outcome == CSV_HO_NONE;
	case CSV_HO_PREPARING:
	case CSV_HO_PREPARED:
	case CSV_HO_COMMITTING:
	case CSV_HO_ACTIVATING:
	case CSV_HO_RETURNING:
	case CSV_HO_STATE_COUNT:
		break;
	}
	return true;
}

const struct csv_ho_life *csv_handoff_owner(const struct csv_handoff *h)
{
	if (h->outcome == CSV_HO_KEPT)
		return h->src_out ? NULL : &h->plan.src;
	if (h->outcome == CSV_HO_MOVED)
		return h->dst_out ? NULL : &h->plan.dst;
	if (h->state == CSV_HO_PREPARING || h->state == CSV_HO_PREPARED)
		return &h->plan.src;
	return h->state == CSV_HO_ACTIVATING ? &h->plan.dst : NULL;
}

bool csv_handoff_ok(const struct csv_handoff *h)
{
	bool to_src = h->actor_slot == h->plan.src.slot && h->actor_incarnation == h->plan.src.incarnation;
	bool to_dst = h->actor_slot == h->plan.dst.slot && h->actor_incarnation == h->plan.dst.incarnation;

	if ((h->src_recovered && !h->src_out) || (h->dst_recovered && !h->dst_out))
		return false;
	switch (h->state) {
	case CSV_HO_PREPARING:
		return h->order == CSV_HO_ARM && to_dst && !h->src_out && !h->dst_out && !h->outcome;
	case CSV_HO_PREPARED:
		return h->order == CSV_HO_NOTHING && !h->src_out && !h->dst_out && !h->outcome;
	case CSV_HO_COMMITTING:
		return h->order == CSV_HO_COMMIT && to_src && !h->src_out && !h->outcome;
	case CSV_HO_ACTIVATING:
		return h->order == CSV_HO_ACTIVATE && to_dst && !h->dst_out;
	case CSV_HO_ACTIVE:
		return h->order == CSV_HO_NOTHING && h->outcome == CSV_HO_MOVED && !h->src_out;
	case CSV_HO_RETURNING:
		if (h->outcome == CSV_HO_KEPT)
			return false;
		if (h->order == CSV_HO_RETURN)
			return to_dst && !h->dst_out;
		if (h->order == CSV_HO_RESUME)
			return to_src && !h->src_out;
		if (h->order == CSV_HO_RECLAIM)
			return to_src && h->dst_recovered && !h->src_out;
		return h->order == CSV_HO_NOTHING && h->dst_out && !h->dst_recovered && !h->src_out;
	case CSV_HO_RESOLVING:
		return (h->order == CSV_HO_RESOLVE || h->order == CSV_HO_NOTHING) && h->outcome != CSV_HO_KEPT &&
		       (h->src_out || h->dst_out);
	case CSV_HO_DONE:
		return h->order == CSV_HO_NOTHING && h->outcome != CSV_HO_NONE;
	case CSV_HO_STATE_COUNT:
		break;
	}
	return false;
}

static enum csv_ho_verdict commit_verdict(const struct csv_handoff *h)
{
	if (h->state == CSV_HO_ACTIVE || (h->state == CSV_HO_DONE && h->outcome == CSV_HO_MOVED))
		return CSV_HO_YES;
	return h->state == CSV_HO_DONE ? CSV_HO_NO : CSV_HO_PENDING;
}

enum csv_ho_verdict csv_handoff_verdict(const struct csv_handoff *h, enum csv_ho_request req)
{
	bool done = h->state == CSV_HO_DONE, is_kept = done && h->outcome == CSV_HO_KEPT;
	bool is_moved = h->state == CSV_HO_ACTIVE || (done && h->outcome == CSV_HO_MOVED);

	switch (req) {
	case CSV_HO_REQ_PREPARE:
		if (h->state == CSV_HO_PREPARING)
			return CSV_HO_PENDING;
		return is_kept ? CSV_HO_NO : CSV_HO_YES;
	case CSV_HO_REQ_COMMIT:
		return commit_verdict(h);
	case CSV_HO_REQ_ABORT:
	case CSV_HO_REQ_TAKEBACK:
		if (is_kept)
			return CSV_HO_YES;
		return is_moved ? CSV_HO_NO : CSV_HO_PENDING;
	case CSV_HO_REQ_FINISH:
		return done ? CSV_HO_YES : CSV_HO_NO;
	}
	return CSV_HO_NO;
}

static void add(struct csv_ho_actions *out, enum csv_ho_verb verb, uint32_t slot, uint32_t incarnation)
{
	out->a[out->n++] =
	    (struct csv_ho_action){ .act = CSV_HO_ACT_ORDER, .verb = verb, .slot = slot, .incarnation = incarnation };
}

/* All of these may be heard twice: what has been done is answered again, not done again. */
void csv_handoff_greet(const struct csv_handoff *h, uint32_t slot, uint32_t incarnation, struct csv_ho_actions *out)
{
	bool src = slot == h->plan.src.slot && incarnation == h->plan.src.incarnation;
	bool dst = slot == h->plan.dst.slot && incarnation == h->plan.dst.incarnation;
	bool actor = h->order && slot == h->actor_slot && incarnation == h->actor_incarnation;
	bool undecided = csv_handoff_undecided(h);

	if (undecided)
		add(out, CSV_HO_WATCH, slot, incarnation);
	if (dst && !actor && (h->state == CSV_HO_PREPARED || h->state == CSV_HO_COMMITTING))
		add(out, CSV_HO_ARM, slot, incarnation);
	if (dst && h->state == CSV_HO_ACTIVE)
		add(out, CSV_HO_ACTIVATE, slot, incarnation);
	if (src && !undecided)
		add(out, h->outcome == CSV_HO_KEPT ? CSV_HO_RESUME : CSV_HO_REVOKE, slot, incarnation);
	if (actor)
		add(out, h->order, slot, incarnation);
	if (!undecided && h->outcome)
		add(out, CSV_HO_DECIDED, slot, incarnation);
}

const char *csv_ho_state_name(enum csv_ho_state s)
{
#define NAME(name, text, who) text,
	static const char *const names[] = { CSV_HO_STATES(NAME) };
#undef NAME
	return (unsigned)s < CSV_HO_STATE_COUNT ? names[s] : "?";
}

#define NAME(name) #name,
const char *csv_ho_verb_name(enum csv_ho_verb v)
{
	static const char *const names[] = { CSV_HO_VERBS(NAME) };

	return (unsigned)v < CSV_HO_VERB_COUNT ? names[v] : "?";
}

const char *csv_ho_event_name(enum csv_ho_event_type e)
{
	static const char *const names[] = { CSV_HO_EVENTS(NAME) };

	return (unsigned)e < CSV_HO_EV_COUNT ? names[e] : "?";
}

const char *csv_ho_outcome_name(enum csv_ho_outcome o)
{
	return o == CSV_HO_MOVED ? "moved" : o == CSV_HO_KEPT ? "kept" : NULL;
}
