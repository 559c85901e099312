/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The csvfs of each node: the real agent, jobs on the leases, a guest that writes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/env.h"
#include "tests/sim/handoff.h"

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
	ho_send_msg(w, n, &m);
}

/* Who is out, and not yet recovered, has the others wait; nobody is refused for his sake. */
static void ranges_follow(struct world *w, unsigned n, enum csv_ho_handles h)
{
	if (h == CSV_HO_H_LEASED && n == SRC && w->node[n].apart) {
		w->node[n].apart = false;
		ho_send_ranges(w, n, true);
	}
	if (h == CSV_HO_H_LEASED && n == DST && w->ranges[SRC] && (w->view.live >> SRC & 1))
		ho_violated(w, "the destination's byte-range locks are refused", n);
}

static void carry_out(struct world *w, unsigned n, const struct csv_ho_agent_acts *acts)
{
	for (unsigned i = 0; i < acts->n; i++) {
		if (acts->a[i].todo == CSV_HO_DO_JOB)
			w->node[n].phase = 0;
		if (acts->a[i].todo == CSV_HO_DO_ANSWER)
			answer(w, n, acts->a[i].event);
		if (acts->a[i].todo == CSV_HO_DO_HANDLES)
			w->node[n].handles = acts->a[i].handles;
		if (acts->a[i].todo == CSV_HO_DO_HANDLES)
			ranges_follow(w, n, acts->a[i].handles);
		if (acts->a[i].todo == CSV_HO_DO_HANDLES && n == DST)
			w->node[n].guest |= acts->a[i].handles == CSV_HO_H_LEASED;
	}
}

/* Of an earlier handoff: a csvfs has forgotten it. What it did to the handles all the same would be done to them. */
static void take_old_order(struct world *w, unsigned n, const struct fs_order *o)
{
	struct csv_ho_agent_acts acts = { 0 };
	struct csv_ho_agent a;

	if (!csv_ho_agent_begins(o->state))
		return;
	csv_ho_agent_init(&a);
	csv_ho_agent_order(&a, o->verb, o->outcome, &acts);
	for (unsigned i = 0; i < acts.n; i++) {
		if (acts.a[i].todo == CSV_HO_DO_HANDLES)
			w->node[n].handles = acts.a[i].handles;
	}
}

void ho_take_order(struct world *w, unsigned n)
{
	struct node *x = &w->node[n];
	struct csv_ho_agent_acts acts = { 0 };
	struct fs_order o = x->order[0];

	w->count.events++;
	ho_trace(w, "n%u csvfs is told %s of %u", n + 1, csv_ho_verb_name(o.verb), o.story);
	memmove(&x->order[0], &x->order[1], --x->norders * sizeof(x->order[0]));
	if (o.story && o.story != w->id[0]) {
		take_old_order(w, n, &o);
		return;
	}
	if (n == SRC && x->incarnation == w->life[SRC] && x->agent.handles == CSV_HO_H_PLAIN)
		x->agent.handles = CSV_HO_H_LEASED; /* the source's handles are what the VM has opened */
	csv_ho_agent_order(&x->agent, o.verb, o.outcome, &acts);
	carry_out(w, n, &acts);
}

/* One transaction: all leases or none. */
static void give(struct world *w, unsigned to, uint32_t life, bool ours)
{
	ho_trace(w, "leases: slot %u.%u", to, life);
	for (unsigned f = 0; f < FILES; f++) {
		w->lease[f] =
		    (struct lease){ .slot = to, .incarnation = life, .epoch = w->lease[f].epoch + 1, .ours = ours };
	}
}

