/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Records of local csvfs.  Each is checked against what the csvfs holds, noted there, and multicast as an operation.
 * What it gives up counts as given up from its record on, what it gets from the GRANT on: so its holdings are always
 * known here as it sees them itself, and can be declared for it.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "lockd/core/core.h"

static void protocol_error(struct csv_machine *m, struct csv_local *c, uint64_t seq, const char *what)
{
	bool bound = c->phase != CSV_LOCAL_FENCED;

	csv_local_error(m, c, seq, CSV_PROTO, "%s", what);
	csv_act_log(m, CSV_LOG_ERROR, "volume %s: csvfs breaks the protocol: %s", c->name, what);
	if (bound)
		csv_act_close(m, c->id); /* its CLIENT_GONE puts the slot out */
}

static bool has_slot(const struct csv_local *c)
{
	return c->phase == CSV_LOCAL_ATTACHED || c->phase == CSV_LOCAL_REATTACHING;
}

void csv_local_join(struct csv_machine *m, struct csv_local *c)
{
	struct csv_wbuf w = csv_op_begin(m, CSV_G_JOIN, c->uuid);

	csv_put_str(&w, c->name);
	csv_put64(&w, c->id);
	csv_put8(&w, (uint8_t)c->wants);
	csv_put8(&w, c->can_dlm);
	csv_op_submit(m, &w);
}

static void on_hello(struct csv_machine *m, uint64_t client, const struct csv_msg *msg)
{
	const struct csv_msg_hello *h = &msg->hello;
	struct csv_local *c;

	if (h->role != CSV_ROLE_FS || !memchr(h->volume, 0, sizeof(h->volume)) || h->engine >= CSV_ENGINES ||
	    csv_local_by_id(m, client))
		return;
	if (csv_local_of(m, h->uuid) || *m->refused) {
		c = csv_local_new(m, client, h);
		c->phase = CSV_LOCAL_FENCED;
		if (*m->refused)
			csv_local_error(m, c, 0, CSV_PROTO, "%s", m->refused);
		else
			csv_local_error(m, c, 0, CSV_BUSY, "volume %s is mounted on this node already", c->name);
		csv_act_close(m, client);
		return;
	}
	csv_local_join(m, csv_local_new(m, client, h));
}

static void submit_lock(struct csv_machine *m, struct csv_local *c, const struct csv_hold *h)
{
	struct csv_wbuf w = csv_op_begin(m, CSV_G_LOCK, c->uuid);

	csv_put8(&w, (uint8_t)h->res.type);
	csv_put64(&w, h->res.id);
	csv_put8(&w, (uint8_t)h->want);
	csv_put32(&w, h->flags);
	csv_put64(&w, h->seq);
	csv_op_submit(m, &w);
}

static void on_lock(struct csv_machine *m, struct csv_local *c, const struct csv_msg *msg)
{
	const struct csv_msg_lock *l = &msg->lock;
	bool mounting = l->res_type == CSV_RES_MOUNT || l->res_type == CSV_RES_SLOT;
	bool declare = l->flags & CSV_LOCKF_DECLARE;
	struct csv_hold *h;

	if (!csv_msg_lock_sound(l) || l->mode == CSV_NL || (l->flags & ~(CSV_LOCKF_NOQUEUE | CSV_LOCKF_DECLARE)) ||
	    declare != (c->phase == CSV_LOCAL_DECLARING)) {
		protocol_error(m, c, msg->seq, "bad LOCK");
		return;
	}
	if (!declare && !has_slot(c) && !mounting && l->mode != CSV_PR && l->mode != CSV_CR) {
		protocol_error(m, c, msg->seq, "LOCK before ATTACHED");
		return;
	}
	h = csv_hold_make(c, csv_res((enum csv_res_type)l->res_type, l->res_id));
	if (h->held != CSV_NL || h->want != CSV_NL) {
		protocol_error(m, c, msg->seq, "LOCK of what it has or asked for");
		return;
	}
	if (declare) {
		h->held = (enum csv_mode)l->mode;
		return;
	}
	h->want = (enum csv_mode)l->mode;
	h->flags = l->flags;
	h->seq = msg->seq;
	csv_wait_begin(c, h);
	if (csv_dlm_routed(c, h->res))
		csv_dlm_ask(m, c, h);
	else if (!c->redeclare)
		submit_lock(m, c, h);
}

