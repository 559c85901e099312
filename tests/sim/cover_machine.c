/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the machine meets: looked at from outside, before each event.  Operations are counted where they are applied, at
 * members that have the state; what a member keeps while it loads is met by the others.
 */
#include <assert.h>
#include <string.h>

#include "tests/sim/cover_machine.h"

/* ---- lives of slots by operations ---- */

static const char *const lives[] = { "FREE", "ATTACHING", "DECLARING", "LIVE", "LOST", "OUT" };
static const char *const ops[] = { "ATTACH",  "SEEN",	  "DETACH",   "GONE",	  "DIRTY",
				   "OVER",    "REATTACH", "DECLARE",  "DECL_BRL", "DECLARED",
				   "EXPIRE",  "VERIFIED", "FENCED",   "REPLAYED", "LOCK",
				   "UNLOCK",  "BRL",	  "BRL_DROP", "BRL_CANC", "its node leaves",
				   "new view" };
static const enum csv_group_kind op_kinds[] = { CSV_G_ATTACH,	   CSV_G_SEEN,	   CSV_G_DETACH,    CSV_G_GONE,
						CSV_G_DIRTY,	   CSV_G_OVER,	   CSV_G_REATTACH,  CSV_G_DECLARE,
						CSV_G_DECLARE_BRL, CSV_G_DECLARED, CSV_G_EXPIRE,    CSV_G_VERIFIED,
						CSV_G_FENCED,	   CSV_G_REPLAYED, CSV_G_LOCK,	    CSV_G_UNLOCK,
						CSV_G_BRL,	   CSV_G_BRL_DROP, CSV_G_BRL_CANCEL };
#define OP_KINDS (sizeof(op_kinds) / sizeof(op_kinds[0]))
enum {
	OP_GONE = 3,
	OP_OVER = 5,
	OP_REATTACH,
	OP_DECLARE,
	OP_DECLARE_BRL,
	OP_DECLARED,
	OP_LOCK = 14,
	OP_UNLOCK,
	OP_BRL,
	OP_BRL_DROP,
	OP_BRL_CANCEL,
	OP_LEAVES,
	OP_VIEW,
	OPS
};
static_assert(OPS == SIM_COVER_OPS && OP_LEAVES == OP_KINDS, "as many as have a name");

