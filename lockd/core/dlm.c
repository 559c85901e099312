/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Volumes whose locks are granted by the kernel's DLM.
 *
 * Membership, quorum, mounts, slots and recovery are as with the cpg engine, and so are `mount` and `slot.N`, which a
 * mounter needs before anything else.  All other locks go past the group: from the csvfs to the DLM's engine of this
 * node and back.
 *
 * L1 is kept here, not in the DLM: what it has granted is told only while the volume is not frozen, in a view that is
 * formed and quorate.  The DLM itself keeps the locks of the dead until their slots are replayed (L2), but of a slot
 * that was found dirty on disk it has never heard.  That one's DIRTY goes out before the first lock is asked for, and a
 * grant is told only when all own operations have come back: so the freeze comes first.
 *
 * While the volume is frozen the DLM is not asked either: what a dead csvfs of this node had is still this node's
 * there, until its slot is free and it is dropped (csv_dlm_place_gone), and a node holds a lock once.
 */
#include <string.h>

#include "lib/bug.h"
#include "lockd/core/core.h"

/* ---- which engine ---- */

/* Somebody has it mounted, or may have it and come back. */
static bool in_use(const struct csv_space *sp)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &sp->places) {
		if (csv_list_entry(pos, const struct csv_place, link)->bound)
			return true;
	}
	return csv_space_any(sp, CSV_LIFE_BIT(LOST) | CSV_LIFE_BIT(DECLARING) | CSV_LIFE_BIT(ATTACHING) |
				     CSV_LIFE_BIT(LIVE));
}

bool csv_engine_decide(struct csv_space *sp, enum csv_lock_engine wants, bool can_dlm, const char **why)
{
	if (!in_use(sp) || sp->engine == CSV_ENGINE_AUTO) {
		sp->engine = wants != CSV_ENGINE_AUTO ? wants : can_dlm ? CSV_ENGINE_DLM : CSV_ENGINE_CPG;
		return true;
	}
	if (wants == sp->engine)
		return true; /* whether its DLM is fit was asked of who mounts; who comes back has locks there */
	*why = "the other nodes have it mounted with another lock engine: mount with lock=auto";
	if (wants != CSV_ENGINE_AUTO)
		return false;
	*why = "the other nodes have it mounted with lock=dlm, and this node's DLM cannot be used: see csvlockd's log";
	return sp->engine != CSV_ENGINE_DLM || can_dlm;
}

bool csv_dlm_routed(const struct csv_local *c, struct csv_res res)
{
	return c->engine == CSV_ENGINE_DLM && res.type != CSV_RES_MOUNT && res.type != CSV_RES_SLOT;
}

/* ---- orders ---- */

static void order(struct csv_machine *m, const uint8_t *uuid, struct csv_dlm_order o)
{
	memcpy(o.uuid, uuid, sizeof(o.uuid));
	csv_act_dlm(m, &o);
}

/*
 * What a former life of this node left in the DLM goes: now, or if it is still to be recovered, when its slot is free.
 * (Freed while our csvlockd was away, it was not told to drop anything.)
 */
void csv_dlm_open(struct csv_machine *m, const struct csv_local *c, const struct csv_space *sp, bool first)
{
	order(m, c->uuid, (struct csv_dlm_order){ .verb = CSV_DLM_DO_OPEN });
	if (!first || c->again)
		return;
	if (!csv_space_has_node(sp, m->cfg.nodeid))
		csv_dlm_place_gone(m, sp, m->cfg.nodeid);
}

static void be_late(struct csv_machine *m, struct csv_local *c, struct csv_hold *h)
{
	if (h->is_late)
		return;
	h->is_late = true;
	csv_list_push_back(&c->late, &h->late);
	m->nlate++;
}

static bool is_known(const struct csv_machine *m, const struct csv_local *c, const struct csv_space *sp)
{
	return m->phase == CSV_PHASE_FORMED && sp && !c->redeclare && c->phase != CSV_LOCAL_DECLARING &&
	       c->phase != CSV_LOCAL_FENCED;
}

static bool may_ask(const struct csv_machine *m, const struct csv_local *c, const struct csv_space *sp)
{
	return is_known(m, c, sp) && !csv_space_frozen(sp);
}