static void submit_unlock(struct csv_machine *m, const struct csv_local *c, struct csv_res res, enum csv_mode mode)
{
	struct csv_wbuf w = csv_op_begin(m, CSV_G_UNLOCK, c->uuid);

	csv_put8(&w, (uint8_t)res.type);
	csv_put64(&w, res.id);
	csv_put8(&w, (uint8_t)mode);
	csv_op_submit(m, &w);
}

static void on_unlock(struct csv_machine *m, struct csv_local *c, const struct csv_msg *msg)
{
	const struct csv_msg_lock *l = &msg->lock;
	enum csv_mode mode = (enum csv_mode)l->mode;
	struct csv_hold *h;

	if (!csv_msg_lock_sound(l) || c->phase == CSV_LOCAL_DECLARING) {
		protocol_error(m, c, msg->seq, "bad UNLOCK");
		return;
	}
	h = csv_hold_find(c, csv_res((enum csv_res_type)l->res_type, l->res_id));
	if (!h)
		return; /* e.g. denied in the meantime, or moved by a handoff */
	if (mode != CSV_NL && (h->held == CSV_NL || !csv_mode_covers(h->held, mode))) {
		protocol_error(m, c, msg->seq, "UNLOCK to a higher mode");
		return;
	}
	if (csv_dlm_routed(c, h->res))
		csv_dlm_give(m, c, h, mode);
	else if (!c->redeclare)
		submit_unlock(m, c, h->res, mode);
	h->held = mode;
	h->want = h->got = CSV_NL;
	csv_hold_put(m, c, h);
}

static bool slot_is_sound(const struct csv_msg_slot *s)
{
	return s->slot < CSV_SLOTS_MAX && memchr(s->node, 0, sizeof(s->node));
}

static void submit_slot(struct csv_machine *m, struct csv_local *c, enum csv_group_kind kind,
			const struct csv_msg_slot *s, uint32_t nodeid, uint64_t seq)
{
	struct csv_wbuf w = csv_op_begin(m, kind, c->uuid);

	csv_put32(&w, s->slot);
	csv_put32(&w, s->incarnation);
	csv_put64(&w, s->pr_key);
	csv_put32(&w, nodeid);
	csv_put_str(&w, s->node);
	csv_put64(&w, seq);
	csv_op_submit(m, &w);
}

static void on_attach(struct csv_machine *m, struct csv_local *c, const struct csv_msg *msg)
{
	if (!slot_is_sound(&msg->slot) || c->phase != CSV_LOCAL_JOINED || !msg->slot.incarnation) {
		protocol_error(m, c, msg->seq, "bad ATTACH");
		return;
	}
	c->slot = msg->slot;
	c->slot.nodeid = m->cfg.nodeid;
	c->attach_seq = msg->seq;
	c->phase = CSV_LOCAL_ATTACHING;
	submit_slot(m, c, CSV_G_ATTACH, &c->slot, m->cfg.nodeid, msg->seq);
}

static void on_reattach(struct csv_machine *m, struct csv_local *c, const struct csv_msg *msg)
{
	if (!slot_is_sound(&msg->slot) || c->phase != CSV_LOCAL_JOINED || c->holds.count ||
	    c->wants == CSV_ENGINE_AUTO) {
		protocol_error(m, c, msg->seq, "bad REATTACH");
		return;
	}
	c->engine = c->wants;
	c->slot = msg->slot;
	c->slot.nodeid = m->cfg.nodeid;
	c->attach_seq = msg->seq;
	c->phase = CSV_LOCAL_DECLARING;
}

static void submit_found(struct csv_machine *m, struct csv_local *c, uint32_t n, uint64_t seq)
{
	const struct csv_msg_slot *found = &c->dirty_slot[n];

	submit_slot(m, c, c->over >> n & 1 ? CSV_G_OVER : CSV_G_DIRTY, found, found->nodeid, seq);
}

