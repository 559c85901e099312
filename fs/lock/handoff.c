/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/lock/handoff_int.h"
#include "lib/bug.h"

/* Pause before a job whose end is not known is run again. */
#define AGAIN_NS 1000000000ull

struct ho_order {
	struct csv_list link;
	struct csv_msg msg; /* HO_ORDER */
	uint64_t at_ns;	    /* when it came */
	unsigned nfiles;
	struct csv_msg_ho_file file[CSV_HO_FILES_MAX];
};

struct ho_mark {
	struct csv_list link;
	uint64_t ino;
};

struct ho_first {
	struct csv_list link;
	uint8_t id[CSV_HO_ID];
	double ms; /* since the order */
};

static uint64_t now_ns(const struct csv_handoffs *hs)
{
	return hs->cfg.fs->env->mono_ns(hs->cfg.fs->env);
}

static double ms_since(uint64_t from_ns, uint64_t now)
{
	return (double)(now - from_ns) / 1e6;
}

static const char *verb_text(enum csv_ho_verb verb)
{
#define NAME(name) #name,
	static const char *const names[] = { CSV_HO_VERBS(NAME) };
#undef NAME
	return (unsigned)verb < CSV_HO_VERB_COUNT ? names[verb] : "?";
}

/* ---- records in: the link's thread ---- */

static struct ho_order *parts(struct csv_handoffs *hs)
{
	if (!hs->parts)
		hs->parts = calloc(1, sizeof(*hs->parts));
	CSV_ASSERT(hs->parts);
	return hs->parts;
}

bool csv_handoffs_record(struct csv_handoffs *hs, const struct csv_msg *msg)
{
	struct ho_order *o;

	if (msg->type == CSV_MSG_HO_FILE) {
		o = parts(hs);
		if (o->nfiles < CSV_HO_FILES_MAX)
			o->file[o->nfiles++] = msg->ho_file;
	} else if (msg->type == CSV_MSG_HO_ORDER) {
		o = parts(hs);
		hs->parts = NULL;
		o->msg = *msg;
		o->at_ns = now_ns(hs);
		pthread_mutex_lock(&hs->mutex);
		csv_list_push_back(&hs->orders, &o->link);
		pthread_cond_signal(&hs->wake);
		pthread_mutex_unlock(&hs->mutex);
	} else {
		return false;
	}
	return true;
}

void csv_handoffs_lost(struct csv_handoffs *hs)
{
	struct csv_list *pos;

	pthread_mutex_lock(&hs->mutex);
	csv_list_for_each(pos, &hs->bundles)
		csv_list_entry(pos, struct ho_bundle, link)->named = false;
	pthread_mutex_unlock(&hs->mutex);
}

static void on_mark(void *arg, uint64_t ino)
{
	struct csv_handoffs *hs = arg;
	struct ho_mark *k = calloc(1, sizeof(*k));

	CSV_ASSERT(k);
	k->ino = ino;
	pthread_mutex_lock(&hs->mutex);
	csv_list_push_back(&hs->marks, &k->link);
	pthread_cond_signal(&hs->wake);
	pthread_mutex_unlock(&hs->mutex);
}

void csv_handoffs_first_io(struct csv_handoffs *hs, const uint8_t id[16], uint64_t ordered_ns)
{
	struct ho_first *f = calloc(1, sizeof(*f));

	if (!f)
		return; /* a figure is lost */
	memcpy(f->id, id, sizeof(f->id));
	f->ms = ms_since(ordered_ns, now_ns(hs));
	pthread_mutex_lock(&hs->mutex);
	csv_list_push_back(&hs->firsts, &f->link);
	pthread_cond_signal(&hs->wake);
	pthread_mutex_unlock(&hs->mutex);
}

/* ---- what opens ask: any thread ---- */

static bool has(const struct ho_bundle *b, uint64_t ino)
{
	for (unsigned i = 0; i < b->nfiles; i++) {
		if (b->file[i].ref.ino == ino)
			return true;
	}
	return false;
}

