/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bundle's nodes as csvlockd sees them: the total order, the table on each node, deaths and recovery. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/env.h"
#include "tests/sim/handoff.h"

struct ctx {
	struct world *w;
	unsigned node;
};
static struct ctx ctxs[NODES];

unsigned ho_pick(struct world *w, unsigned n)
{
	return (unsigned)(csv_rng_next(&w->rng) % n);
}

void ho_violated(struct world *w, const char *text, unsigned node)
{
	ho_trace(w, "VIOLATED: %s (node %u)", text, node + 1);
	if (!*w->bad)
		snprintf(w->bad, sizeof(w->bad), "seed %llu step %u: %s (node %u)", (unsigned long long)w->seed,
			 w->steps, text, node);
}

void ho_trace(const struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (!w->trace)
		return;
	fprintf(w->trace, "%5u ", w->steps);
	va_start(ap, fmt);
	vfprintf(w->trace, fmt, ap);
	va_end(ap);
	fputc('\n', w->trace);
}

/* ---- the host of the table ---- */

static bool host_view(void *arg, const uint8_t *uuid, struct csv_ho_view *v)
{
	*v = ((struct ctx *)arg)->w->view;
	return true;
}

static void queue_order(struct ctx *c, enum csv_ho_verb verb, const struct csv_handoff *h)
{
	struct node *n = &c->w->node[c->node];
	struct fs_order o = { .verb = verb };

	if (h) {
		o.story = h->plan.id[0];
		o.state = h->state;
		o.outcome = h->outcome;
	}
	if (n->attached && n->norders < QUEUE)
		n->order[n->norders++] = o;
}

static void host_order(void *arg, const struct csv_handoff *h, enum csv_ho_verb verb, uint32_t slot,
		       uint32_t incarnation)
{
	struct ctx *c = arg;

	if (slot == c->node && incarnation == c->w->node[slot].incarnation)
		queue_order(c, verb, h);
}

static void host_tell(void *arg, const struct csv_handoff *h, enum csv_ho_verb verb)
{
	queue_order(arg, verb, h);
}

static void host_move(void *arg, const struct csv_handoff *h, uint32_t from, uint32_t to)
{
}

static void host_reply(void *arg, uint64_t token, const struct csv_handoff *h, enum csv_err err, const char *why)
{
}

bool ho_all_ours(const struct world *w)
{
	for (unsigned f = 0; f < FILES; f++) {
		if (!w->lease[f].ours)
			return false;
	}
	return true;
}

/* What `commit` on the source would answer now, and whether the disk agrees. */
static void host_changed(void *arg, const struct csv_handoff *h)
{
	struct ctx *c = arg;
	struct world *w = c->w;
	enum csv_ho_verdict v = csv_handoff_verdict(h, CSV_HO_REQ_COMMIT);

	w->changed = true;
	ho_trace(w, "n%u record: %s, %s, order %s", c->node + 1, csv_ho_state_name(h->state),
		 h->outcome ? csv_ho_outcome_name(h->outcome) : "open", csv_ho_verb_name(h->order));
	if (c->node != SRC || !w->committed || w->takeback || memcmp(h->plan.id, w->id, sizeof(w->id)))
		return;
	if (v == CSV_HO_YES) {
		w->said_moved = true;
		if (!ho_all_ours(w) && !w->third_took)
			ho_violated(w, "commit said moved, the disk says no", SRC);
	} else if (v == CSV_HO_NO) {
		w->said_kept = true;
		if (ho_all_ours(w))
			ho_violated(w, "commit said kept, the disk says no", SRC);
	}
}

/* ---- the bus ---- */

void ho_send_msg(struct world *w, unsigned from, const struct csv_ho_msg *m)
{
	struct item *it;

	if (!w->node[from].lockd || w->node[from].isolated || w->nbus == QUEUE)
		return;
	it = &w->bus[w->nbus++];
	*it = (struct item){ .type = ITEM_MSG, .sender = from, .data = malloc(CSV_HO_MSG_MAX) };
	it->len = csv_ho_msg_encode(m, it->data);
}

static void send_life(struct world *w, enum csv_ho_event_type type, uint32_t slot, uint32_t incarnation)
{
	if (w->nbus < QUEUE)
		w->bus[w->nbus++] = (struct item){
			.type = ITEM_LIFE, .life = type, .slot = slot, .incarnation = incarnation, .sender = NOBODY
		};
}

void ho_send_ranges(struct world *w, unsigned from, bool held)
{
	if (w->node[from].attached && !w->node[from].isolated && w->nbus < QUEUE)
		w->bus[w->nbus++] = (struct item){ .type = ITEM_RANGES, .sender = from, .held = held };
}