/* DIRTY, OVER. */
static void on_found(struct csv_machine *m, struct csv_local *c, const struct csv_msg *msg)
{
	uint32_t n = msg->slot.slot;

	if (!slot_is_sound(&msg->slot) || c->phase == CSV_LOCAL_DECLARING) {
		protocol_error(m, c, msg->seq, "bad DIRTY or OVER");
		return;
	}
	c->dirty |= 1ull << n;
	c->over &= ~(1ull << n);
	if (msg->type == CSV_MSG_OVER)
		c->over |= 1ull << n;
	c->dirty_slot[n] = msg->slot;
	if (!c->redeclare)
		submit_found(m, c, n, msg->seq);
}

static void submit_detach(struct csv_machine *m, struct csv_local *c)
{
	struct csv_wbuf w = csv_op_begin(m, CSV_G_DETACH, c->uuid);

	csv_put32(&w, c->slot.slot);
	csv_put32(&w, c->slot.incarnation);
	csv_put64(&w, c->detach_seq);
	csv_op_submit(m, &w);
}

static void on_detach(struct csv_machine *m, struct csv_local *c, const struct csv_msg *msg)
{
	if (!has_slot(c) || !msg->seq) {
		protocol_error(m, c, msg->seq, "DETACH without a slot");
		return;
	}
	c->detach_seq = msg->seq;
	csv_holds_free(m, c); /* "all locks are given up" */
	if (!c->redeclare)
		submit_detach(m, c);
}

/* The answer to an order: FENCE_DONE or REPLAY_DONE. */
static void on_result(struct csv_machine *m, struct csv_local *c, const struct csv_msg *msg)
{
	bool fence = msg->type == CSV_MSG_FENCE_DONE;
	uint32_t slot = fence ? msg->fence.slot : msg->replay.slot;
	uint32_t incarnation = fence ? msg->fence.incarnation : msg->replay.incarnation;
	double ms = fence ? msg->fence.mark_ms + msg->fence.preempt_ms + msg->fence.verify_ms : msg->replay.replay_ms;
	struct csv_order *o;
	struct csv_wbuf w;

	if (slot >= CSV_SLOTS_MAX)
		return;
	o = &c->order[slot];
	if (o->kind != (fence ? CSV_ORDER_FENCE : CSV_ORDER_REPLAY) || o->incarnation != incarnation)
		return; /* not asked for in this connection */
	if (!c->redeclare) {
		w = csv_op_begin(m, fence ? CSV_G_FENCED : CSV_G_REPLAYED, c->uuid);
		csv_put32(&w, slot);
		csv_put32(&w, incarnation);
		csv_put32(&w, o->round);
		csv_put32(&w, msg->err < CSV_ERR_COUNT ? msg->err : CSV_INTERNAL);
		csv_put64(&w, ms > 0 && ms < 1e9 ? (uint64_t)(ms * 1000) : 0);
		csv_op_submit(m, &w);
	}
	o->kind = CSV_ORDER_NONE;
	c->orders--;
	if (c->redeclare && !c->orders && m->phase == CSV_PHASE_FORMED)
		csv_declare_local(m, c);
}

static enum csv_brl_how brl_how(const struct csv_msg *msg)
{
	if (msg->type == CSV_MSG_BRL_TEST)
		return CSV_BRL_HOW_TEST;
	if (msg->brl.wait == CSV_BRL_NOWAIT || msg->brl.type == F_UNLCK)
		return CSV_BRL_HOW_SET;
	return msg->brl.wait == CSV_BRL_WAIT ? CSV_BRL_HOW_WAIT : CSV_BRL_HOW_WAIT_PROCESS;
}

static void submit_brl(struct csv_machine *m, struct csv_local *c, const struct csv_msg *msg)
{
	struct csv_wbuf w = csv_op_begin(m, CSV_G_BRL, c->uuid);
	struct csv_brl l = csv_brl_of(&msg->brl);

	csv_put64(&w, msg->seq);
	csv_put8(&w, (uint8_t)brl_how(msg));
	csv_brl_put(&w, &l);
	csv_op_submit(m, &w);
}