bool ho_all_held(const struct world *w, unsigned n)
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
	bool lost = w->faults && !ho_pick(w, 10); /* the answer to the commit write does not come */

	if (verb == CSV_HO_ARM || verb == CSV_HO_ACTIVATE)
		return ho_pick(w, 12) ? CSV_HO_JOB_OK : CSV_HO_JOB_NO;
	if (verb == CSV_HO_RESOLVE || verb == CSV_HO_RECLAIM) {
		if (w->faults && !ho_pick(w, 3))
			return CSV_HO_JOB_UNKNOWN; /* a lease cannot be read at the moment */
	}
	if (!writes)
		return CSV_HO_JOB_OK;
	if (verb == CSV_HO_COMMIT && (!ho_pick(w, 12) || !ho_all_held(w, n)))
		return CSV_HO_JOB_NO;
	if (verb == CSV_HO_RETURN && (!may_return(w) || !ho_all_held(w, n)))
		return CSV_HO_JOB_NO;
	if (verb == CSV_HO_RECLAIM && ho_all_held(w, n))
		return CSV_HO_JOB_OK; /* it was given back by one who could not tell any more */
	if (verb == CSV_HO_RECLAIM && !may_return(w))
		return CSV_HO_JOB_NO;
	if (!lost || ho_pick(w, 2))
		give(w, verb == CSV_HO_COMMIT ? DST : SRC, verb == CSV_HO_COMMIT ? w->life[DST] : w->life[SRC],
		     verb == CSV_HO_COMMIT);
	if (!lost)
		return CSV_HO_JOB_OK;
	w->faults--;
	w->count.faults++;
	ho_trace(w, "n%u is not told what became of its %s", n + 1, csv_ho_verb_name(verb));
	w->node[n].path_lost = true;
	return CSV_HO_JOB_UNKNOWN;
}

static enum csv_ho_event_type found(const struct world *w)
{
	if (ho_all_ours(w))
		return CSV_HO_EV_IS_DST;
	return w->lease[0].slot == SRC ? CSV_HO_EV_IS_SRC : CSV_HO_EV_IS_OTHER;
}

void ho_job_step(struct world *w, unsigned n)
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
	w->count.events++;
	ho_trace(w, "n%u csvfs did %s: %s", n + 1, csv_ho_verb_name(verb),
		 end == CSV_HO_JOB_OK	? "ok"
		 : end == CSV_HO_JOB_NO ? "no"
					: "unknown");
	if (verb == CSV_HO_COMMIT && end == CSV_HO_JOB_OK) { /* before the answer */
		x->apart = true;
		ho_send_ranges(w, n, false);
	}
	csv_ho_agent_job(&x->agent, end, found(w), &acts);
	carry_out(w, n, &acts);
}

/* A csvfs whose volume is out does not try again. */
bool ho_try_again(struct world *w, unsigned n)
{
	struct node *x = &w->node[n];
	struct csv_ho_agent_acts acts = { 0 };

	if (!x->fs || !x->agent.again || x->path_lost)
		return false;
	w->count.events++;
	csv_ho_agent_again(&x->agent, &acts);
	carry_out(w, n, &acts);
	return acts.n;
}

/* ---- the guest ---- */

/* An epoch is one writer's. */
static void note_writer(struct world *w, unsigned n, const struct lease *l)
{
	struct writer *first = &w->writer[l - w->lease][l->epoch < EPOCHS ? l->epoch : 0];
	struct writer now = { n, w->node[n].incarnation };

	if (!first->incarnation)
		*first = now;
	if (first->slot != now.slot || first->incarnation != now.incarnation)
		ho_violated(w, "two have written under one epoch", n);
}

void ho_guest_step(struct world *w, unsigned n)
{
	struct node *x = &w->node[n];
	struct lease *l = &w->lease[ho_pick(w, FILES)];

	w->count.events++;
	if (x->inflight) { /* a write reaches the disk; the fence would have refused it */
		x->inflight--;
		if (w->fenced[n] == x->incarnation)
			return;
		if (!holds(w, n, l))
			ho_violated(w, "write by one who does not hold the lease", n);
		if (n == SRC && w->dst_wrote)
			ho_violated(w, "the source writes over what the destination has written", n);
		note_writer(w, n, l);
		w->dst_wrote |= n == DST;
		x->wrote = true;
		if (n == DST && !x->told_first)
			answer(w, n, CSV_HO_EV_FIRST_IO);
		x->told_first = n == DST;
		return;
	}
	if (x->handles != CSV_HO_H_LEASED || (x->agent.running == CSV_HO_RETURN))
		return;
	if (n == DST && !x->run_marked) { /* H6: before the first write, durable */
		for (unsigned f = 0; f < FILES; f++) {
			if (!holds(w, n, &w->lease[f])) {
				ho_violated(w, "run mark by one who does not hold the lease", n);
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
void ho_third_starts(struct world *w)
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
			ho_violated(w, "a third node took an undecided lease", 2);
	}
	w->third_took = true;
	give(w, 2, x->incarnation, false);
}