bool csv_handoffs_may_take(struct csv_handoffs *hs, uint64_t ino)
{
	struct csv_list *pos;
	bool may = true;

	pthread_mutex_lock(&hs->mutex);
	csv_list_for_each(pos, &hs->bundles) {
		const struct ho_bundle *b = csv_list_entry(pos, struct ho_bundle, link);

		if (b->undecided && has(b, ino) && !csv_ho_agent_may_take(&b->agent))
			may = false;
	}
	pthread_mutex_unlock(&hs->mutex);
	return may;
}

bool csv_handoffs_may_arm(struct csv_handoffs *hs, uint64_t ino)
{
	struct csv_list *pos;
	bool may = false;

	pthread_mutex_lock(&hs->mutex);
	csv_list_for_each(pos, &hs->bundles) {
		const struct ho_bundle *b = csv_list_entry(pos, struct ho_bundle, link);

		may |= b->armed && has(b, ino);
	}
	pthread_mutex_unlock(&hs->mutex);
	return may;
}

struct csv_gates *csv_handoffs_gates(struct csv_handoffs *hs)
{
	return hs->gates;
}

/* ---- answers ---- */

static void send_files(struct csv_handoffs *hs, const struct ho_bundle *b)
{
	for (unsigned i = 0; i < b->nfiles; i++) {
		struct csv_msg msg = { .type = CSV_MSG_HO_FILE };

		msg.ho_file.index = i;
		msg.ho_file.ino = b->file[i].ref.ino;
		msg.ho_file.gen = b->file[i].ref.gen;
		msg.ho_file.epoch = b->file[i].epoch;
		msg.ho_file.size = b->file[i].size;
		hs->cfg.send(hs->cfg.arg, &msg);
	}
}

static void answer(struct csv_handoffs *hs, struct ho_bundle *b, enum csv_ho_event_type event)
{
	bool files = event == CSV_HO_EV_COMMITTED || event == CSV_HO_EV_RETURNED;
	struct csv_msg msg = { .type = CSV_MSG_HO_ANSWER, .err = b->err };

	CSV_STOP(verb_text(b->agent.done), "answer");
	if (files)
		send_files(hs, b);
	memcpy(msg.ho.id, b->id, sizeof(msg.ho.id));
	msg.ho.event = event;
	msg.ho.nfiles = files ? b->nfiles : 0;
	msg.ho.drain_ms = b->times.drain;
	msg.ho.journal_ms = b->times.journal;
	msg.ho.home_ms = b->times.home;
	msg.ho.silence_ms = b->times.silence;
	if (event == CSV_HO_EV_ACTIVATED && !b->times.activate)
		b->times.activate = ms_since(b->ordered_ns, now_ns(hs));
	msg.ho.activate_ms = b->times.activate;
	memcpy(msg.ho.why, b->why, sizeof(msg.ho.why));
	hs->cfg.send(hs->cfg.arg, &msg); /* lost: csvlockd asks again when it is back */
}

/* ---- the states of handles ---- */

static const struct {
	enum csv_gate_mode gate;
	enum csv_handle_state state;
} modes[] = {
	[CSV_HO_H_PLAIN] = { CSV_GATE_OPEN, CSV_HANDLE_OPEN },
	[CSV_HO_H_ARMED] = { CSV_GATE_ARMED, CSV_HANDLE_ARMED },
	[CSV_HO_H_LEASED] = { CSV_GATE_OPEN, CSV_HANDLE_LEASED },
	[CSV_HO_H_PARKED] = { CSV_GATE_PARKED, CSV_HANDLE_PARKED },
	[CSV_HO_H_REVOKED] = { CSV_GATE_OPEN, CSV_HANDLE_REVOKED },
};

