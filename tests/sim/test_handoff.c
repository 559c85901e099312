/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The handoff under faults: three nodes, each with a csvlockd (the real table of
 * records) and a csvfs (the real agent), one disk of leases, a guest that writes.
 * A seed chooses what happens next: deliveries, job steps, guest I/O, requests, and
 * faults: crash of a csvfs, of a csvlockd (which comes back, or not in time), crash
 * or isolation of a node (which goes on with what it was told last, until the fence).
 *
 * Invariants, at each write: the lease on disk names the writer.  Whoever wrote at the
 * destination is never followed by the source's memory (H6).  `commit` told the truth.
 * When the destination takes up, no byte range of the source's handles stands in its way.
 * At rest: all members agree, all leases have one holder, and the record says which.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/bug.h"
#include "lib/env.h"
#include "migrate/target/agent.h"
#include "migrate/core/table.h"

#define NODES 3u
#define SRC 0u
#define DST 1u
#define FILES 3u
#define QUEUE 256u
#define NOBODY 99u

struct lease {
	uint32_t slot, incarnation;
	uint64_t epoch;
	bool run, ours; /* ours: bears the handoff's id */
};

struct fs_order {
	enum csv_ho_verb verb;
	enum csv_ho_outcome outcome;
};

struct node {
	bool up, lockd, fs, isolated, attached; /* attached: csvfs and csvlockd talk */
	uint32_t incarnation;
	struct csv_ho_table table;
	struct csv_ho_agent agent;
	struct fs_order order[QUEUE];
	unsigned norders;
	unsigned phase;	   /* of the running job */
	unsigned inflight; /* guest writes on their way to the disk */
	bool guest, wrote; /* a VM writes here; has let a write through since it got the bundle */
	bool run_marked;
	bool path_lost; /* to the LUN: asks to be fenced in the end */
	bool apart;	/* its handles' byte ranges are told to nobody */
};

enum item_type { ITEM_MSG, ITEM_LIFE, ITEM_RANGES };
struct item {
	enum item_type type;
	uint32_t sender;
	uint8_t *data;
	size_t len;
	enum csv_ho_event_type life;
	uint32_t slot, incarnation;
	bool held; /* ITEM_RANGES: the sender's handles have some, or none */
};

enum recovery { REC_NONE, REC_WAIT, REC_FENCED, REC_SENT };

struct world {
	uint64_t rng;
	uint64_t seed;
	struct node node[NODES];
	struct item bus[QUEUE];
	unsigned nbus;
	struct lease lease[FILES];
	uint32_t fenced[NODES]; /* incarnation whose writes are refused */
	enum recovery rec[NODES];
	uint32_t rec_inc[NODES];
	struct csv_ho_view view; /* as the order has it */
	bool ranges[NODES];	 /* the order has byte ranges of this node's handles */
	unsigned faults;	 /* left */
	unsigned reattach;	 /* steps until a missing csvlockd's csvfs is given up */
	uint8_t id[CSV_HO_ID];
	bool prepared, committed, said_moved, said_kept, takeback, dst_wrote, third_took;
	unsigned steps;
	char bad[200];
};

struct ctx {
	struct world *w;
	unsigned node;
};
static struct ctx ctxs[NODES];

static unsigned pick(struct world *w, unsigned n)
{
	return (unsigned)(csv_rng_next(&w->rng) % n);
}

static void violated(struct world *w, const char *text, unsigned node)
{
	if (!*w->bad)
		snprintf(w->bad, sizeof(w->bad), "seed %llu step %u: %s (node %u)", (unsigned long long)w->seed,
			 w->steps, text, node);
}

/* ---- the host of the table ---- */

static bool host_view(void *arg, const uint8_t *uuid, struct csv_ho_view *v)
{
	*v = ((struct ctx *)arg)->w->view;
	return true;
}

static void queue_order(struct ctx *c, enum csv_ho_verb verb, enum csv_ho_outcome outcome)
{
	struct node *n = &c->w->node[c->node];

	if (n->attached && n->norders < QUEUE)
		n->order[n->norders++] = (struct fs_order){ verb, outcome };
}

