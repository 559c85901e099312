/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "lib/bug.h"
#include "lib/log.h"
#include "migrate/target/agent.h"

void csv_ho_agent_init(struct csv_ho_agent *a)
{
	memset(a, 0, sizeof(*a));
	a->answer = CSV_HO_EV_COUNT;
}

bool csv_ho_agent_begins(enum csv_ho_state state)
{
	return state != CSV_HO_DONE || CSV_BUG(H5_OLD_REVOKE);
}

static struct csv_ho_agent_act *act(struct csv_ho_agent_acts *out, enum csv_ho_todo todo)
{
	CSV_ASSERT(out->n < sizeof(out->a) / sizeof(out->a[0]));
	out->a[out->n] = (struct csv_ho_agent_act){ .todo = todo };
	return &out->a[out->n++];
}

static void handles(struct csv_ho_agent *a, enum csv_ho_handles h, struct csv_ho_agent_acts *out)
{
	if (a->handles == h)
		return;
	a->handles = h;
	act(out, CSV_HO_DO_HANDLES)->handles = h;
}

static void answer(struct csv_ho_agent *a, enum csv_ho_event_type event, struct csv_ho_agent_acts *out)
{
	a->answer = event;
	act(out, CSV_HO_DO_ANSWER)->event = event;
}

static void start(struct csv_ho_agent *a, enum csv_ho_verb verb, struct csv_ho_agent_acts *out)
{
	a->running = verb;
	a->again = CSV_HO_NOTHING;
	act(out, CSV_HO_DO_JOB)->verb = verb;
}

/* One job at a time, each once; RESOLVE is the exception: it is only a read, and may be asked at different times. */
static void job(struct csv_ho_agent *a, enum csv_ho_verb verb, struct csv_ho_agent_acts *out)
{
	if (a->running) {
		a->next = verb == a->running ? CSV_HO_NOTHING : verb;
		return;
	}
	if (a->done == verb && verb != CSV_HO_RESOLVE) {
		if (a->answer != CSV_HO_EV_COUNT)
			answer(a, a->answer, out);
		return;
	}
	if (verb == CSV_HO_COMMIT || verb == CSV_HO_RETURN)
		handles(a, CSV_HO_H_PARKED, out);
	start(a, verb, out);
}

void csv_ho_agent_order(struct csv_ho_agent *a, enum csv_ho_verb verb, enum csv_ho_outcome outcome,
			struct csv_ho_agent_acts *out)
{
	if (verb == CSV_HO_RESUME || verb == CSV_HO_REVOKE)
		a->again = CSV_HO_NOTHING; /* it was found out */
	switch (verb) {
	case CSV_HO_WATCH:
		a->undecided = true;
		return;
	case CSV_HO_ARM:
	case CSV_HO_ACTIVATE:
	case CSV_HO_RETURN:
		a->dst = true;
		job(a, verb, out);
		return;
	case CSV_HO_COMMIT:
	case CSV_HO_RECLAIM:
		a->src = true;
		job(a, verb, out);
		return;
	case CSV_HO_RESOLVE:
		job(a, verb, out);
		return;
	case CSV_HO_RESUME:
		a->committed = false;
		if (a->src && a->handles != CSV_HO_H_PLAIN)
			handles(a, CSV_HO_H_LEASED, out);
		if (outcome != CSV_HO_KEPT)
			act(out, CSV_HO_DO_ANSWER)->event = CSV_HO_EV_RESUMED;
		return;
	case CSV_HO_REVOKE:
		a->src = true;
		handles(a, CSV_HO_H_REVOKED, out);
		return;
	case CSV_HO_DECIDED:
		a->undecided = false;
		if (a->dst && outcome == CSV_HO_KEPT)
			handles(a, CSV_HO_H_PLAIN, out);
		return;
	case CSV_HO_NOTHING:
	case CSV_HO_SYNC:
	case CSV_HO_VERB_COUNT:
		return;
	}
}

static void job_ok(struct csv_ho_agent *a, enum csv_ho_verb verb, enum csv_ho_event_type found,
		   struct csv_ho_agent_acts *out)
{
	if (verb == CSV_HO_ARM) {
		handles(a, CSV_HO_H_ARMED, out);
		answer(a, CSV_HO_EV_ARMED, out);
	} else if (verb == CSV_HO_COMMIT) {
		a->committed = true;
		answer(a, CSV_HO_EV_COMMITTED, out);
	} else if (verb == CSV_HO_ACTIVATE) {
		handles(a, CSV_HO_H_LEASED, out);
		answer(a, CSV_HO_EV_ACTIVATED, out);
	} else if (verb == CSV_HO_RESOLVE) {
		answer(a, found, out);
	} else {
		if (verb == CSV_HO_RETURN) /* until DECIDED: not ours to write */
			handles(a, CSV_HO_H_REVOKED, out);
		answer(a, CSV_HO_EV_RETURNED, out);
	}
}

static void job_no(struct csv_ho_agent *a, enum csv_ho_verb verb, struct csv_ho_agent_acts *out)
{
	if (verb == CSV_HO_ARM) {
		answer(a, CSV_HO_EV_REFUSED, out);
	} else if (verb == CSV_HO_COMMIT) { /* stays parked until all know: RESUME */
		answer(a, CSV_HO_EV_FAILED, out);
	} else if (verb == CSV_HO_ACTIVATE) {
		answer(a, CSV_HO_EV_UNABLE, out);
	} else if (verb != CSV_HO_RESOLVE) {
		if (verb == CSV_HO_RETURN)
			handles(a, CSV_HO_H_LEASED, out);
		answer(a, CSV_HO_EV_RAN, out);
	}
}

void csv_ho_agent_job(struct csv_ho_agent *a, enum csv_ho_job_end end, enum csv_ho_event_type found,
		      struct csv_ho_agent_acts *out)
{
	enum csv_ho_verb verb = a->running;

	CSV_ASSERT(verb != CSV_HO_NOTHING);
	a->running = CSV_HO_NOTHING;
	a->done = verb;
	a->answer = CSV_HO_EV_COUNT;
	if (end == CSV_HO_JOB_UNKNOWN && CSV_BUG(H4_UNPARK_ON_UNKNOWN) && verb == CSV_HO_COMMIT)
		end = CSV_HO_JOB_NO;
	if (end == CSV_HO_JOB_OK) {
		job_ok(a, verb, found, out);
	} else if (end == CSV_HO_JOB_NO) {
		job_no(a, verb, out);
	} else if (verb == CSV_HO_RESOLVE || verb == CSV_HO_RECLAIM) {
		a->again = verb;
		a->done = CSV_HO_NOTHING;
	}
	verb = a->next;
	a->next = CSV_HO_NOTHING;
	if (verb)
		job(a, verb, out);
}

void csv_ho_agent_again(struct csv_ho_agent *a, struct csv_ho_agent_acts *out)
{
	if (a->again && !a->running)
		start(a, a->again, out);
}

bool csv_ho_agent_may_take(const struct csv_ho_agent *a)
{
	return !a->undecided || CSV_BUG(H3_OFFER_TO_ANYONE);
}

bool csv_ho_may_return(bool run)
{
	return !run || CSV_BUG(H6_TAKEBACK_AFTER_RUN);
}