/* Handles first, then the gate: what it lets go must meet the new state. */
static bool set_handles(struct csv_handoffs *hs, struct ho_bundle *b, enum csv_ho_handles h)
{
	enum csv_gate_mode gate = modes[h].gate;

	/* The destination's first write waits for its run mark (H6); the source has written already. */
	if (h == CSV_HO_H_LEASED && b->agent.dst)
		gate = CSV_GATE_RUN;
	/* Parked for as long as the lease is not here again: a failure has withdrawn the volume. */
	if (h == CSV_HO_H_LEASED && b->agent.src && csv_ho_resume(hs, b) != CSV_OK)
		return false;
	if (h == CSV_HO_H_REVOKED && b->agent.src)
		CSV_STOP("REVOKE", "begin");
	pthread_mutex_lock(&hs->mutex);
	b->armed = h == CSV_HO_H_ARMED;
	pthread_mutex_unlock(&hs->mutex);
	for (unsigned i = 0; i < b->nfiles; i++) {
		const struct ho_file *f = &b->file[i];

		if (h == CSV_HO_H_LEASED && b->agent.dst)
			hs->cfg.adopt(hs->cfg.arg, f->ref, b->id, b->ordered_ns);
		if (h == CSV_HO_H_REVOKED || (h == CSV_HO_H_LEASED && b->agent.src))
			hs->cfg.revoke(hs->cfg.arg, f->ref, h == CSV_HO_H_REVOKED);
		if (h == CSV_HO_H_LEASED && b->agent.src)
			hs->cfg.ranges(hs->cfg.arg, f->ref, false);
		hs->cfg.state(hs->cfg.arg, f->ref, modes[h].state, f->epoch);
		csv_gate_set(hs->gates, f->ref.ino, gate);
	}
	return true;
}

/* ---- orders: the thread ---- */

static struct ho_bundle *bundle_of(struct csv_handoffs *hs, const uint8_t *id)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &hs->bundles) {
		struct ho_bundle *b = csv_list_entry(pos, struct ho_bundle, link);

		if (!memcmp(b->id, id, sizeof(b->id)))
			return b;
	}
	return NULL;
}

static struct ho_bundle *bundle_new(struct csv_handoffs *hs, const struct ho_order *o)
{
	const struct csv_msg_ho *ho = &o->msg.ho;
	struct ho_bundle *b = calloc(1, sizeof(*b));

	CSV_ASSERT(b);
	memcpy(b->id, ho->id, sizeof(b->id));
	memcpy(b->vm, ho->vm, sizeof(b->vm));
	b->vm[sizeof(b->vm) - 1] = 0;
	b->src =
	    (struct csv_ho_life){ .nodeid = ho->src_nodeid, .slot = ho->src_slot, .incarnation = ho->src_incarnation };
	b->dst =
	    (struct csv_ho_life){ .nodeid = ho->dst_nodeid, .slot = ho->dst_slot, .incarnation = ho->dst_incarnation };
	memcpy(b->src.node, ho->src_node, sizeof(b->src.node));
	memcpy(b->dst.node, ho->dst_node, sizeof(b->dst.node));
	csv_ho_agent_init(&b->agent);
	b->nfiles = o->nfiles;
	for (unsigned i = 0; i < o->nfiles; i++)
		b->file[i].ref = (struct csv_iref){ o->file[i].ino, o->file[i].gen };
	pthread_mutex_lock(&hs->mutex);
	csv_list_push_back(&hs->bundles, &b->link);
	pthread_mutex_unlock(&hs->mutex);
	return b;
}

static void carry_out(struct csv_handoffs *hs, struct ho_bundle *b, struct csv_ho_agent_acts *acts);

/* What is tried again and again is told when it is new. */
static void tell_end(struct ho_bundle *b, enum csv_ho_verb verb, enum csv_ho_job_end end)
{
	const uint8_t *id = b->id;
	bool known = b->told && b->told == b->err;

	b->told = end == CSV_HO_JOB_UNKNOWN ? b->err : CSV_OK;
	if (end != CSV_HO_JOB_OK && !known)
		csv_warn("handoff %02x%02x%02x%02x of %s: %s %s: %s", id[0], id[1], id[2], id[3], b->vm,
			 verb_text(verb), end == CSV_HO_JOB_NO ? "not possible" : "not known how it ended", b->why);
}