/* Of LOCK to BRL_CANCEL and DECLARE to DECLARED the slot is that of the sender's bound place. */
static const struct sim_never never_ops[] = {
	{ CSV_LIFE_FREE, OP_LEAVES, "it is nobody's" },
	{ CSV_LIFE_FREE, OP_VIEW, "it is nobody's" },
	{ CSV_LIFE_FREE, OP_DECLARE, "nobody's place has it (csv_slot_free)" },
	{ CSV_LIFE_FREE, OP_DECLARE_BRL, "nobody's place has it (csv_slot_free)" },
	{ CSV_LIFE_FREE, OP_DECLARED, "nobody's place has it (csv_slot_free)" },
	{ CSV_LIFE_FREE, OP_LOCK, "nobody's place has it (csv_slot_free)" },
	{ CSV_LIFE_FREE, OP_UNLOCK, "nobody's place has it (csv_slot_free)" },
	{ CSV_LIFE_FREE, OP_BRL, "nobody's place has it (csv_slot_free)" },
	{ CSV_LIFE_FREE, OP_BRL_DROP, "nobody's place has it (csv_slot_free)" },
	{ CSV_LIFE_FREE, OP_BRL_CANCEL, "nobody's place has it (csv_slot_free)" },
	{ CSV_LIFE_ATTACHING, OP_LOCK,
	  "a csvfs asks for nothing behind its ATTACH; only what was asked before is sent again", true },
	{ CSV_LIFE_ATTACHING, OP_UNLOCK, "a csvfs gives nothing up between ATTACH and ATTACHED" },
	{ CSV_LIFE_ATTACHING, OP_BRL, "refused before ATTACHED (on_brl)" },
	{ CSV_LIFE_ATTACHING, OP_BRL_DROP, "refused before ATTACHED (on_brl_drop)" },
	{ CSV_LIFE_ATTACHING, OP_BRL_CANCEL, "there is no request" },
	{ CSV_LIFE_ATTACHING, OP_DECLARE, "only who has a slot declares (on_reattach)" },
	{ CSV_LIFE_ATTACHING, OP_DECLARE_BRL, "only who has a slot declares (on_reattach)" },
	{ CSV_LIFE_ATTACHING, OP_DECLARED, "only who has a slot declares (on_reattach)" },
	{ CSV_LIFE_DECLARING, OP_REATTACH, "its csvfs has said it, and nobody else has that life" },
	{ CSV_LIFE_DECLARING, OP_GONE, "its DECLARED was submitted before, in one go with REATTACH" },
	{ CSV_LIFE_DECLARING, OP_LOCK, "submitted behind DECLARED (csv_declare_local)" },
	{ CSV_LIFE_DECLARING, OP_UNLOCK, "submitted behind DECLARED (csv_declare_local)" },
	{ CSV_LIFE_DECLARING, OP_BRL, "submitted behind DECLARED (csv_declare_local)" },
	{ CSV_LIFE_DECLARING, OP_BRL_DROP, "submitted behind DECLARED (csv_declare_local)" },
	{ CSV_LIFE_DECLARING, OP_BRL_CANCEL, "submitted behind DECLARED (csv_declare_local)" },
	{ CSV_LIFE_LIVE, OP_DECLARE, "behind a REATTACH, which makes it DECLARING or is refused" },
	{ CSV_LIFE_LIVE, OP_DECLARE_BRL, "behind a REATTACH, which makes it DECLARING or is refused" },
	{ CSV_LIFE_LIVE, OP_DECLARED, "behind a REATTACH, which makes it DECLARING or is refused" },
	{ CSV_LIFE_LOST, OP_GONE, "takes a csvfs that dies while its declaration waits for a view", true },
	{ CSV_LIFE_LOST, OP_DECLARE, "its place is not bound" },
	{ CSV_LIFE_LOST, OP_DECLARE_BRL, "its place is not bound" },
	{ CSV_LIFE_LOST, OP_DECLARED, "its place is not bound" },
	{ CSV_LIFE_LOST, OP_LOCK, "its place is not bound" },
	{ CSV_LIFE_LOST, OP_UNLOCK, "its place is not bound" },
	{ CSV_LIFE_LOST, OP_BRL, "its place is not bound" },
	{ CSV_LIFE_LOST, OP_BRL_DROP, "its place is not bound" },
	{ CSV_LIFE_LOST, OP_BRL_CANCEL, "its place is not bound" },
	{ CSV_LIFE_OUT, OP_DECLARE, "its place is not bound" },
	{ CSV_LIFE_OUT, OP_DECLARE_BRL, "its place is not bound" },
	{ CSV_LIFE_OUT, OP_DECLARED, "its place is not bound" },
	{ CSV_LIFE_OUT, OP_LOCK, "its place is not bound" },
	{ CSV_LIFE_OUT, OP_UNLOCK, "its place is not bound" },
	{ CSV_LIFE_OUT, OP_BRL, "its place is not bound" },
	{ CSV_LIFE_OUT, OP_BRL_DROP, "its place is not bound" },
	{ CSV_LIFE_OUT, OP_BRL_CANCEL, "its place is not bound" },
	{ 0, 0, NULL },
};
const struct sim_table sim_cover_lives = { "slot's life x operation", CSV_LIVES, OPS, lives, ops, never_ops };

/* The slot that an operation names, or that its sender has; CSV_NO_SLOT: it concerns none. */
static uint32_t slot_of(const struct csv_space *sp, uint32_t sender, enum csv_group_kind kind, struct csv_rbuf r)
{
	const struct csv_place *p = csv_place_bound(sp, sender);
	char name[CSV_VOLNAME_MAX + 1];
	uint32_t slot = CSV_NO_SLOT;

	switch ((int)kind) {
	case CSV_G_REATTACH:
		csv_get_str(&r, name, sizeof(name));
		csv_get64(&r);
		return csv_get32(&r);
	case CSV_G_ATTACH:
	case CSV_G_SEEN:
	case CSV_G_DETACH:
	case CSV_G_DIRTY:
	case CSV_G_OVER:
	case CSV_G_EXPIRE:
	case CSV_G_VERIFIED:
	case CSV_G_FENCED:
	case CSV_G_REPLAYED:
		return csv_get32(&r);
	case CSV_G_GONE:
		slot = csv_get32(&r);
		break;
	default:
		break;
	}
	return slot == CSV_NO_SLOT && p ? p->slot : slot;
}

