/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * J6: a replay has found a home block that it cannot read, and asks whether somebody alive holds the block's lock and
 * may be writing it.
 *
 * The volume is frozen, so the holders can only become fewer.  "No" is said only when everybody who may be writing is
 * known with all that he holds.  The cpg engine's locks are in the state.  Of the DLM's each member knows its own
 * csvfs's: all members are asked (ASK) and answer (TELL).  Not by a lock request: the DLM stands still until the replay
 * is through (L2).
 */
#include "lockd/core/core.h"

/* Until then the replay asks again (AGAIN), or is given up (BUSY) if what it waits for comes only after its end. */
static enum csv_err may_say_no(const struct csv_machine *m, const struct csv_local *c, const struct csv_space *sp)
{
	if (c->redeclare)
		return CSV_BUSY; /* the order is of another line of state; its answer is waited for */
	if (!sp || m->phase == CSV_PHASE_LOADING)
		return CSV_AGAIN;
	for (unsigned i = 0; i < CSV_SLOTS_MAX; i++) {
		if (sp->slot[i].life == CSV_LIFE_OUT && !csv_slot_fenced(&sp->slot[i]))
			return CSV_BUSY; /* its fence waits behind this replay */
	}
	return csv_space_any(sp, CSV_LIFE_BIT(LOST) | CSV_LIFE_BIT(DECLARING)) ? CSV_AGAIN : CSV_OK;
}

static void answer(struct csv_machine *m, struct csv_local *c, uint64_t seq, const struct csv_msg_lock *asked,
		   enum csv_mode mode)
{
	struct csv_space *sp = m->has_state ? csv_space_find(&m->state, c->uuid) : NULL;
	struct csv_msg reply = { .type = CSV_MSG_IN_USE_REPLY, .seq = seq };
	enum csv_err err = mode == CSV_NL ? may_say_no(m, c, sp) : CSV_OK;

	reply.lock = *asked;
	reply.lock.mode = mode;
	if (err)
		csv_local_error(m, c, seq, err, "not known yet who uses it");
	else
		csv_act_client(m, c->id, &reply);
}

static void ask_members(struct csv_machine *m, struct csv_local *c, const struct csv_msg *msg)
{
	struct csv_wbuf w = csv_op_begin(m, CSV_G_ASK, c->uuid);

	c->question =
	    (struct csv_question){ .open = true, .number = ++m->next_seq, .seq = msg->seq, .lock = msg->lock };
	csv_put8(&w, (uint8_t)msg->lock.res_type);
	csv_put64(&w, msg->lock.res_id);
	csv_put64(&w, c->question.number);
	csv_op_submit(m, &w);
}

void csv_inuse_record(struct csv_machine *m, struct csv_local *c, const struct csv_msg *msg)
{
	struct csv_space *sp = m->has_state ? csv_space_find(&m->state, c->uuid) : NULL;
	struct csv_res res = csv_res((enum csv_res_type)msg->lock.res_type, msg->lock.res_id);
	bool known = sp && m->phase != CSV_PHASE_LOADING && !c->redeclare;

	if (!csv_msg_lock_sound(&msg->lock)) {
		csv_local_close(m, c, "bad IN_USE");
		return;
	}
	if (known && csv_dlm_routed(c, res))
		ask_members(m, c, msg);
	else
		answer(m, c, msg->seq, &msg->lock, known ? csv_space_in_use(sp, res) : CSV_NL);
}

/* A csvfs that is out counts in may_say_no(): unfenced it may write still, fenced it cannot. */
static enum csv_mode held_here(struct csv_machine *m, const uint8_t *uuid, struct csv_res res)
{
	const struct csv_local *c = csv_local_of(m, uuid);
	const struct csv_hold *h = c ? csv_hold_find(c, res) : NULL;

	return h && h->held >= CSV_PW ? h->held : CSV_NL;
}

bool csv_apply_ask(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	enum csv_res_type type = (enum csv_res_type)csv_get8(r);
	uint64_t id = csv_get64(r), number = csv_get64(r);
	struct csv_wbuf w;

	if (!csv_get_end(r) || type <= CSV_RES_NONE || type >= CSV_RES_TYPES)
		return false;
	w = csv_op_begin(m, CSV_G_TELL, sp->uuid);
	csv_put32(&w, sender);
	csv_put64(&w, number);
	csv_put8(&w, (uint8_t)held_here(m, sp->uuid, csv_res(type, id)));
	csv_op_submit(m, &w);
	return true;
}

bool csv_apply_tell(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	uint32_t asker = csv_get32(r);
	uint64_t number = csv_get64(r), all = csv_state_all(&m->state);
	enum csv_mode mode = (enum csv_mode)csv_get8(r);
	int at = csv_state_member(&m->state, sender);
	struct csv_local *c = csv_local_of(m, sp->uuid);
	struct csv_question *q = c ? &c->question : NULL;

	if (!csv_get_end(r) || mode > CSV_EX)
		return false;
	if (asker != m->cfg.nodeid || !q || !q->open || q->number != number || at < 0)
		return true;
	q->told |= 1ull << at;
	if (mode == CSV_NL && (q->told & all) != all)
		return true;
	q->open = false;
	answer(m, c, q->seq, &q->lock, mode);
	return true;
}

void csv_inuse_again(struct csv_machine *m)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &m->locals) {
		struct csv_local *c = csv_list_entry(pos, struct csv_local, link);

		if (!c->question.open)
			continue;
		c->question.open = false;
		csv_local_error(m, c, c->question.seq, CSV_AGAIN, "the members have changed");
	}
}