static void run_job(struct csv_handoffs *hs, struct ho_bundle *b, enum csv_ho_verb verb)
{
	struct csv_ho_agent_acts acts = { 0 };
	enum csv_ho_job_end end;

	b->err = CSV_OK;
	b->why[0] = 0;
	csv_log(b->told ? CSV_LOG_DEBUG : CSV_LOG_INFO, "handoff %02x%02x%02x%02x of %s: %s", b->id[0], b->id[1],
		b->id[2], b->id[3], b->vm, verb_text(verb));
	CSV_STOP(verb_text(verb), "begin");
	end = csv_ho_job(hs, b, verb);
	tell_end(b, verb, end);
	b->again_ns = now_ns(hs) + AGAIN_NS;
	csv_ho_agent_job(&b->agent, end, b->found, &acts);
	carry_out(hs, b, &acts);
}

/* Handles before the job that relies on them, answers in their place. */
static void carry_out(struct csv_handoffs *hs, struct ho_bundle *b, struct csv_ho_agent_acts *acts)
{
	bool good = true;

	for (unsigned i = 0; i < acts->n && good; i++) {
		if (acts->a[i].todo == CSV_HO_DO_HANDLES)
			good = set_handles(hs, b, acts->a[i].handles);
		else if (acts->a[i].todo == CSV_HO_DO_ANSWER)
			answer(hs, b, acts->a[i].event);
		else
			run_job(hs, b, acts->a[i].verb);
	}
}

static void forget(struct csv_handoffs *hs, struct ho_bundle *b)
{
	/* No take-back can come any more: the run mark says nothing to nobody. */
	for (unsigned i = 0; b->agent.handles == CSV_HO_H_LEASED && i < b->nfiles; i++)
		csv_gate_set(hs->gates, b->file[i].ref.ino, CSV_GATE_OPEN);
	csv_ho_drop_shares(hs, b);
	pthread_mutex_lock(&hs->mutex);
	csv_list_del(&b->link);
	pthread_mutex_unlock(&hs->mutex);
	free(b);
}

/*
 * No csvlockd knows this handoff any more: all of them have died.  Our own part is then decided by what we know to be
 * durable, and by the leases: exactly as their records would have said.
 */
static void settle(struct csv_handoffs *hs, struct ho_bundle *b)
{
	struct csv_ho_agent_acts acts = { 0 };
	enum csv_ho_job_end end = CSV_HO_JOB_OK;

	b->unsettled = false;
	if (b->agent.src && b->agent.committed) {
		csv_ho_agent_order(&b->agent, CSV_HO_REVOKE, CSV_HO_MOVED, &acts);
	} else if (b->agent.src && b->agent.answer == CSV_HO_EV_FAILED) {
		csv_ho_agent_order(&b->agent, CSV_HO_RESUME, CSV_HO_KEPT, &acts);
	} else if (b->armed) {
		b->err = CSV_OK;
		end = csv_ho_job(hs, b, CSV_HO_RESOLVE);
		tell_end(b, CSV_HO_RESOLVE, end);
		if (end != CSV_HO_JOB_OK && csv_fs_state(hs->cfg.fs) == CSV_OK) {
			b->unsettled = true;
			b->again_ns = now_ns(hs) + AGAIN_NS;
			return;
		}
		if (end == CSV_HO_JOB_OK && b->found == CSV_HO_EV_IS_DST)
			csv_ho_agent_order(&b->agent, CSV_HO_ACTIVATE, CSV_HO_NONE, &acts);
		else
			csv_ho_agent_order(&b->agent, CSV_HO_DECIDED, CSV_HO_KEPT, &acts);
	}
	b->undecided = b->agent.undecided = false;
	carry_out(hs, b, &acts);
}

