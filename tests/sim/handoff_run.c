/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is asked for, and when; how it has to end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/env.h"
#include "tests/sim/handoff.h"

/* Attempts at something; most find nothing to do. */
#define STEPS 800u
#define STORIES 6u

/* ---- requests ---- */

static void request(struct world *w, enum csv_ho_request req)
{
	static struct csv_ho_msg m;
	unsigned from = req == CSV_HO_REQ_TAKEBACK ? ho_pick(w, 2) : SRC;

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
	ho_send_msg(w, from, &m);
}

/* Whatever state it is in. What `commit` then says was not asked for. */
static void ask_foolishly(struct world *w)
{
	bool committed = w->committed;

	request(w, CSV_HO_REQ_COMMIT + ho_pick(w, 4));
	w->committed = committed;
}

static void ask(struct world *w)
{
	const struct csv_handoff *h = csv_ho_find(&w->node[SRC].table, w->id);

	if (!w->prepared) {
		w->prepared = true;
		request(w, CSV_HO_REQ_PREPARE);
	} else if (h && h->state == CSV_HO_PREPARED && !w->committed) {
		request(w, ho_pick(w, 8) ? CSV_HO_REQ_COMMIT : CSV_HO_REQ_ABORT);
	} else if (h && h->state == CSV_HO_ACTIVE && !ho_pick(w, 3)) {
		request(w, ho_pick(w, 3) ? CSV_HO_REQ_TAKEBACK : CSV_HO_REQ_FINISH);
	} else if (h && h->state != CSV_HO_PREPARED && !ho_pick(w, h->state == CSV_HO_DONE ? 100 : 16)) {
		ask_foolishly(w);
	}
}

/* ---- the run ---- */

static void random_step(struct world *w)
{
	unsigned n = ho_pick(w, NODES);
	struct node *x = &w->node[n];

	switch (ho_pick(w, 10)) {
	case 0:
	case 1:
		if (w->nbus)
			ho_deliver(w);
		break;
	case 2:
	case 3:
		if (x->fs && x->norders)
			ho_take_order(w, n);
		break;
	case 4:
		if (x->fs && x->agent.running)
			ho_job_step(w, n);
		else
			ho_try_again(w, n);
		break;
	case 5:
	case 6:
		if (x->fs && x->guest)
			ho_guest_step(w, n);
		break;
	case 7:
		if (w->node[SRC].lockd && !w->node[SRC].isolated)
			ask(w);
		break;
	case 8:
		if (w->rec[n] == REC_WAIT || w->rec[n] == REC_FENCED)
			ho_recovery(w, n);
		else if (x->path_lost && !ho_pick(w, 4))
			ho_give_up_path(w, n);
		else if (!x->lockd && x->up && ho_pick(w, 2))
			ho_lockd_back(w, n);
		else if (!x->lockd && x->up && x->fs && !ho_pick(w, 4) && (w->view.live >> n & 1) && !w->rec[n])
			ho_out(w, n);
		else if (w->rec[n] == REC_SENT && csv_ho_find(&w->node[2].table, w->id) && !ho_pick(w, 8))
			ho_new_life(w, n); /* the handoff is one between the first lives */
		break;
	case 9:
		if (w->faults && !ho_pick(w, 4))
			ho_fault(w);
		else if (!ho_pick(w, 4))
			ho_third_starts(w);
		break;
	default:
		break;
	}
}

/* No more faults: all that is under way comes to its end. */
static void settle(struct world *w)
{
	bool busy = true;

	w->faults = 0;
	for (unsigned n = 0; n < NODES; n++) {
		if (w->node[n].up && !w->node[n].lockd)
			ho_lockd_back(w, n);
	}
	for (unsigned i = 0; busy && i < 5000; i++) {
		busy = w->nbus > 0;
		if (!busy && w->rec[2] == REC_SENT)
			ho_new_life(w, 2); /* somebody must be there to read the disk */
		if (w->nbus)
			ho_deliver(w);
		for (unsigned n = 0; n < NODES; n++) {
			struct node *x = &w->node[n];

			if (x->path_lost)
				ho_give_up_path(w, n), busy = true;
			if (w->rec[n] == REC_WAIT || w->rec[n] == REC_FENCED)
				ho_recovery(w, n), busy = true;
			if (x->fs && x->norders)
				ho_take_order(w, n), busy = true;
			if (x->fs && x->inflight)
				ho_guest_step(w, n), busy = true;
			if (x->fs && x->agent.running)
				ho_job_step(w, n), busy = true;
			busy |= ho_try_again(w, n);
		}
	}
	if (busy)
		ho_violated(w, "does not come to rest", NOBODY);
}