static enum csv_ho_event_type event_of_request(enum csv_ho_request req)
{
	switch (req) {
	case CSV_HO_REQ_COMMIT:
		return CSV_HO_EV_GO;
	case CSV_HO_REQ_ABORT:
		return CSV_HO_EV_ABORT;
	case CSV_HO_REQ_TAKEBACK:
		return CSV_HO_EV_TAKEBACK;
	case CSV_HO_REQ_FINISH:
		return CSV_HO_EV_FINISH;
	case CSV_HO_REQ_PREPARE:
		break;
	}
	return CSV_HO_EV_COUNT;
}

/* What this does to a record that is there; COUNT: it makes one. */
static enum csv_ho_event_type event_of(const struct item *it)
{
	static struct csv_ho_msg m;

	if (it->type == ITEM_LIFE)
		return it->life;
	if (it->type != ITEM_MSG || !csv_ho_msg_decode(&m, it->data, it->len) || m.kind == CSV_HO_MSG_PREPARE)
		return CSV_HO_EV_COUNT;
	return m.kind == CSV_HO_MSG_REQUEST ? event_of_request(m.req) : m.event;
}

static void deliver_to(struct world *w, unsigned n, const struct item *it)
{
	static const uint8_t uuid[16];
	struct csv_ho_table *t = &w->node[n].table;
	const struct csv_handoff *h = csv_ho_find(t, w->id);
	enum csv_ho_event_type event = event_of(it);
	unsigned pair = h ? h->state * CSV_HO_EV_COUNT + event : 0;

	w->count.events++;
	w->changed = false;
	if (event < CSV_HO_EV_COUNT)
		ho_trace(w, "n%u is given %s", n + 1, csv_ho_event_name(event));
	if (it->type == ITEM_MSG)
		csv_ho_deliver(t, it->sender + 1, it->data, it->len);
	else if (it->type == ITEM_LIFE)
		csv_ho_life(t, uuid, it->life, it->slot, it->incarnation);
	if (!h || event == CSV_HO_EV_COUNT)
		return;
	w->tally[HO_GIVEN + pair]++;
	w->tally[HO_TAKEN + pair] += w->changed;
}

static void change_view(struct world *w, const struct item *it)
{
	if (it->type == ITEM_RANGES)
		w->ranges[it->sender] = it->held;
	if (it->type != ITEM_LIFE)
		return;
	if (it->life == CSV_HO_EV_RECOVERED)
		w->ranges[it->slot] = false;
	if (it->life == CSV_HO_EV_OUT)
		w->view.live &= ~(1ull << it->slot);
	if (it->life == CSV_HO_EV_LIVE) {
		w->view.live |= 1ull << it->slot;
		w->view.incarnation[it->slot] = it->incarnation;
	}
	if (it->life == CSV_HO_EV_OUT && w->rec[it->slot] == REC_NONE) {
		w->rec[it->slot] = REC_WAIT;
		w->rec_inc[it->slot] = it->incarnation;
	}
}

void ho_pop_bus(struct world *w)
{
	free(w->bus[0].data);
	memmove(&w->bus[0], &w->bus[1], --w->nbus * sizeof(w->bus[0]));
}

void ho_deliver(struct world *w)
{
	change_view(w, &w->bus[0]);
	for (unsigned n = 0; n < NODES; n++) {
		if (w->node[n].lockd && !w->node[n].isolated)
			deliver_to(w, n, &w->bus[0]);
	}
	ho_pop_bus(w);
}

/* ---- deaths ---- */

/* Its messages that nobody has seen yet are lost. */
static void lose_messages(struct world *w, unsigned from)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w->nbus; i++) {
		if (w->bus[i].type != ITEM_LIFE && w->bus[i].sender == from)
			free(w->bus[i].data);
		else
			w->bus[n++] = w->bus[i];
	}
	w->nbus = n;
}

static void fs_dies(struct world *w, unsigned n)
{
	struct node *x = &w->node[n];

	x->fs = x->attached = x->guest = false;
	x->path_lost = false;
	x->norders = x->inflight = 0;
	x->agent.running = CSV_HO_NOTHING;
}

void ho_out(struct world *w, unsigned n)
{
	send_life(w, CSV_HO_EV_OUT, n, w->node[n].incarnation);
}

static void crash_node(struct world *w, unsigned n)
{
	ho_trace(w, "n%u crashes", n + 1);
	lose_messages(w, n);
	fs_dies(w, n);
	w->node[n].lockd = w->node[n].up = false;
	ho_out(w, n);
}