static void settle_unnamed(struct csv_handoffs *hs)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &hs->bundles) {
		struct ho_bundle *b = csv_list_entry(pos, struct ho_bundle, link);

		if (!b->named)
			settle(hs, b);
	}
}

static void obey(struct csv_handoffs *hs, struct ho_order *o)
{
	const struct csv_msg_ho *ho = &o->msg.ho;
	enum csv_ho_verb verb = (enum csv_ho_verb)ho->verb;
	struct csv_ho_agent_acts acts = { 0 };
	struct ho_bundle *b = bundle_of(hs, ho->id);

	if (verb >= CSV_HO_VERB_COUNT)
		return;
	if (verb == CSV_HO_SYNC) {
		settle_unnamed(hs);
		return;
	}
	if (!b && !csv_ho_agent_begins((enum csv_ho_state)ho->state))
		return;
	if (!b)
		b = bundle_new(hs, o);
	b->named = true;
	b->unsettled = false;
	for (unsigned i = 0; i < b->nfiles && i < o->nfiles; i++) {
		if (o->file[i].epoch > b->file[i].epoch)
			b->file[i].epoch = o->file[i].epoch;
		b->file[i].size = o->file[i].size;
	}
	if (verb == CSV_HO_ACTIVATE && !b->ordered_ns)
		b->ordered_ns = o->at_ns;
	csv_ho_agent_order(&b->agent, verb, (enum csv_ho_outcome)ho->outcome, &acts);
	pthread_mutex_lock(&hs->mutex);
	b->undecided = b->agent.undecided;
	pthread_mutex_unlock(&hs->mutex);
	carry_out(hs, b, &acts);
	if (verb == CSV_HO_DECIDED && ho->state == CSV_HO_DONE)
		forget(hs, b);
}

static const struct ho_file *activated_file(struct csv_handoffs *hs, uint64_t ino)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &hs->bundles) {
		const struct ho_bundle *b = csv_list_entry(pos, struct ho_bundle, link);

		for (unsigned i = 0; b->agent.handles == CSV_HO_H_LEASED && i < b->nfiles; i++) {
			if (b->agent.dst && b->file[i].ref.ino == ino)
				return &b->file[i];
		}
	}
	return NULL;
}

/*
 * A mark that failed has withdrawn the volume: the waiters are told so by the gate.  One that was asked for just before
 * the handoff went back finds nothing to mark: the gate is another one by now.
 */
static void make_mark(struct csv_handoffs *hs, uint64_t ino)
{
	const struct ho_file *f = activated_file(hs, ino);
	enum csv_err err = f ? csv_ho_mark_run(hs, f) : CSV_STALE;

	CSV_STOP("RUN", "marked");
	if (err == CSV_OK)
		csv_gate_set(hs->gates, ino, CSV_GATE_OPEN);
	else
		csv_warn("run mark of inode %llu: %s", (unsigned long long)ino, csv_err_text(err));
}

/* From the thread: an answer's records come in a row. */
static void tell_first(struct csv_handoffs *hs, const struct ho_first *f)
{
	struct csv_msg msg = { .type = CSV_MSG_HO_ANSWER };

	memcpy(msg.ho.id, f->id, sizeof(msg.ho.id));
	msg.ho.event = CSV_HO_EV_FIRST_IO;
	msg.ho.first_ms = f->ms;
	hs->cfg.send(hs->cfg.arg, &msg);
}

static void work(struct csv_handoffs *hs)
{
	struct csv_list *first;

	while (!csv_list_empty(&hs->firsts)) {
		struct ho_first *f = csv_list_entry(hs->firsts.next, struct ho_first, link);

		csv_list_del(&f->link);
		pthread_mutex_unlock(&hs->mutex);
		tell_first(hs, f);
		free(f);
		pthread_mutex_lock(&hs->mutex);
	}
	while (!csv_list_empty(&hs->marks)) {
		struct ho_mark *k = csv_list_entry(hs->marks.next, struct ho_mark, link);

		csv_list_del(&k->link);
		pthread_mutex_unlock(&hs->mutex);
		make_mark(hs, k->ino);
		free(k);
		pthread_mutex_lock(&hs->mutex);
	}
	if (csv_list_empty(&hs->orders))
		return;
	first = hs->orders.next;
	csv_list_del(first);
	pthread_mutex_unlock(&hs->mutex);
	obey(hs, csv_list_entry(first, struct ho_order, link));
	free(csv_list_entry(first, struct ho_order, link));
	pthread_mutex_lock(&hs->mutex);
}

