/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lockd/core/core.h"
#include "lockd/core/handoff.h"

/* ---- what the table asks for ---- */

static bool host_view(void *arg, const uint8_t *uuid, struct csv_ho_view *v)
{
	struct csv_machine *m = arg;
	struct csv_space *sp = csv_space_find(&m->state, uuid);

	memset(v, 0, sizeof(*v));
	if (!sp)
		return false;
	for (unsigned i = 0; i < CSV_SLOTS_MAX; i++) {
		const struct csv_slot *s = &sp->slot[i];

		if (s->life == CSV_LIFE_FREE)
			continue;
		v->incarnation[i] = s->incarnation;
		v->nodeid[i] = s->nodeid;
		if (s->life == CSV_LIFE_OUT)
			v->out |= 1ull << i;
		else
			v->live |= 1ull << i;
	}
	return true;
}

static void send_file(struct csv_machine *m, const struct csv_local *c, const struct csv_ho_file *f, uint32_t index)
{
	struct csv_msg msg = { .type = CSV_MSG_HO_FILE };

	msg.ho_file.index = index;
	msg.ho_file.ino = f->ino;
	msg.ho_file.gen = f->gen;
	msg.ho_file.epoch = f->epoch;
	msg.ho_file.size = f->size;
	memcpy(msg.ho_file.path, f->path, sizeof(msg.ho_file.path));
	csv_act_client(m, c->id, &msg);
}

static void send_order(struct csv_machine *m, const struct csv_local *c, const struct csv_handoff *h,
		       enum csv_ho_verb verb)
{
	struct csv_msg msg = { .type = CSV_MSG_HO_ORDER, .seq = ++m->next_seq };
	struct csv_msg_ho *ho = &msg.ho;

	ho->verb = verb;
	if (h) {
		const struct csv_ho_plan *p = &h->plan;

		for (unsigned i = 0; i < p->nfiles; i++)
			send_file(m, c, &p->file[i], i);
		memcpy(ho->id, p->id, sizeof(ho->id));
		memcpy(ho->uuid, p->uuid, sizeof(ho->uuid));
		ho->state = h->state;
		ho->outcome = h->outcome;
		ho->nfiles = p->nfiles;
		ho->src_nodeid = p->src.nodeid;
		ho->src_slot = p->src.slot;
		ho->src_incarnation = p->src.incarnation;
		ho->dst_nodeid = p->dst.nodeid;
		ho->dst_slot = p->dst.slot;
		ho->dst_incarnation = p->dst.incarnation;
		memcpy(ho->vm, p->vm, sizeof(ho->vm));
		memcpy(ho->src_node, p->src.node, sizeof(ho->src_node));
		memcpy(ho->dst_node, p->dst.node, sizeof(ho->dst_node));
		memcpy(ho->why, h->why, sizeof(ho->why));
	}
	csv_act_client(m, c->id, &msg);
}

static bool hears(const struct csv_local *c)
{
	return c && c->phase == CSV_LOCAL_ATTACHED;
}

static void host_order(void *arg, const struct csv_handoff *h, enum csv_ho_verb verb, uint32_t slot,
		       uint32_t incarnation)
{
	struct csv_machine *m = arg;
	struct csv_list *pos;

	csv_list_for_each(pos, &m->locals) {
		struct csv_local *c = csv_list_entry(pos, struct csv_local, link);

		if (hears(c) && c->slot.slot == slot && c->slot.incarnation == incarnation &&
		    (!h || !memcmp(c->uuid, h->plan.uuid, 16)))
			send_order(m, c, h, verb);
	}
}

static void host_tell(void *arg, const struct csv_handoff *h, enum csv_ho_verb verb)
{
	struct csv_machine *m = arg;
	struct csv_local *c = csv_local_of(m, h->plan.uuid);

	if (hears(c))
		send_order(m, c, h, verb);
}

/*
 * lease.I goes the usual way: the source's csvfs gives it up once the new lease is home, the destination's asks for it
 * when it activates.  Nobody else waits for it (opens do not queue), and who gets it in between finds the destination's
 * name in the block.
 */
static void host_move(void *arg, const struct csv_handoff *h, uint32_t from, uint32_t to)
{
}

static void host_reply(void *arg, uint64_t token, const struct csv_handoff *h, enum csv_err err, const char *why)
{
	struct csv_handoff_replies *list = &((struct csv_machine *)arg)->ho_replies;
	struct csv_handoff_reply *r;

	if (list->n == CSV_HANDOFF_REPLIES) /* of requesters that have gone */
		memmove(&list->r[0], &list->r[1], --list->n * sizeof(list->r[0]));
	r = &list->r[list->n++];
	r->token = token;
	r->err = err;
	snprintf(r->why, sizeof(r->why), "%s", why);
}

static void host_changed(void *arg, const struct csv_handoff *h)
{
	csv_act_log(arg, CSV_LOG_INFO, "handoff %02x%02x%02x%02x of %s from %s to %s: %s%s%s%s%s", h->plan.id[0],
		    h->plan.id[1], h->plan.id[2], h->plan.id[3], *h->plan.vm ? h->plan.vm : "files", h->plan.src.node,
		    h->plan.dst.node, csv_ho_state_name(h->state), h->outcome ? ", " : "",
		    h->outcome ? csv_ho_outcome_name(h->outcome) : "", *h->why ? ": " : "", h->why);
}