static bool may_tell(const struct csv_machine *m, const struct csv_local *c, const struct csv_space *sp)
{
	return is_known(m, c, sp) && m->quorate && (!csv_space_frozen(sp) || CSV_BUG(DLM_TOLD_WHILE_FROZEN)) &&
	       (csv_list_empty(&m->fifo) || CSV_BUG(DLM_TOLD_EARLY));
}

static struct csv_space *space_of(const struct csv_machine *m, const struct csv_local *c)
{
	return m->has_state ? csv_space_find(&m->state, c->uuid) : NULL;
}

static void ask(struct csv_machine *m, struct csv_local *c, struct csv_hold *h)
{
	h->asked = true;
	order(m, c->uuid,
	      (struct csv_dlm_order){ .verb = CSV_DLM_DO_LOCK,
				      .res = h->res,
				      .mode = h->want,
				      .noqueue = h->flags & CSV_LOCKF_NOQUEUE,
				      .seq = h->seq,
				      .client = c->id });
}

void csv_dlm_ask(struct csv_machine *m, struct csv_local *c, struct csv_hold *h)
{
	h->asked = false;
	h->got = h->bast = CSV_NL;
	if (may_ask(m, c, space_of(m, c)))
		ask(m, c, h);
	else
		be_late(m, c, h);
}

void csv_dlm_give(struct csv_machine *m, struct csv_local *c, const struct csv_hold *h, enum csv_mode mode)
{
	if (h->held == CSV_NL && !h->asked)
		return; /* it was never asked for */
	order(m, c->uuid, (struct csv_dlm_order){ .verb = CSV_DLM_DO_UNLOCK, .res = h->res, .mode = mode });
}

/* What csvfs declares is the truth (L3); the engine finds it, or says LOST. */
void csv_dlm_claim(struct csv_machine *m, const struct csv_local *c)
{
	struct csv_omap_node *n;

	for (n = csv_omap_first(&c->holds); n; n = csv_omap_next(n)) {
		const struct csv_hold *h = csv_omap_entry(n, const struct csv_hold, node);

		if (csv_dlm_routed(c, h->res) && h->held != CSV_NL)
			order(m, c->uuid,
			      (struct csv_dlm_order){
				  .verb = CSV_DLM_DO_CLAIM, .res = h->res, .mode = h->held, .client = c->id });
	}
	order(m, c->uuid, (struct csv_dlm_order){ .verb = CSV_DLM_DO_CLAIMED });
}

/*
 * The mount that this node has now, if it has one, keeps what it has: a slot of a former life may be found on disk when
 * the next one has been at work for long.
 */
void csv_dlm_place_gone(struct csv_machine *m, const struct csv_space *sp, uint32_t nodeid)
{
	const struct csv_local *c = csv_local_of(m, sp->uuid);

	if (sp->engine == CSV_ENGINE_DLM && nodeid == m->cfg.nodeid)
		order(m, sp->uuid,
		      (struct csv_dlm_order){ .verb = CSV_DLM_DO_DROP, .client = c && c->holds.count ? c->id : 0 });
}

/*
 * L3: a node that lives, but has no csvlockd, or one that hangs and was evicted, keeps in the DLM what it had there. It
 * is fenced and replayed, so nothing is lost when corosync ends on it and the DLM with it; only then others get these
 * locks. One member does it for all.
 */
static void kill_for(struct csv_machine *m, uint32_t nodeid)
{
	csv_act_log(m, CSV_LOG_INFO,
		    "node %s has no csvlockd that gives up its DLM locks: if corosync runs there, it ends",
		    csv_node_name(m, nodeid));
	csv_act_kill(m, nodeid);
}

void csv_dlm_recovered(struct csv_machine *m, const struct csv_space *sp, uint32_t nodeid)
{
	if (sp->engine != CSV_ENGINE_DLM || m->phase != CSV_PHASE_FORMED || m->state.member[0] != m->cfg.nodeid ||
	    csv_state_member(&m->state, nodeid) >= 0)
		return;
	kill_for(m, nodeid);
}

/* The slot of one that hangs may have been recovered before; it is not told that its locks are to go. */
void csv_dlm_evicted(struct csv_machine *m)
{
	const struct csv_space *sp;
	bool used = false;

	csv_for_each_space(sp, &m->state) used |= sp->engine == CSV_ENGINE_DLM;
	if (!used || m->phase != CSV_PHASE_FORMED || m->state.member[0] != m->cfg.nodeid)
		return;
	for (unsigned i = 0; i < m->nevicted; i++)
		kill_for(m, m->evicted[i]);
}