static void on_brl(struct csv_machine *m, struct csv_local *c, const struct csv_msg *msg)
{
	struct csv_brl l = csv_brl_of(&msg->brl);
	bool declaring = c->phase == CSV_LOCAL_DECLARING, set = msg->type == CSV_MSG_BRL_SET;
	struct csv_brl_ask *a;

	/* A request taken for a declaration would make a lock that nobody has, and wait for its answer for ever. */
	if (!csv_brl_sound(&l) || (!has_slot(c) && !declaring) || declaring != !!msg->brl.declare ||
	    (declaring && (!set || l.type == F_UNLCK)) || msg->brl.wait > CSV_BRL_WAIT_PROCESS) {
		protocol_error(m, c, msg->seq, "bad byte-range request");
		return;
	}
	if (declaring || (set && l.type == F_UNLCK))
		csv_brl_set(c->brl, &l, NULL);
	if (declaring)
		return;
	a = calloc(1, sizeof(*a));
	CSV_ASSERT(a);
	a->msg = *msg;
	csv_list_push_back(&c->brl_asks, &a->link);
	if (!c->redeclare)
		submit_brl(m, c, msg);
}

static void submit_cancel(struct csv_machine *m, const struct csv_local *c, uint64_t seq)
{
	struct csv_wbuf w = csv_op_begin(m, CSV_G_BRL_CANCEL, c->uuid);

	csv_put64(&w, seq);
	csv_op_submit(m, &w);
}

static void on_brl_cancel(struct csv_machine *m, struct csv_local *c, const struct csv_msg *msg)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &c->brl_asks) {
		struct csv_brl_ask *a = csv_list_entry(pos, struct csv_brl_ask, link);

		if (a->msg.seq != msg->seq || a->cancelled)
			continue;
		a->cancelled = true;
		if (!c->redeclare)
			submit_cancel(m, c, msg->seq);
	}
}

static void on_brl_drop(struct csv_machine *m, struct csv_local *c, const struct csv_msg *msg)
{
	struct csv_list *pos;
	struct csv_wbuf w;

	csv_list_for_each(pos, &c->brl_asks) {
		struct csv_brl_ask *a = csv_list_entry(pos, struct csv_brl_ask, link);

		if (a->msg.brl.handle == msg->brl.handle)
			a->msg.brl.type = F_UNLCK; /* whatever the answer will be, it has nothing */
	}
	csv_brl_drop_handle(c->brl, 0, msg->brl.handle);
	if (c->redeclare || !has_slot(c))
		return;
	w = csv_op_begin(m, CSV_G_BRL_DROP, c->uuid);
	csv_put64(&w, msg->brl.handle);
	csv_op_submit(m, &w);
}

static void on_done(struct csv_machine *m, struct csv_local *c, const struct csv_msg *msg)
{
	struct csv_wbuf w;

	if (!c->verify_seq || msg->seq != c->verify_seq)
		return;
	c->verify_seq = 0;
	w = csv_op_begin(m, CSV_G_VERIFIED, c->uuid);
	csv_put32(&w, c->slot.slot);
	csv_put32(&w, c->slot.incarnation);
	csv_put32(&w, c->verify_round);
	csv_put32(&w, msg->err < CSV_ERR_COUNT ? msg->err : CSV_INTERNAL);
	csv_op_submit(m, &w);
}

void csv_local_resubmit(struct csv_machine *m, struct csv_local *c)
{
	struct csv_omap_node *n;
	struct csv_list *pos;

	for (uint32_t i = 0; i < CSV_SLOTS_MAX; i++) {
		if (c->dirty >> i & 1)
			submit_found(m, c, i, 0);
	}
	for (n = csv_omap_first(&c->holds); n; n = csv_omap_next(n)) {
		const struct csv_hold *h = csv_omap_entry(n, const struct csv_hold, node);

		if (h->want != CSV_NL && !csv_dlm_routed(c, h->res))
			submit_lock(m, c, h);
	}
	csv_list_for_each(pos, &c->brl_asks) {
		const struct csv_brl_ask *a = csv_list_entry(pos, const struct csv_brl_ask, link);

		submit_brl(m, c, &a->msg);
		if (a->cancelled)
			submit_cancel(m, c, a->msg.seq);
	}
	if (c->detach_seq)
		submit_detach(m, c);
}