static struct csv_ho_table *table(struct csv_machine *m)
{
	m->state.ho.host = (struct csv_ho_host){ host_view,  host_order,   host_tell,	  host_move,
						 host_reply, host_changed, m->cfg.nodeid, m };
	return &m->state.ho;
}

/* ---- in order ---- */

void csv_handoff_deliver(struct csv_machine *m, uint32_t sender, struct csv_rbuf *r)
{
	if (!r->bad)
		csv_ho_deliver(table(m), sender, r->data + r->pos, r->len - r->pos);
}

void csv_handoff_settle(struct csv_machine *m, struct csv_space *sp)
{
	csv_ho_sync(table(m), sp->uuid);
}

void csv_handoff_attached(struct csv_machine *m, struct csv_local *c)
{
	csv_ho_greet(table(m), c->uuid, c->slot.slot, c->slot.incarnation);
}

/* ---- from here ---- */

static void submit(struct csv_machine *m, const struct csv_ho_msg *msg)
{
	struct csv_wbuf w = csv_op_begin(m, CSV_G_HANDOFF, NULL);
	uint8_t *data = malloc(CSV_HO_MSG_MAX);

	CSV_ASSERT(data);
	csv_put(&w, data, csv_ho_msg_encode(msg, data));
	free(data);
	csv_op_submit(m, &w);
}

void csv_machine_handoff(struct csv_machine *m, const struct csv_ho_msg *msg, struct csv_actions *out)
{
	struct csv_actions *outer = m->out;

	m->out = out;
	submit(m, msg);
	m->out = outer;
}

const struct csv_ho_table *csv_machine_handoffs(const struct csv_machine *m)
{
	return &m->state.ho;
}

bool csv_machine_handoff_reply(struct csv_machine *m, uint64_t token, struct csv_handoff_reply *r)
{
	struct csv_handoff_replies *list = &m->ho_replies;

	for (unsigned i = 0; i < list->n; i++) {
		if (list->r[i].token != token)
			continue;
		*r = list->r[i];
		memmove(&list->r[i], &list->r[i + 1], (--list->n - i) * sizeof(list->r[0]));
		return true;
	}
	return false;
}

static bool take_file(struct csv_ho_msg *a, const struct csv_msg_ho_file *f)
{
	if (f->index != a->plan.nfiles || f->index >= CSV_HO_FILES_MAX)
		return false;
	a->plan.file[a->plan.nfiles++] =
	    (struct csv_ho_file){ .ino = f->ino, .gen = f->gen, .epoch = f->epoch, .size = f->size };
	return true;
}

static bool hold_armed(struct csv_machine *m, struct csv_ho_msg *a)
{
	const struct csv_handoff *h = csv_ho_find(&m->state.ho, a->id);

	if (a->event != CSV_HO_EV_ARMED || !h || (!h->plan.launch && !*h->plan.definition))
		return false;
	for (unsigned i = 0; i < CSV_HANDOFF_ARMED; i++) {
		if (!m->ho_armed[i]) {
			m->ho_armed[i] = a;
			return true;
		}
	}
	a->event = CSV_HO_EV_REFUSED;
	a->err = CSV_BUSY;
	snprintf(a->why, sizeof(a->why), "too many VMs are being started");
	return false;
}

struct csv_ho_msg *csv_machine_handoff_armed(struct csv_machine *m)
{
	for (unsigned i = 0; i < CSV_HANDOFF_ARMED; i++) {
		struct csv_ho_msg *a = m->ho_armed[i];

		if (a) {
			m->ho_armed[i] = NULL;
			return a;
		}
	}
	return NULL;
}

static bool take_answer(struct csv_machine *m, struct csv_local *c, const struct csv_msg *msg)
{
	const struct csv_msg_ho *ho = &msg->ho;
	struct csv_ho_msg *a = c->ho;

	if (ho->event >= CSV_HO_EV_GO || msg->err >= CSV_ERR_COUNT || ho->nfiles != a->plan.nfiles)
		return false;
	if (c->phase != CSV_LOCAL_ATTACHED)
		return true; /* it will be asked again when it has declared */
	a->kind = CSV_HO_MSG_ANSWER;
	memcpy(a->id, ho->id, sizeof(a->id));
	a->event = (enum csv_ho_event_type)ho->event;
	a->slot = c->slot.slot;
	a->incarnation = c->slot.incarnation;
	a->err = (enum csv_err)msg->err;
	snprintf(a->why, sizeof(a->why), "%.*s", (int)sizeof(ho->why) - 1, ho->why);
	a->times = (struct csv_ho_times){ .drain = ho->drain_ms,
					  .journal = ho->journal_ms,
					  .home = ho->home_ms,
					  .silence = ho->silence_ms,
					  .activate = ho->activate_ms,
					  .first = ho->first_ms };
	if (!hold_armed(m, a))
		submit(m, a);
	else
		c->ho = NULL;
	return true;
}

/* The parts of an answer come in a row on one connection; the last one sends it. */
void csv_handoff_record(struct csv_machine *m, struct csv_local *c, const struct csv_msg *msg)
{
	bool ok;

	if (!c->ho)
		c->ho = calloc(1, sizeof(*c->ho));
	CSV_ASSERT(c->ho);
	if (msg->type == CSV_MSG_HO_FILE) {
		ok = take_file(c->ho, &msg->ho_file);
	} else {
		ok = take_answer(m, c, msg);
		free(c->ho);
		c->ho = NULL;
	}
	if (!ok)
		csv_local_close(m, c, "a handoff record is malformed");
}