static void host_order(void *arg, const struct csv_handoff *h, enum csv_ho_verb verb, uint32_t slot,
		       uint32_t incarnation)
{
	struct ctx *c = arg;

	if (slot == c->node && incarnation == c->w->node[slot].incarnation)
		queue_order(c, verb, h ? h->outcome : CSV_HO_NONE);
}

static void host_tell(void *arg, const struct csv_handoff *h, enum csv_ho_verb verb)
{
	queue_order(arg, verb, h->outcome);
}

static void host_move(void *arg, const struct csv_handoff *h, uint32_t from, uint32_t to)
{
}

static void host_reply(void *arg, uint64_t token, const struct csv_handoff *h, enum csv_err err, const char *why)
{
}

static bool all_ours(const struct world *w)
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

	if (c->node != SRC || !w->committed || w->takeback)
		return;
	if (v == CSV_HO_YES) {
		w->said_moved = true;
		if (!all_ours(w) && !w->third_took)
			violated(w, "commit said moved, the disk says no", SRC);
	} else if (v == CSV_HO_NO) {
		w->said_kept = true;
		if (all_ours(w))
			violated(w, "commit said kept, the disk says no", SRC);
	}
}

/* ---- the bus ---- */

static void send_msg(struct world *w, unsigned from, const struct csv_ho_msg *m)
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

static void send_ranges(struct world *w, unsigned from, bool held)
{
	if (w->node[from].attached && !w->node[from].isolated && w->nbus < QUEUE)
		w->bus[w->nbus++] = (struct item){ .type = ITEM_RANGES, .sender = from, .held = held };
}