/* Cut off, maybe right after it alone was delivered what comes next (L1). It runs on until the fence. */
static void isolate_node(struct world *w, unsigned n)
{
	unsigned lonely = ho_pick(w, 3);

	ho_trace(w, "n%u is cut off, and is given %u more", n + 1, lonely);
	for (unsigned i = 0; i < lonely && i < w->nbus; i++) {
		if (w->bus[i].type == ITEM_MSG)
			deliver_to(w, n, &w->bus[i]);
	}
	if (ho_pick(w, 2))
		lose_messages(w, n);
	w->node[n].isolated = true;
	ho_out(w, n);
}

static void crash_lockd(struct world *w, unsigned n)
{
	lose_messages(w, n);
	w->node[n].lockd = w->node[n].attached = false;
	w->node[n].norders = 0;
	csv_ho_table_free(&w->node[n].table);
	ho_trace(w, "n%u csvlockd ends", n + 1);
}

void ho_lockd_back(struct world *w, unsigned n)
{
	static const uint8_t uuid[16];
	struct csv_ho_table *from = NULL;
	uint8_t *data;

	for (unsigned i = 0; i < NODES; i++) {
		if (i != n && w->node[i].lockd && !w->node[i].isolated)
			from = &w->node[i].table;
	}
	if (!from)
		return;
	data = malloc(csv_ho_export_size(from));
	w->node[n].lockd = true;
	ho_trace(w, "n%u csvlockd is back", n + 1);
	if (!csv_ho_import(&w->node[n].table, data, csv_ho_export(from, data)))
		ho_violated(w, "state transfer", n);
	free(data);
	if (w->node[n].fs && (w->view.live >> n & 1)) {
		w->node[n].attached = true;
		w->ranges[n] = n == SRC && w->node[n].incarnation == w->life[SRC] && !w->node[n].apart; /* declared */
		csv_ho_greet(&w->node[n].table, uuid, n, w->node[n].incarnation);
	}
}

void ho_fault(struct world *w)
{
	unsigned n = ho_pick(w, 5) ? ho_pick(w, 2) : 2;
	struct node *x = &w->node[n];

	if (!x->up || x->isolated || !(w->view.live >> n & 1) || w->rec[n] != REC_NONE)
		return;
	w->faults--;
	w->count.faults++;
	switch (ho_pick(w, 4)) {
	case 0:
		if (x->fs && x->lockd) {
			ho_trace(w, "n%u csvfs ends", n + 1);
			fs_dies(w, n);
			ho_out(w, n);
		}
		break;
	case 1:
		if (x->lockd && n != 2)
			crash_lockd(w, n);
		break;
	case 2:
		if (n != 2)
			crash_node(w, n);
		break;
	case 3:
		if (n != 2 && x->lockd)
			isolate_node(w, n);
		break;
	default:
		break;
	}
}

void ho_recovery(struct world *w, unsigned n)
{
	ho_trace(w, "slot of n%u is %s", n + 1, w->rec[n] == REC_WAIT ? "fenced" : "replayed");
	if (w->rec[n] == REC_WAIT) {
		w->fenced[n] = w->rec_inc[n];
		w->rec[n] = REC_FENCED;
		if (w->node[n].fs && w->node[n].incarnation == w->rec_inc[n])
			fs_dies(w, n); /* its writes are refused from here on: whatever it thinks has no effect */
	} else if (w->rec[n] == REC_FENCED) {
		send_life(w, CSV_HO_EV_RECOVERED, n, w->rec_inc[n]);
		w->rec[n] = REC_SENT;
	}
}

void ho_give_up_path(struct world *w, unsigned n)
{
	w->node[n].path_lost = false;
	if (w->node[n].fs)
		ho_out(w, n);
}

void ho_new_life(struct world *w, unsigned n)
{
	static const uint8_t uuid[16];
	struct node *x = &w->node[n];

	if (x->isolated || !x->lockd) {
		x->fs = x->attached = x->isolated = x->lockd = false;
		x->up = true;
		csv_ho_table_free(&x->table);
		ho_lockd_back(w, n);
		if (!x->lockd)
			return;
	}
	x->fs = x->attached = true;
	x->incarnation += 100;
	x->guest = x->wrote = x->run_marked = x->apart = x->told_first = x->path_lost = false;
	x->norders = x->phase = x->inflight = 0;
	csv_ho_agent_init(&x->agent);
	w->rec[n] = REC_NONE;
	ho_trace(w, "n%u mounts again, incarnation %u", n + 1, x->incarnation);
	send_life(w, CSV_HO_EV_LIVE, n, x->incarnation);
	csv_ho_greet(&x->table, uuid, n, x->incarnation);
}

void ho_hosts(struct world *w)
{
	for (unsigned n = 0; n < NODES; n++) {
		struct csv_ho_host host = { host_view,	host_order,   host_tell, host_move,
					    host_reply, host_changed, n + 1,	 &ctxs[n] };

		ctxs[n] = (struct ctx){ w, n };
		csv_ho_table_init(&w->node[n].table, &host);
	}
}