static void note_op(struct sim *s, const struct csv_space *sp, uint32_t sender, enum csv_group_kind kind,
		    struct csv_rbuf r)
{
	uint32_t slot = slot_of(sp, sender, kind, r);

	for (unsigned i = 0; i < OP_KINDS && slot < CSV_SLOTS_MAX; i++) {
		if (op_kinds[i] == kind)
			s->tally[SIM_T_LIVES + sp->slot[slot].life * OPS + i]++;
	}
}

/* ---- steps of recovery by answers ---- */

static const char *const steps[] = { "WAIT", "FENCING", "FENCED", "REPLAYING", "FAILED", "STUCK" };
enum {
	A_FENCED,
	A_FENCED_ERR,
	A_FENCED_VOID,
	A_REPLAYED,
	A_REPLAYED_ERR,
	A_REPLAYED_VOID,
	A_RETRY,
	A_RETRY_VOID,
	ANSWERS
};
static const char *const answers[] = {
	"FENCED", "with error", "void", "REPLAYED", "with error", "void", "RETRY", "void"
};
static_assert(ANSWERS == SIM_COVER_ANSWERS, "as many as have a name");

/* Answers that count: of this round, from the recoverer, about this life (answered() takes no other). */
#define NOT_ASKED(step, why)                                                                                           \
	{ step, A_FENCED, why }, { step, A_FENCED_ERR, why }, { step, A_REPLAYED, why },                               \
	{                                                                                                              \
		step, A_REPLAYED_ERR, why                                                                              \
	}
static const struct sim_never never_answers[] = {
	NOT_ASKED(CSV_STEP_WAIT, "no order was given in this round"),
	NOT_ASKED(CSV_STEP_FAILED, "its order was answered, and no other given in this round"),
	NOT_ASKED(CSV_STEP_STUCK, "its order was answered, and no other given in this round"),
	{ CSV_STEP_FENCING, A_REPLAYED, "told to fence; but a hole in a ring may hide that answer", true },
	{ CSV_STEP_FENCING, A_REPLAYED_ERR, "told to fence; but a hole in a ring may hide that answer", true },
	{ CSV_STEP_FENCING, A_RETRY, "an order is outstanding (csv_apply_retry)" },
	{ CSV_STEP_FENCED, A_FENCED, "it was answered" },
	{ CSV_STEP_FENCED, A_FENCED_ERR, "it was answered" },
	{ CSV_STEP_FENCED, A_REPLAYED, "not told to replay; but a hole may hide the answer that was waited for", true },
	{ CSV_STEP_FENCED, A_REPLAYED_ERR, "not told to replay; but a hole may hide the answer that was waited for",
	  true },
	{ CSV_STEP_REPLAYING, A_FENCED, "told to replay: it has answered the fence" },
	{ CSV_STEP_REPLAYING, A_FENCED_ERR, "told to replay: it has answered the fence" },
	{ CSV_STEP_REPLAYING, A_RETRY, "an order is outstanding (csv_apply_retry)" },
	{ 0, 0, NULL },
};
const struct sim_table sim_cover_answers = {
	"step of a slot that is out x answer", CSV_STEPS, ANSWERS, steps, answers, never_answers
};

static void note_answer(struct sim *s, const struct csv_space *sp, uint32_t sender, bool fence, struct csv_rbuf r)
{
	uint32_t slot = csv_get32(&r), incarnation = csv_get32(&r), round = csv_get32(&r), err = csv_get32(&r);
	const struct csv_slot *at = slot < CSV_SLOTS_MAX ? &sp->slot[slot] : NULL;
	unsigned col = fence ? A_FENCED : A_REPLAYED;

	if (!at || at->life != CSV_LIFE_OUT)
		return;
	if (round != sp->round || incarnation != at->incarnation || sp->rec == CSV_NO_SLOT ||
	    sp->slot[sp->rec].nodeid != sender)
		col += 2;
	else if (err)
		col++;
	s->tally[SIM_T_ANSWERS + at->step * ANSWERS + col]++;
}