static void deliver_to(struct world *w, unsigned n, const struct item *it)
{
	static const uint8_t uuid[16];
	struct csv_ho_table *t = &w->node[n].table;

	if (it->type == ITEM_MSG)
		csv_ho_deliver(t, it->sender + 1, it->data, it->len);
	else if (it->type == ITEM_LIFE)
		csv_ho_life(t, uuid, it->life, it->slot, it->incarnation);
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

static void pop_bus(struct world *w)
{
	free(w->bus[0].data);
	memmove(&w->bus[0], &w->bus[1], --w->nbus * sizeof(w->bus[0]));
}

static void deliver(struct world *w)
{
	change_view(w, &w->bus[0]);
	for (unsigned n = 0; n < NODES; n++) {
		if (w->node[n].lockd && !w->node[n].isolated)
			deliver_to(w, n, &w->bus[0]);
	}
	pop_bus(w);
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

static void out(struct world *w, unsigned n)
{
	send_life(w, CSV_HO_EV_OUT, n, w->node[n].incarnation);
}

static void crash_node(struct world *w, unsigned n)
{
	lose_messages(w, n);
	fs_dies(w, n);
	w->node[n].lockd = w->node[n].up = false;
	out(w, n);
}

/* Cut off, maybe right after it alone was delivered what comes next (L1). It runs on until the fence. */
static void isolate_node(struct world *w, unsigned n)
{
	unsigned lonely = pick(w, 3);

	for (unsigned i = 0; i < lonely && i < w->nbus; i++) {
		if (w->bus[i].type == ITEM_MSG)
			deliver_to(w, n, &w->bus[i]);
	}
	if (pick(w, 2))
		lose_messages(w, n);
	w->node[n].isolated = true;
	out(w, n);
}

static void crash_lockd(struct world *w, unsigned n)
{
	lose_messages(w, n);
	w->node[n].lockd = w->node[n].attached = false;
	w->node[n].norders = 0;
	csv_ho_table_free(&w->node[n].table);
}

static void lockd_back(struct world *w, unsigned n)
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
	if (!csv_ho_import(&w->node[n].table, data, csv_ho_export(from, data)))
		violated(w, "state transfer", n);
	free(data);
	if (w->node[n].fs && (w->view.live >> n & 1)) {
		w->node[n].attached = true;
		w->ranges[n] = n == SRC && !w->node[n].apart; /* declared */
		csv_ho_greet(&w->node[n].table, uuid, n, w->node[n].incarnation);
	}
}

static void fault(struct world *w)
{
	unsigned n = pick(w, 5) ? pick(w, 2) : 2;
	struct node *x = &w->node[n];

	if (!x->up || x->isolated || !(w->view.live >> n & 1) || w->rec[n] != REC_NONE)
		return;
	w->faults--;
	switch (pick(w, 4)) {
	case 0:
		if (x->fs && x->lockd) {
			fs_dies(w, n);
			out(w, n);
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

static void recovery(struct world *w, unsigned n)
{
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

static void give_up_path(struct world *w, unsigned n)
{
	w->node[n].path_lost = false;
	if (w->node[n].fs)
		out(w, n);
}

/* ---- csvfs ---- */

static bool holds(const struct world *w, unsigned n, const struct lease *l)
{
	return l->slot == n && l->incarnation == w->node[n].incarnation;
}

static void answer(struct world *w, unsigned n, enum csv_ho_event_type event)
{
	static struct csv_ho_msg m;

	if (!w->node[n].attached)
		return;
	memset(&m, 0, sizeof(m));
	m.kind = CSV_HO_MSG_ANSWER;
	memcpy(m.id, w->id, sizeof(m.id));
	m.event = event;
	m.slot = n;
	m.incarnation = w->node[n].incarnation;
	m.plan.nfiles = event == CSV_HO_EV_COMMITTED || event == CSV_HO_EV_RETURNED ? FILES : 0;
	for (unsigned f = 0; f < m.plan.nfiles; f++)
		m.plan.file[f].epoch = w->lease[f].epoch;
	send_msg(w, n, &m);
}

/* Who is out, and not yet recovered, has the others wait; nobody is refused for his sake. */
static void ranges_follow(struct world *w, unsigned n, enum csv_ho_handles h)
{
	if (h == CSV_HO_H_LEASED && n == SRC && w->node[n].apart) {
		w->node[n].apart = false;
		send_ranges(w, n, true);
	}
	if (h == CSV_HO_H_LEASED && n == DST && w->ranges[SRC] && (w->view.live >> SRC & 1))
		violated(w, "the destination's byte-range locks are refused", n);
}

static void carry_out(struct world *w, unsigned n, const struct csv_ho_agent_acts *acts)
{
	for (unsigned i = 0; i < acts->n; i++) {
		if (acts->a[i].todo == CSV_HO_DO_JOB)
			w->node[n].phase = 0;
		if (acts->a[i].todo == CSV_HO_DO_ANSWER)
			answer(w, n, acts->a[i].event);
		if (acts->a[i].todo == CSV_HO_DO_HANDLES)
			ranges_follow(w, n, acts->a[i].handles);
		if (acts->a[i].todo == CSV_HO_DO_HANDLES && n == DST)
			w->node[n].guest |= acts->a[i].handles == CSV_HO_H_LEASED;
	}
}

static void take_order(struct world *w, unsigned n)
{
	struct node *x = &w->node[n];
	struct csv_ho_agent_acts acts = { 0 };
	struct fs_order o = x->order[0];

	memmove(&x->order[0], &x->order[1], --x->norders * sizeof(x->order[0]));
	if (n == SRC && x->agent.handles == CSV_HO_H_PLAIN)
		x->agent.handles = CSV_HO_H_LEASED; /* the source's handles are what the VM has opened */
	csv_ho_agent_order(&x->agent, o.verb, o.outcome, &acts);
	carry_out(w, n, &acts);
}

/* One transaction: all leases or none. */
static void give(struct world *w, unsigned to, bool ours)
{
	for (unsigned f = 0; f < FILES; f++) {
		w->lease[f] = (struct lease){
			.slot = to, .incarnation = w->node[to].incarnation, .epoch = w->lease[f].epoch + 1, .ours = ours
		};
	}
}

static bool all_held(const struct world *w, unsigned n)
{
	for (unsigned f = 0; f < FILES; f++) {
		if (!holds(w, n, &w->lease[f]))
			return false;
	}
	return true;
}

static bool may_return(const struct world *w)
{
	for (unsigned f = 0; f < FILES; f++) {
		if (!w->lease[f].ours || w->lease[f].slot != DST || !csv_ho_may_return(w->lease[f].run))
			return false;
	}
	return true;
}

static enum csv_ho_job_end run_job(struct world *w, unsigned n, enum csv_ho_verb verb)
{
	bool writes = verb == CSV_HO_COMMIT || verb == CSV_HO_RETURN || verb == CSV_HO_RECLAIM;
	bool lost = w->faults && !pick(w, 10); /* the answer to the commit write does not come */

	if (verb == CSV_HO_ARM || verb == CSV_HO_ACTIVATE)
		return pick(w, 12) ? CSV_HO_JOB_OK : CSV_HO_JOB_NO;
	if (verb == CSV_HO_RESOLVE || verb == CSV_HO_RECLAIM) {
		if (w->faults && !pick(w, 3))
			return CSV_HO_JOB_UNKNOWN; /* a lease cannot be read at the moment */
	}
	if (!writes)
		return CSV_HO_JOB_OK;
	if (verb == CSV_HO_COMMIT && (!pick(w, 12) || !all_held(w, n)))
		return CSV_HO_JOB_NO;
	if (verb == CSV_HO_RETURN && (!may_return(w) || !all_held(w, n)))
		return CSV_HO_JOB_NO;
	if (verb == CSV_HO_RECLAIM && all_held(w, n))
		return CSV_HO_JOB_OK; /* it was given back by one who could not tell any more */
	if (verb == CSV_HO_RECLAIM && !may_return(w))
		return CSV_HO_JOB_NO;
	if (!lost || pick(w, 2))
		give(w, verb == CSV_HO_COMMIT ? DST : SRC, verb == CSV_HO_COMMIT);
	if (!lost)
		return CSV_HO_JOB_OK;
	w->faults--;
	w->node[n].path_lost = true;
	return CSV_HO_JOB_UNKNOWN;
}

static enum csv_ho_event_type found(const struct world *w)
{
	if (all_ours(w))
		return CSV_HO_EV_IS_DST;
	return w->lease[0].slot == SRC ? CSV_HO_EV_IS_SRC : CSV_HO_EV_IS_OTHER;
}

static void job_step(struct world *w, unsigned n)
{
	struct node *x = &w->node[n];
	enum csv_ho_verb verb = x->agent.running;
	struct csv_ho_agent_acts acts = { 0 };
	enum csv_ho_job_end end;

	if ((verb == CSV_HO_COMMIT || verb == CSV_HO_RETURN) && x->inflight)
		return; /* drain */
	if (x->phase++ < 1)
		return;
	end = run_job(w, n, verb);
	if (verb == CSV_HO_COMMIT && end == CSV_HO_JOB_OK) { /* before the answer */
		x->apart = true;
		send_ranges(w, n, false);
	}
	csv_ho_agent_job(&x->agent, end, found(w), &acts);
	carry_out(w, n, &acts);
}

/* A csvfs whose volume is out does not try again. */
static bool try_again(struct world *w, unsigned n)
{
	struct node *x = &w->node[n];
	struct csv_ho_agent_acts acts = { 0 };

	if (!x->fs || !x->agent.again || x->path_lost)
		return false;
	csv_ho_agent_again(&x->agent, &acts);
	carry_out(w, n, &acts);
	return acts.n;
}

/* ---- the guest ---- */

static void guest_step(struct world *w, unsigned n)
{
	struct node *x = &w->node[n];
	struct lease *l = &w->lease[pick(w, FILES)];

	if (x->inflight) { /* a write reaches the disk; the fence would have refused it */
		x->inflight--;
		if (w->fenced[n] == x->incarnation)
			return;
		if (!holds(w, n, l))
			violated(w, "write by one who does not hold the lease", n);
		if (n == SRC && w->dst_wrote)
			violated(w, "the source writes over what the destination has written", n);
		w->dst_wrote |= n == DST;
		x->wrote = true;
		return;
	}
	if (x->agent.handles != CSV_HO_H_LEASED || (x->agent.running == CSV_HO_RETURN))
		return;
	if (n == DST && !x->run_marked) { /* H6: before the first write, durable */
		for (unsigned f = 0; f < FILES; f++) {
			if (!holds(w, n, &w->lease[f])) {
				violated(w, "run mark by one who does not hold the lease", n);
				return;
			}
			w->lease[f].run = true;
		}
		x->run_marked = true;
		return;
	}
	x->inflight = 1;
}

/* A third node starts the VM: may it? */
static void third_starts(struct world *w)
{
	struct node *x = &w->node[2];
	struct lease *l = &w->lease[0];
	bool stale =
	    !(w->view.live >> l->slot & 1) && w->fenced[l->slot] == l->incarnation && w->rec[l->slot] == REC_SENT;
	bool offered =
	    w->node[SRC].agent.undecided && holds(w, SRC, l) && w->node[SRC].agent.handles != CSV_HO_H_PARKED;

	if (w->third_took || !x->fs || x->norders || (!stale && !offered))
		return;
	if (!csv_ho_agent_may_take(&x->agent) || (offered && !stale && !x->agent.undecided))
		return;
	for (unsigned i = 0; i < x->table.n; i++) {
		if (csv_handoff_undecided(x->table.rec[i]))
			violated(w, "a third node took an undecided lease", 2);
	}
	w->third_took = true;
	give(w, 2, false);
}

/* ---- requests ---- */

static void request(struct world *w, enum csv_ho_request req)
{
	static struct csv_ho_msg m;
	unsigned from = req == CSV_HO_REQ_TAKEBACK ? pick(w, 2) : SRC;

	memset(&m, 0, sizeof(m));
	m.kind = req == CSV_HO_REQ_PREPARE ? CSV_HO_MSG_PREPARE : CSV_HO_MSG_REQUEST;
	m.req = req;
	memcpy(m.id, w->id, sizeof(m.id));
	if (req == CSV_HO_REQ_PREPARE) {
		memcpy(m.plan.id, w->id, sizeof(m.id));
		m.plan.src.nodeid = SRC + 1;
		m.plan.dst.nodeid = DST + 1;
		m.plan.nfiles = FILES;
		for (unsigned f = 0; f < FILES; f++)
			m.plan.file[f] = (struct csv_ho_file){ .ino = 100 + f, .gen = 1, .epoch = 1 };
	}
	w->committed |= req == CSV_HO_REQ_COMMIT && w->node[SRC].lockd;
	w->takeback |= req == CSV_HO_REQ_TAKEBACK;
	send_msg(w, from, &m);
}

static void ask(struct world *w)
{
	const struct csv_handoff *h = csv_ho_find(&w->node[SRC].table, w->id);

	if (!w->prepared) {
		w->prepared = true;
		request(w, CSV_HO_REQ_PREPARE);
	} else if (h && h->state == CSV_HO_PREPARED && !w->committed) {
		request(w, pick(w, 8) ? CSV_HO_REQ_COMMIT : CSV_HO_REQ_ABORT);
	} else if (h && h->state == CSV_HO_ACTIVE && !pick(w, 3)) {
		request(w, pick(w, 3) ? CSV_HO_REQ_TAKEBACK : CSV_HO_REQ_FINISH);
	}
}

/* ---- the run ---- */

static void random_step(struct world *w)
{
	unsigned n = pick(w, NODES);
	struct node *x = &w->node[n];

	switch (pick(w, 10)) {
	case 0:
	case 1:
		if (w->nbus)
			deliver(w);
		break;
	case 2:
	case 3:
		if (x->fs && x->norders)
			take_order(w, n);
		break;
	case 4:
		if (x->fs && x->agent.running)
			job_step(w, n);
		else
			try_again(w, n);
		break;
	case 5:
	case 6:
		if (x->fs && x->guest)
			guest_step(w, n);
		break;
	case 7:
		if (w->node[SRC].lockd && !w->node[SRC].isolated)
			ask(w);
		break;
	case 8:
		if (w->rec[n] == REC_WAIT || w->rec[n] == REC_FENCED)
			recovery(w, n);
		else if (x->path_lost && !pick(w, 4))
			give_up_path(w, n);
		else if (!x->lockd && x->up && pick(w, 2))
			lockd_back(w, n);
		else if (!x->lockd && x->up && x->fs && !pick(w, 4) && (w->view.live >> n & 1) && !w->rec[n])
			out(w, n);
		break;
	case 9:
		if (w->faults && !pick(w, 12))
			fault(w);
		else if (!pick(w, 4))
			third_starts(w);
		break;
	default:
		break;
	}
}

/* Somebody must be there to read the disk: the third node mounts again. */
static void mount_again(struct world *w)
{
	static const uint8_t uuid[16];
	struct node *x = &w->node[2];

	x->fs = x->attached = true;
	x->incarnation += 100;
	csv_ho_agent_init(&x->agent);
	w->rec[2] = REC_NONE;
	send_life(w, CSV_HO_EV_LIVE, 2, x->incarnation);
	csv_ho_greet(&x->table, uuid, 2, x->incarnation);
}

/* No more faults: all that is under way comes to its end. */
static void settle(struct world *w)
{
	bool busy = true;

	w->faults = 0;
	for (unsigned n = 0; n < NODES; n++) {
		if (w->node[n].up && !w->node[n].lockd)
			lockd_back(w, n);
	}
	for (unsigned i = 0; busy && i < 5000; i++) {
		busy = w->nbus > 0;
		if (!busy && w->rec[2] == REC_SENT)
			mount_again(w);
		if (w->nbus)
			deliver(w);
		for (unsigned n = 0; n < NODES; n++) {
			struct node *x = &w->node[n];

			if (x->path_lost)
				give_up_path(w, n), busy = true;
			if (w->rec[n] == REC_WAIT || w->rec[n] == REC_FENCED)
				recovery(w, n), busy = true;
			if (x->fs && x->norders)
				take_order(w, n), busy = true;
			if (x->fs && x->inflight)
				guest_step(w, n), busy = true;
			if (x->fs && x->agent.running)
				job_step(w, n), busy = true;
			busy |= try_again(w, n);
		}
	}
	if (busy)
		violated(w, "does not come to rest", NOBODY);
}

static void check_rest(struct world *w)
{
	const struct csv_handoff *h = csv_ho_find(&w->node[2].table, w->id);
	const struct csv_ho_life *owner;

	for (unsigned f = 1; f < FILES; f++) {
		if (w->lease[f].slot != w->lease[0].slot || w->lease[f].incarnation != w->lease[0].incarnation)
			violated(w, "leases of one bundle have two holders", f);
	}
	for (unsigned n = 0; n < 2; n++) {
		const struct node *x = &w->node[n];

		if (x->lockd && !x->isolated && csv_ho_digest(&x->table) != csv_ho_digest(&w->node[2].table))
			violated(w, "members disagree", n);
		if (n == SRC && x->fs && x->lockd && !x->isolated && x->agent.handles == CSV_HO_H_LEASED &&
		    !w->ranges[n])
			violated(w, "the source has its disks, but not its byte ranges", n);
		if (h && x->fs && x->guest && x->agent.handles == CSV_HO_H_LEASED && !all_held(w, n))
			violated(w, "writes without a lease", n);
	}
	if (!h)
		return;
	if (h->state != CSV_HO_DONE && h->state != CSV_HO_ACTIVE && h->state != CSV_HO_PREPARED)
		violated(w, csv_ho_state_name(h->state), NOBODY);
	if (w->third_took)
		return;
	owner = csv_handoff_owner(h);
	if (owner && w->lease[0].slot != owner->slot)
		violated(w, "status names the wrong owner", owner->slot);
	if (h->outcome == CSV_HO_MOVED && !all_ours(w))
		violated(w, "moved, but not on disk", NOBODY);
	if (h->outcome == CSV_HO_KEPT && all_ours(w))
		violated(w, "kept, but not on disk", NOBODY);
	if (w->said_moved && !w->takeback && h->outcome != CSV_HO_MOVED)
		violated(w, "commit said moved, but it did not stay so", NOBODY);
	if (w->said_kept && h->outcome != CSV_HO_KEPT)
		violated(w, "commit said kept, but it did not stay so", NOBODY);
}

static void world_new(struct world *w, uint64_t seed, unsigned faults)
{
	memset(w, 0, sizeof(*w));
	w->seed = seed;
	w->rng = seed * 7919 + 1;
	w->faults = faults;
	memset(w->id, 0xab, sizeof(w->id));
	for (unsigned n = 0; n < NODES; n++) {
		struct csv_ho_host host = { host_view,	host_order,   host_tell, host_move,
					    host_reply, host_changed, n + 1,	 &ctxs[n] };

		ctxs[n] = (struct ctx){ w, n };
		w->node[n] =
		    (struct node){ .up = true, .lockd = true, .fs = true, .attached = true, .incarnation = 7 + n };
		csv_ho_table_init(&w->node[n].table, &host);
		csv_ho_agent_init(&w->node[n].agent);
		w->view.live |= 1ull << n;
		w->view.incarnation[n] = 7 + n;
		w->view.nodeid[n] = n + 1;
	}
	for (unsigned f = 0; f < FILES; f++)
		w->lease[f] = (struct lease){ .slot = SRC, .incarnation = 7, .epoch = 1, .run = true };
	w->ranges[SRC] = true;
	w->node[SRC].guest = true;
	w->node[SRC].agent.src = true;
	w->node[SRC].agent.handles = CSV_HO_H_LEASED;
}

static void world_free(struct world *w)
{
	for (unsigned n = 0; n < NODES; n++)
		csv_ho_table_free(&w->node[n].table);
	while (w->nbus)
		pop_bus(w);
}

/* False: a violation, told in text. */
static bool play(uint64_t seed, char *text, size_t size, unsigned *outcomes)
{
	static struct world w;
	const struct csv_handoff *h;

	world_new(&w, seed, (unsigned)(seed % 4));
	for (w.steps = 0; w.steps < 600 && !*w.bad; w.steps++)
		random_step(&w);
	settle(&w);
	check_rest(&w);
	h = csv_ho_find(&w.node[2].table, w.id);
	outcomes[h ? h->outcome : 0]++;
	snprintf(text, size, "%s", w.bad);
	world_free(&w);
	return !*text;
}

static uint64_t seeds(void)
{
	const char *s = getenv("SEEDS");

	return s ? strtoull(s, NULL, 10) * 4 : 4000;
}

static void test_faults(void **state)
{
	unsigned outcomes[3] = { 0 };
	char text[200];

	for (uint64_t s = 1; s <= seeds(); s++) {
		if (!play(s, text, sizeof(text), outcomes))
			fail_msg("%s", text);
	}
	print_message("undecided %u, kept %u, moved %u\n", outcomes[0], outcomes[1], outcomes[2]);
	assert_true(outcomes[CSV_HO_MOVED] > 100 && outcomes[CSV_HO_KEPT] > 100);
}

#ifdef CSV_BUGS
static void find_bug(enum csv_bug bug)
{
	unsigned outcomes[3] = { 0 };
	char text[200] = "";
	uint64_t s;

	csv_bug_set(1ul << bug);
	for (s = 1; s <= 20000; s++) {
		if (!play(s, text, sizeof(text), outcomes))
			break;
	}
	csv_bug_set(0);
	print_message("found: %s\n", text);
	assert_true(*text);
}
static void test_bug_h3(void **state)
{
	find_bug(CSV_BUG_H3_OFFER_TO_ANYONE);
}
static void test_bug_h4(void **state)
{
	find_bug(CSV_BUG_H4_UNPARK_ON_UNKNOWN);
}
static void test_bug_h6(void **state)
{
	find_bug(CSV_BUG_H6_TAKEBACK_AFTER_RUN);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faults),
#ifdef CSV_BUGS
		cmocka_unit_test(test_bug_h3),
		cmocka_unit_test(test_bug_h4),
		cmocka_unit_test(test_bug_h6),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