static void check_rest(struct world *w)
{
	const struct csv_handoff *h = csv_ho_find(&w->node[2].table, w->id);
	const struct csv_ho_life *owner;

	for (unsigned f = 1; f < FILES; f++) {
		if (w->lease[f].slot != w->lease[0].slot || w->lease[f].incarnation != w->lease[0].incarnation)
			ho_violated(w, "leases of one bundle have two holders", f);
	}
	for (unsigned n = 0; n < 2; n++) {
		const struct node *x = &w->node[n];

		if (x->lockd && !x->isolated && csv_ho_digest(&x->table) != csv_ho_digest(&w->node[2].table))
			ho_violated(w, "members disagree", n);
		if (n == SRC && x->fs && x->lockd && !x->isolated && x->agent.handles == CSV_HO_H_LEASED &&
		    !w->ranges[n])
			ho_violated(w, "the source has its disks, but not its byte ranges", n);
		if (h && x->fs && x->guest && x->agent.handles == CSV_HO_H_LEASED && !ho_all_held(w, n))
			ho_violated(w, "writes without a lease", n);
	}
	if (!h)
		return;
	if (h->state != CSV_HO_DONE && h->state != CSV_HO_ACTIVE && h->state != CSV_HO_PREPARED)
		ho_violated(w, csv_ho_state_name(h->state), NOBODY);
	if (w->third_took)
		return;
	owner = csv_handoff_owner(h);
	if (owner && w->lease[0].slot != owner->slot)
		ho_violated(w, "status names the wrong owner", owner->slot);
	if (h->outcome == CSV_HO_KEPT && w->node[SRC].fs && w->node[SRC].incarnation == w->life[SRC] &&
	    w->node[SRC].handles != CSV_HO_H_LEASED)
		ho_violated(w, "kept, but the source's handles are not good", SRC);
	if (h->outcome == CSV_HO_MOVED && !ho_all_ours(w))
		ho_violated(w, "moved, but not on disk", NOBODY);
	if (h->outcome == CSV_HO_KEPT && ho_all_ours(w))
		ho_violated(w, "kept, but not on disk", NOBODY);
	if (w->said_moved && !w->takeback && h->outcome != CSV_HO_MOVED)
		ho_violated(w, "commit said moved, but it did not stay so", NOBODY);
	if (w->said_kept && h->outcome != CSV_HO_KEPT)
		ho_violated(w, "commit said kept, but it did not stay so", NOBODY);
}

static void world_new(struct world *w, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	w->seed = seed;
	w->rng = seed * 7919 + 1;
	ho_hosts(w);
	for (unsigned n = 0; n < NODES; n++) {
		struct node *x = &w->node[n];

		x->up = x->lockd = x->fs = x->attached = true;
		x->incarnation = 7 + n;
		w->view.live |= 1ull << n;
		w->view.incarnation[n] = x->incarnation;
		w->view.nodeid[n] = n + 1;
	}
	for (unsigned f = 0; f < FILES; f++)
		w->lease[f].epoch = 1;
}

/* What is left of the last handoff is ended, and who was recovered is there again. */
static void end_story(struct world *w)
{
	const struct csv_handoff *h = csv_ho_find(&w->node[2].table, w->id);

	for (unsigned n = 0; n < NODES; n++) {
		if (w->rec[n] == REC_SENT)
			ho_new_life(w, n);
	}
	settle(w);
	if (h && h->state != CSV_HO_DONE)
		request(w, h->state == CSV_HO_ACTIVE ? CSV_HO_REQ_FINISH : CSV_HO_REQ_ABORT);
	settle(w);
	if (h && h->state != CSV_HO_DONE)
		ho_violated(w, "cannot be ended", NOBODY);
}

/* The VM runs on the source, whatever was before. */
static void begin_story(struct world *w)
{
	w->prepared = w->committed = w->said_moved = w->said_kept = w->takeback = w->dst_wrote = w->third_took = false;
	w->faults = (unsigned)((w->seed + w->story) % 5);
	memset(w->id, (int)w->story + 1, sizeof(w->id));
	for (unsigned n = 0; n < NODES; n++) {
		struct node *x = &w->node[n];

		csv_ho_agent_init(&x->agent);
		x->handles = CSV_HO_H_PLAIN;
		x->guest = x->wrote = x->run_marked = x->apart = x->told_first = false;
		if (n < 2)
			w->life[n] = x->incarnation;
		w->ranges[n] = n == SRC;
	}
	for (unsigned f = 0; f < FILES; f++) {
		w->lease[f] = (struct lease){
			.slot = SRC, .incarnation = w->life[SRC], .epoch = w->lease[f].epoch + 1, .run = true
		};
	}
	w->node[SRC].guest = true;
	w->node[SRC].agent.src = true;
	w->node[SRC].agent.handles = w->node[SRC].handles = CSV_HO_H_LEASED;
	ho_trace(w, "handoff %u", w->story + 1);
}

static void play_story(struct world *w)
{
	const struct csv_handoff *h;

	begin_story(w);
	for (unsigned i = 0; i < STEPS && !*w->bad; i++, w->steps++)
		random_step(w);
	settle(w);
	check_rest(w);
	h = csv_ho_find(&w->node[2].table, w->id);
	w->tally[HO_OUTCOME + (h ? h->outcome : CSV_HO_NONE)]++;
	end_story(w);
}

static void world_free(struct world *w)
{
	for (unsigned n = 0; n < NODES; n++)
		csv_ho_table_free(&w->node[n].table);
	while (w->nbus)
		ho_pop_bus(w);
}

bool ho_play(uint64_t seed, char *text, size_t size, uint64_t *tally, struct sim_count *count, FILE *trace)
{
	static struct world w;

	world_new(&w, seed);
	w.tally = tally;
	w.trace = trace;
	for (w.story = 0; w.story < STORIES && !*w.bad; w.story++)
		play_story(&w);
	*count = w.count;
	snprintf(text, size, "%s", w.bad);
	world_free(&w);
	return !*text;
}