static void note_retry(struct sim *s, const struct csv_space *sp, struct csv_rbuf r)
{
	bool counts = csv_get32(&r) == sp->round && csv_recover_failed(sp) && !csv_recover_busy(sp);

	for (unsigned i = 0; i < CSV_SLOTS_MAX; i++) {
		if (sp->slot[i].life == CSV_LIFE_OUT)
			s->tally[SIM_T_ANSWERS + sp->slot[i].step * ANSWERS + (counts ? A_RETRY : A_RETRY_VOID)]++;
	}
}

/* ---- phases of a view by messages ---- */

static const char *const phases[] = { "NONE", "START", "HELLO", "LOADING", "FORMED", "EVICTED" };
enum {
	G_CONF,
	G_START,
	G_HELLO,
	G_HELLO_OLD,
	G_SNAPSHOT,
	G_SNAPSHOT_OLD,
	G_BEAT,
	G_VOTE,
	G_VOTE_OLD,
	G_OP,
	G_OP_OLD,
	G_STRANGER,
	MESSAGES
};
static const char *const messages[] = { "CONF", "START", "HELLO",    "old HELLO", "SNAPSHOT",	     "old SNAPSHOT",
					"BEAT", "VOTE",	 "old VOTE", "operation", "of another view", "a stranger's" };
static_assert(MESSAGES == SIM_COVER_MESSAGES, "as many as have a name");

#define BEFORE_CONF "nothing is delivered before the CONF that shows us"
#define NO_START "no START counts yet: nothing has its name (csv_view_start)"
#define BEHIND_HELLO "each member's HELLO came, which was sent behind it; but a hole in a ring may hide a CONF", true
static const struct sim_never never_messages[] = {
	{ CSV_PHASE_NONE, G_START, BEFORE_CONF },
	{ CSV_PHASE_NONE, G_HELLO, BEFORE_CONF },
	{ CSV_PHASE_NONE, G_HELLO_OLD, BEFORE_CONF },
	{ CSV_PHASE_NONE, G_SNAPSHOT, BEFORE_CONF },
	{ CSV_PHASE_NONE, G_SNAPSHOT_OLD, BEFORE_CONF },
	{ CSV_PHASE_NONE, G_BEAT, BEFORE_CONF },
	{ CSV_PHASE_NONE, G_VOTE, BEFORE_CONF },
	{ CSV_PHASE_NONE, G_VOTE_OLD, BEFORE_CONF },
	{ CSV_PHASE_NONE, G_OP, BEFORE_CONF },
	{ CSV_PHASE_NONE, G_OP_OLD, BEFORE_CONF },
	{ CSV_PHASE_NONE, G_STRANGER, BEFORE_CONF },
	{ CSV_PHASE_START, G_HELLO, NO_START },
	{ CSV_PHASE_START, G_SNAPSHOT, NO_START },
	{ CSV_PHASE_START, G_VOTE, NO_START },
	{ CSV_PHASE_START, G_STRANGER, "of who was evicted a moment ago and goes on sending", true },
	{ CSV_PHASE_HELLO, G_SNAPSHOT, "its sender sends it behind the last HELLO; but a hole in a ring may hide that",
	  true },
	{ CSV_PHASE_LOADING, G_START, BEHIND_HELLO },
	{ CSV_PHASE_LOADING, G_HELLO, "the view formed behind the last of them" },
	{ CSV_PHASE_LOADING, G_HELLO_OLD, BEHIND_HELLO },
	{ CSV_PHASE_LOADING, G_SNAPSHOT_OLD, BEHIND_HELLO },
	{ CSV_PHASE_LOADING, G_VOTE_OLD, BEHIND_HELLO },
	{ CSV_PHASE_LOADING, G_OP_OLD, BEHIND_HELLO },
	{ CSV_PHASE_LOADING, G_STRANGER, "of who was evicted a moment ago and goes on sending", true },
	{ CSV_PHASE_FORMED, G_START, BEHIND_HELLO },
	{ CSV_PHASE_FORMED, G_HELLO, "the view formed behind the last of them" },
	{ CSV_PHASE_FORMED, G_HELLO_OLD, BEHIND_HELLO },
	{ CSV_PHASE_FORMED, G_SNAPSHOT_OLD, BEHIND_HELLO },
	{ CSV_PHASE_FORMED, G_VOTE_OLD, BEHIND_HELLO },
	{ CSV_PHASE_FORMED, G_OP_OLD, BEHIND_HELLO },
	{ CSV_PHASE_EVICTED, G_HELLO, "takes an eviction while the view forms", true },
	{ CSV_PHASE_EVICTED, G_VOTE, "takes a second member that hangs at the same time", true },
	{ CSV_PHASE_EVICTED, G_SNAPSHOT, "takes a member without state in the view that the others form", true },
	{ 0, 0, NULL },
};
const struct sim_table sim_cover_phases = {
	"phase of the view x message", SIM_COVER_PHASES, MESSAGES, phases, messages, never_messages
};