bool csv_machine_quiet(const struct csv_machine *m)
{
	return csv_list_empty(&m->fifo);
}

void csv_machine_sync(struct csv_machine *m, struct csv_actions *out)
{
	struct csv_actions *outer = m->out;
	struct csv_wbuf w;

	m->out = out;
	w = csv_op_begin(m, CSV_G_SYNC, NULL);
	csv_op_submit(m, &w);
	m->out = outer;
}

/* ---- what comes back ---- */

static void tell_bast(struct csv_machine *m, const struct csv_local *c, struct csv_hold *h)
{
	struct csv_msg msg = { .type = CSV_MSG_BAST };

	if (h->bast == CSV_NL)
		return;
	csv_msg_lock_fill(&msg.lock, h->res, h->bast);
	h->bast = CSV_NL;
	csv_act_client(m, c->id, &msg);
}

static void tell_grant(struct csv_machine *m, struct csv_local *c, struct csv_hold *h)
{
	struct csv_msg msg = { .type = CSV_MSG_GRANT, .seq = h->seq };

	csv_msg_lock_fill(&msg.lock, h->res, h->got);
	h->held = h->got;
	h->want = h->got = CSV_NL;
	csv_act_client(m, c->id, &msg);
	tell_bast(m, c, h);
}

static void granted(struct csv_machine *m, struct csv_local *c, struct csv_hold *h, const struct csv_dlm_saying *ev)
{
	if (h->want == CSV_NL || h->seq != ev->seq)
		return; /* taken back: the engine knows, or will soon */
	h->got = ev->mode;
	if (may_tell(m, c, space_of(m, c)))
		tell_grant(m, c, h);
	else
		be_late(m, c, h);
}

/* Who is in the way the DLM does not say. */
static void denied(struct csv_machine *m, struct csv_local *c, struct csv_hold *h, const struct csv_dlm_saying *ev)
{
	struct csv_msg msg = { .type = CSV_MSG_DENY, .err = CSV_BUSY, .seq = h->seq };

	if (h->want == CSV_NL || h->seq != ev->seq)
		return;
	csv_msg_lock_fill(&msg.lock, h->res, h->want);
	msg.lock.holder_slot = CSV_NO_SLOT;
	h->want = CSV_NL;
	csv_hold_put(m, c, h);
	csv_act_client(m, c->id, &msg);
}

static void wanted(struct csv_machine *m, struct csv_local *c, struct csv_hold *h, const struct csv_dlm_saying *ev)
{
	h->bast = csv_mode_join(h->bast, ev->mode);
	if (h->held != CSV_NL)
		tell_bast(m, c, h);
	else if (h->want == CSV_NL)
		h->bast = CSV_NL;
}

void csv_dlm_said(struct csv_machine *m, const struct csv_dlm_saying *ev)
{
	struct csv_local *c = csv_local_of(m, ev->uuid);
	struct csv_hold *h = c ? csv_hold_find(c, ev->res) : NULL;

	if (!h)
		return;
	switch (ev->what) {
	case CSV_DLM_SAID_GRANT:
		granted(m, c, h, ev);
		break;
	case CSV_DLM_SAID_DENY:
		denied(m, c, h, ev);
		break;
	case CSV_DLM_SAID_BAST:
		wanted(m, c, h, ev);
		break;
	case CSV_DLM_SAID_LOST:
		if (h->held != CSV_NL)
			csv_local_close(m, c, "a lock that it holds is not in the DLM any more");
		break;
	}
}

static void run_local(struct csv_machine *m, struct csv_local *c)
{
	struct csv_space *sp = space_of(m, c);
	bool asks = may_ask(m, c, sp), tells = may_tell(m, c, sp);
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &c->late) {
		struct csv_hold *h = csv_list_entry(pos, struct csv_hold, late);
		bool tell = h->got != CSV_NL;

		if (tell ? !tells : !asks)
			continue;
		csv_list_del(&h->late);
		h->is_late = false;
		m->nlate--;
		if (tell)
			tell_grant(m, c, h);
		else if (!h->asked)
			ask(m, c, h);
	}
}

void csv_dlm_run(struct csv_machine *m)
{
	struct csv_list *pos;

	if (!m->nlate || m->phase != CSV_PHASE_FORMED)
		return;
	csv_list_for_each(pos, &m->locals)
		run_local(m, csv_list_entry(pos, struct csv_local, link));
}