static void on_fenced_one(struct csv_machine *m, struct csv_local *c, const struct csv_msg *msg)
{
	/* What it gives up stays its own until its slot is replayed. What it asks for it does not get. */
	if (msg->type == CSV_MSG_UNLOCK || msg->type == CSV_MSG_BRL_DROP || msg->type == CSV_MSG_BRL_CANCEL ||
	    msg->type == CSV_MSG_DONE || msg->type == CSV_MSG_FENCE_DONE || msg->type == CSV_MSG_REPLAY_DONE)
		return;
	csv_local_error(m, c, msg->seq, CSV_FENCED, "slot %u is out of the cluster; mount again", c->slot.slot);
}

void csv_client_record(struct csv_machine *m, uint64_t client, const struct csv_msg *msg)
{
	struct csv_local *c = csv_local_by_id(m, client);

	if (msg->type == CSV_MSG_HELLO) {
		on_hello(m, client, msg);
		return;
	}
	if (!c)
		return;
	if (c->phase == CSV_LOCAL_FENCED) {
		on_fenced_one(m, c, msg);
		return;
	}
	switch (msg->type) {
	case CSV_MSG_LOCK:
		on_lock(m, c, msg);
		break;
	case CSV_MSG_UNLOCK:
		on_unlock(m, c, msg);
		break;
	case CSV_MSG_ATTACH:
		on_attach(m, c, msg);
		break;
	case CSV_MSG_REATTACH:
		on_reattach(m, c, msg);
		break;
	case CSV_MSG_DECLARED:
		if (c->phase != CSV_LOCAL_DECLARING)
			break;
		if (c->engine == CSV_ENGINE_DLM)
			csv_dlm_claim(m, c);
		csv_declare_local(m, c);
		break;
	case CSV_MSG_DETACH:
		on_detach(m, c, msg);
		break;
	case CSV_MSG_DIRTY:
	case CSV_MSG_OVER:
		on_found(m, c, msg);
		break;
	case CSV_MSG_FENCE_DONE:
	case CSV_MSG_REPLAY_DONE:
		on_result(m, c, msg);
		break;
	case CSV_MSG_IN_USE:
		csv_inuse_record(m, c, msg);
		break;
	case CSV_MSG_BRL_SET:
	case CSV_MSG_BRL_TEST:
		on_brl(m, c, msg);
		break;
	case CSV_MSG_BRL_DROP:
		on_brl_drop(m, c, msg);
		break;
	case CSV_MSG_BRL_CANCEL:
		on_brl_cancel(m, c, msg);
		break;
	case CSV_MSG_DONE:
		on_done(m, c, msg);
		break;
	case CSV_MSG_HO_FILE:
	case CSV_MSG_HO_ANSWER:
		csv_handoff_record(m, c, msg);
		break;
	default:
		break; /* the daemon's */
	}
}

void csv_client_gone(struct csv_machine *m, uint64_t client)
{
	struct csv_local *c = csv_local_by_id(m, client);
	struct csv_wbuf w;

	if (!c)
		return;
	if (c->phase != CSV_LOCAL_FENCED) {
		bool slot = c->phase == CSV_LOCAL_ATTACHING || has_slot(c);

		w = csv_op_begin(m, CSV_G_GONE, c->uuid);
		csv_put32(&w, slot ? c->slot.slot : CSV_NO_SLOT);
		csv_put32(&w, slot ? c->slot.incarnation : 0);
		csv_op_submit(m, &w);
	}
	csv_local_free(m, c);
}

void csv_locals_clear(struct csv_machine *m)
{
	while (!csv_list_empty(&m->locals))
		csv_local_free(m, csv_list_entry(m->locals.next, struct csv_local, link));
}