static unsigned message_of(const struct csv_machine *m, uint32_t sender, const struct csv_group_hdr *h)
{
	bool old = h->vid != m->start;

	if (csv_view_index(m, sender) < 0)
		return G_STRANGER;
	switch ((int)h->kind) {
	case CSV_G_START:
		return G_START;
	case CSV_G_HELLO:
		return G_HELLO + old;
	case CSV_G_SNAPSHOT:
		return G_SNAPSHOT + old;
	case CSV_G_BEAT:
		return G_BEAT;
	case CSV_G_VOTE:
		return G_VOTE + old;
	default:
		return G_OP + (h->vid != m->state.vid);
	}
}

/* ---- the tap ---- */

static void note_each_slot(struct sim *s, const struct csv_machine *m, unsigned col,
			   bool (*is)(const struct csv_event *ev, const struct csv_slot *), const struct csv_event *ev)
{
	const struct csv_space *sp;

	csv_for_each_space(sp, &m->state)
	{
		for (unsigned i = 0; i < CSV_SLOTS_MAX; i++) {
			if (sp->slot[i].incarnation && is(ev, &sp->slot[i]))
				s->tally[SIM_T_LIVES + sp->slot[i].life * OPS + col]++;
		}
	}
}

static bool leaves(const struct csv_event *ev, const struct csv_slot *slot)
{
	for (unsigned i = 0; i < ev->nmembers; i++) {
		if (ev->member[i] == slot->nodeid)
			return false;
	}
	return true;
}

static bool any(const struct csv_event *ev, const struct csv_slot *slot)
{
	return true;
}

static void note_message(struct sim *s, const struct csv_machine *m, const struct csv_event *ev)
{
	struct csv_rbuf r = { .data = ev->data, .len = ev->len };
	const struct csv_space *sp;
	struct csv_group_hdr h;
	uint8_t uuid[16];

	if (!csv_msg_header(&r, &h))
		return;
	s->tally[SIM_T_PHASES + m->phase * MESSAGES + message_of(m, ev->sender, &h)]++;
	if (m->phase == CSV_PHASE_HELLO && h.kind == CSV_G_HELLO && h.vid == m->start)
		note_each_slot(s, m, OP_VIEW, any, NULL);
	if (m->phase != CSV_PHASE_FORMED || h.vid != m->state.vid || h.kind < CSV_G_JOIN ||
	    csv_view_index(m, ev->sender) < 0)
		return;
	csv_get(&r, uuid, sizeof(uuid));
	sp = r.bad ? NULL : csv_space_find(&m->state, uuid);
	if (!sp)
		return;
	note_op(s, sp, ev->sender, h.kind, r);
	if (h.kind == CSV_G_FENCED || h.kind == CSV_G_REPLAYED)
		note_answer(s, sp, ev->sender, h.kind == CSV_G_FENCED, r);
	if (h.kind == CSV_G_RETRY)
		note_retry(s, sp, r);
}

void sim_cover(struct sim *s, unsigned n, const struct csv_event *ev)
{
	const struct csv_machine *m = s->node[n].m;

	if (!s->tally)
		return;
	if (ev->type == CSV_EV_CONF) {
		s->tally[SIM_T_PHASES + m->phase * MESSAGES + G_CONF]++;
		if (m->has_state && m->phase != CSV_PHASE_LOADING)
			note_each_slot(s, m, OP_LEAVES, leaves, ev);
	} else if (ev->type == CSV_EV_MSG) {
		note_message(s, m, ev);
	}
}