/* What ended without our knowing how, and is ours to find out. A volume that is out is recovered by others. */
static void run_again(struct csv_handoffs *hs)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &hs->bundles) {
		struct ho_bundle *b = csv_list_entry(pos, struct ho_bundle, link);
		struct csv_ho_agent_acts acts = { 0 };

		if (csv_fs_state(hs->cfg.fs) != CSV_OK || now_ns(hs) < b->again_ns)
			continue;
		if (b->unsettled) {
			settle(hs, b);
		} else if (b->agent.again) {
			csv_ho_agent_again(&b->agent, &acts);
			carry_out(hs, b, &acts);
		}
	}
}

static void *thread(void *arg)
{
	struct csv_handoffs *hs = arg;
	struct timespec ts;

	pthread_mutex_lock(&hs->mutex);
	while (!hs->stop) {
		if (csv_list_empty(&hs->orders) && csv_list_empty(&hs->marks) && csv_list_empty(&hs->firsts)) {
			clock_gettime(CLOCK_REALTIME, &ts);
			ts.tv_sec++;
			pthread_cond_timedwait(&hs->wake, &hs->mutex, &ts);
		}
		work(hs);
		pthread_mutex_unlock(&hs->mutex);
		run_again(hs);
		csv_gates_tick(hs->gates);
		pthread_mutex_lock(&hs->mutex);
	}
	pthread_mutex_unlock(&hs->mutex);
	return NULL;
}

/* ---- life ---- */

enum csv_err csv_handoffs_new(const struct csv_handoffs_cfg *cfg, struct csv_handoffs **out)
{
	struct csv_handoffs *hs = calloc(1, sizeof(*hs));
	enum csv_err err;

	if (!hs)
		return CSV_NOMEM;
	hs->cfg = *cfg;
	csv_list_init(&hs->bundles);
	csv_list_init(&hs->orders);
	csv_list_init(&hs->marks);
	csv_list_init(&hs->firsts);
	pthread_mutex_init(&hs->mutex, NULL);
	pthread_cond_init(&hs->wake, NULL);
	err = csv_gates_new(cfg->fs, on_mark, hs, &hs->gates);
	if (err == CSV_OK && pthread_create(&hs->thread, NULL, thread, hs)) {
		csv_gates_free(hs->gates);
		err = CSV_NOMEM;
	}
	if (err != CSV_OK) {
		free(hs);
		return err;
	}
	*out = hs;
	return CSV_OK;
}

static void free_list(struct csv_list *list, size_t off)
{
	while (!csv_list_empty(list)) {
		struct csv_list *pos = list->next;

		csv_list_del(pos);
		free((char *)pos - off);
	}
}

void csv_handoffs_free(struct csv_handoffs *hs)
{
	pthread_mutex_lock(&hs->mutex);
	hs->stop = true;
	pthread_cond_signal(&hs->wake);
	pthread_mutex_unlock(&hs->mutex);
	pthread_join(hs->thread, NULL);
	while (!csv_list_empty(&hs->bundles))
		forget(hs, csv_list_entry(hs->bundles.next, struct ho_bundle, link));
	free_list(&hs->orders, offsetof(struct ho_order, link));
	free_list(&hs->marks, offsetof(struct ho_mark, link));
	free_list(&hs->firsts, offsetof(struct ho_first, link));
	free(hs->parts);
	csv_gates_free(hs->gates);
	pthread_cond_destroy(&hs->wake);
	pthread_mutex_destroy(&hs->mutex);
	free(hs);
}
