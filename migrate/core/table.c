/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "migrate/core/table.h"

void csv_ho_table_init(struct csv_ho_table *t, const struct csv_ho_host *host)
{
	memset(t, 0, sizeof(*t));
	t->host = *host;
	t->next = 1;
}

void csv_ho_table_free(struct csv_ho_table *t)
{
	for (unsigned i = 0; i < t->n; i++)
		free(t->rec[i]);
	t->n = 0;
	t->next = 1;
}

static struct csv_handoff *find(const struct csv_ho_table *t, const uint8_t *id)
{
	for (unsigned i = 0; i < t->n; i++) {
		if (!memcmp(t->rec[i]->plan.id, id, CSV_HO_ID))
			return t->rec[i];
	}
	return NULL;
}

const struct csv_handoff *csv_ho_find(const struct csv_ho_table *t, const uint8_t id[CSV_HO_ID])
{
	return find(t, id);
}

static bool has_file(const struct csv_ho_plan *p, uint64_t ino)
{
	for (unsigned i = 0; i < p->nfiles; i++) {
		if (p->file[i].ino == ino)
			return true;
	}
	return false;
}

const struct csv_handoff *csv_ho_of_file(const struct csv_ho_table *t, const uint8_t *uuid, uint64_t ino)
{
	for (unsigned i = 0; i < t->n; i++) {
		const struct csv_handoff *h = t->rec[i];

		if (csv_handoff_undecided(h) && !memcmp(h->plan.uuid, uuid, 16) && has_file(&h->plan, ino))
			return h;
	}
	return NULL;
}

static void carry_out(struct csv_ho_table *t, const struct csv_handoff *h, const struct csv_ho_actions *acts)
{
	const struct csv_ho_host *host = &t->host;

	for (unsigned i = 0; i < acts->n; i++) {
		const struct csv_ho_action *a = &acts->a[i];

		if (a->act == CSV_HO_ACT_MOVE)
			host->move(host->arg, h, a->from, a->to);
		else if (a->act == CSV_HO_ACT_TELL)
			host->tell(host->arg, h, a->verb);
		else
			host->order(host->arg, h, a->verb, a->slot, a->incarnation);
	}
}

static bool step(struct csv_ho_table *t, struct csv_handoff *h, struct csv_ho_event *ev)
{
	struct csv_ho_actions acts = { 0 };
	struct csv_ho_view view;

	if (!t->host.view(t->host.arg, h->plan.uuid, &view))
		memset(&view, 0, sizeof(view));
	ev->view = &view;
	if (!csv_handoff_step(h, ev, &acts))
		return false;
	carry_out(t, h, &acts);
	t->host.changed(t->host.arg, h);
	return true;
}

static void reply(struct csv_ho_table *t, uint32_t sender, uint64_t token, const struct csv_handoff *h,
		  enum csv_err err, const char *why)
{
	if (sender == t->host.nodeid)
		t->host.reply(t->host.arg, token, h, err, why);
}

/* ---- PREPARE ---- */

static bool fill_life(const struct csv_ho_view *v, struct csv_ho_life *l)
{
	for (uint32_t s = 0; s < CSV_SLOTS_MAX; s++) {
		if ((v->live >> s & 1) && v->nodeid[s] == l->nodeid) {
			l->slot = s;
			l->incarnation = v->incarnation[s];
			return true;
		}
	}
	return false;
}

static bool plans_meet(const struct csv_ho_plan *a, const struct csv_ho_plan *b)
{
	if (memcmp(a->uuid, b->uuid, 16))
		return false;
	if (*a->vm && !strcmp(a->vm, b->vm))
		return true;
	for (unsigned i = 0; i < a->nfiles; i++) {
		if (has_file(b, a->file[i].ino))
			return true;
	}
	return false;
}

/*
 * One handoff per VM and file.  One that has moved and whose destination now is the source is as good as finished: the
 * VM runs there.  So is one whose destination has died: who asks now holds the leases, so the VM was started anew.
 */
static struct csv_handoff *in_the_way(struct csv_ho_table *t, const struct csv_ho_plan *p)
{
	for (unsigned i = 0; i < t->n; i++) {
		struct csv_handoff *h = t->rec[i];
		struct csv_ho_event ev = { .type = CSV_HO_EV_FINISH };

		if (h->state == CSV_HO_DONE || !plans_meet(&h->plan, p))
			continue;
		if (h->state != CSV_HO_ACTIVE || (h->plan.dst.nodeid != p->src.nodeid && !h->dst_out) ||
		    !step(t, h, &ev))
			return h;
	}
	return NULL;
}

static void drop_oldest(struct csv_ho_table *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		if (t->rec[i]->state != CSV_HO_DONE)
			continue;
		free(t->rec[i]);
		memmove(&t->rec[i], &t->rec[i + 1], (t->n - i - 1) * sizeof(t->rec[0]));
		t->n--;
		return;
	}
}

static void id_text(const uint8_t *id, char text[2 * CSV_HO_ID + 1])
{
	for (unsigned i = 0; i < CSV_HO_ID; i++)
		snprintf(text + 2 * i, 3, "%02x", id[i]);
}

/* Why a plan cannot be taken in; CSV_OK: it can, and its lives are filled in. */
static enum csv_err refuse(struct csv_ho_table *t, struct csv_ho_plan *p, char *why, size_t size)
{
	struct csv_handoff *other;
	char id[2 * CSV_HO_ID + 1];
	struct csv_ho_view view;

	if (!t->host.view(t->host.arg, p->uuid, &view) || !fill_life(&view, &p->src)) {
		snprintf(why, size, "node %s has not mounted the volume", p->src.node);
		return CSV_NOENT;
	}
	if (!fill_life(&view, &p->dst)) {
		snprintf(why, size, "node %s has not mounted the volume", p->dst.node);
		return CSV_UNREACH;
	}
	if (p->src.slot == p->dst.slot || !p->nfiles) {
		snprintf(why, size, "%s",
			 p->nfiles ? "source and destination are the same node" : "nothing to hand over");
		return CSV_INVAL;
	}
	other = in_the_way(t, p);
	if (other) {
		id_text(other->plan.id, id);
		snprintf(why, size, "handoff %s of %s to %s is %s already", id,
			 *other->plan.vm ? other->plan.vm : "these files", other->plan.dst.node,
			 csv_ho_state_name(other->state));
		return CSV_BUSY;
	}
	return CSV_OK;
}

static void on_prepare(struct csv_ho_table *t, uint32_t sender, struct csv_ho_msg *m)
{
	struct csv_ho_actions acts = { 0 };
	char why[CSV_HO_WHY_MAX] = "";
	struct csv_handoff *h;
	enum csv_err err;

	if (m->plan.src.nodeid != sender || find(t, m->plan.id))
		return;
	err = refuse(t, &m->plan, why, sizeof(why));
	if (!err && t->n == CSV_HO_RECORDS_MAX)
		drop_oldest(t);
	if (!err && t->n == CSV_HO_RECORDS_MAX) {
		err = CSV_BUSY;
		snprintf(why, sizeof(why), "%u handoffs are under way", t->n);
	}
	if (err) {
		reply(t, sender, m->token, NULL, err, why);
		return;
	}
	h = calloc(1, sizeof(*h));
	CSV_ASSERT(h);
	csv_handoff_start(h, &m->plan, &acts);
	h->number = t->next++;
	t->rec[t->n++] = h;
	carry_out(t, h, &acts);
	t->host.changed(t->host.arg, h);
	reply(t, sender, m->token, h, CSV_OK, "");
}

/* ---- requests and answers ---- */

static enum csv_ho_event_type request_event(enum csv_ho_request req)
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

static const char *request_name(enum csv_ho_request req)
{
	static const char *const names[] = { "?", "prepare", "commit", "abort", "takeback", "finish" };

	return names[req];
}

/*
 * A request that comes too late but wants what is, or what is under way, is taken in: hooks are killed and run again.
 * Only the source may commit: its word is what parks the I/O.
 */
static void on_request(struct csv_ho_table *t, uint32_t sender, const struct csv_ho_msg *m)
{
	struct csv_ho_event ev = { .type = request_event(m->req), .why = m->why };
	struct csv_handoff *h = find(t, m->id);
	char why[CSV_HO_WHY_MAX];
	bool again;

	if (ev.type == CSV_HO_EV_COUNT)
		return;
	if (!h) {
		reply(t, sender, m->token, NULL, CSV_NOENT, "no such handoff");
		return;
	}
	if (m->req == CSV_HO_REQ_COMMIT && sender != h->plan.src.nodeid) {
		snprintf(why, sizeof(why), "a handoff is committed on its source, %s", h->plan.src.node);
		reply(t, sender, m->token, h, CSV_INVAL, why);
		return;
	}
	if (!step(t, h, &ev)) {
		again = h->state == CSV_HO_DONE || (m->req == CSV_HO_REQ_COMMIT && h->state >= CSV_HO_COMMITTING) ||
			(m->req == CSV_HO_REQ_TAKEBACK && h->state == CSV_HO_RETURNING);
		if (!again) {
			snprintf(why, sizeof(why), "it is %s: %s is not possible now", csv_ho_state_name(h->state),
				 request_name(m->req));
			reply(t, sender, m->token, h, CSV_BUSY, why);
			return;
		}
	}
	reply(t, sender, m->token, h, CSV_OK, "");
}

static void on_answer(struct csv_ho_table *t, struct csv_ho_msg *m)
{
	struct csv_handoff *h = find(t, m->id);
	struct csv_ho_event ev = { .type = m->event,
				   .slot = m->slot,
				   .incarnation = m->incarnation,
				   .err = m->err,
				   .why = m->why,
				   .times = m->times,
				   .nfiles = m->plan.nfiles,
				   .file = m->plan.file,
				   .uri = m->plan.uri };

	if (h && m->event < CSV_HO_EV_GO)
		step(t, h, &ev);
}

void csv_ho_deliver(struct csv_ho_table *t, uint32_t sender, const uint8_t *data, size_t len)
{
	struct csv_ho_msg *m = malloc(sizeof(*m));

	CSV_ASSERT(m);
	if (csv_ho_msg_decode(m, data, len)) {
		if (m->kind == CSV_HO_MSG_PREPARE)
			on_prepare(t, sender, m);
		else if (m->kind == CSV_HO_MSG_REQUEST)
			on_request(t, sender, m);
		else
			on_answer(t, m);
	}
	free(m);
}

void csv_ho_life(struct csv_ho_table *t, const uint8_t *uuid, enum csv_ho_event_type type, uint32_t slot,
		 uint32_t incarnation)
{
	for (unsigned i = 0; i < t->n; i++) {
		struct csv_ho_event ev = { .type = type, .slot = slot, .incarnation = incarnation };

		if (!memcmp(t->rec[i]->plan.uuid, uuid, 16))
			step(t, t->rec[i], &ev);
	}
}

enum status { ALIVE, ENDED, GONE };

static enum status status_of(const struct csv_ho_view *v, uint32_t slot, uint32_t incarnation)
{
	if (slot >= CSV_SLOTS_MAX || v->incarnation[slot] != incarnation)
		return GONE;
	if (v->live >> slot & 1)
		return ALIVE;
	return v->out >> slot & 1 ? ENDED : GONE;
}

static void tell_life(struct csv_ho_table *t, struct csv_handoff *h, enum csv_ho_event_type type, uint32_t slot,
		      uint32_t incarnation)
{
	struct csv_ho_event ev = { .type = type, .slot = slot, .incarnation = incarnation };

	step(t, h, &ev);
}

static void sync_party(struct csv_ho_table *t, struct csv_handoff *h, const struct csv_ho_view *v,
		       const struct csv_ho_life *l, const bool *out, const bool *recovered)
{
	enum status s = status_of(v, l->slot, l->incarnation);

	if (s != ALIVE && !*out)
		tell_life(t, h, CSV_HO_EV_OUT, l->slot, l->incarnation);
	if (s == GONE && !*recovered)
		tell_life(t, h, CSV_HO_EV_RECOVERED, l->slot, l->incarnation);
}

static void sync_record(struct csv_ho_table *t, struct csv_handoff *h, const struct csv_ho_view *v)
{
	sync_party(t, h, v, &h->plan.src, &h->src_out, &h->src_recovered);
	sync_party(t, h, v, &h->plan.dst, &h->dst_out, &h->dst_recovered);
	if (h->state != CSV_HO_RESOLVING)
		return;
	if (h->order == CSV_HO_NOTHING)
		tell_life(t, h, CSV_HO_EV_LIVE, CSV_SLOTS_MAX, 0);
	else if (status_of(v, h->actor_slot, h->actor_incarnation) != ALIVE)
		tell_life(t, h, CSV_HO_EV_OUT, h->actor_slot, h->actor_incarnation);
}

void csv_ho_sync(struct csv_ho_table *t, const uint8_t *uuid)
{
	struct csv_ho_view view;

	if (!t->n || !t->host.view(t->host.arg, uuid, &view))
		return;
	for (unsigned i = 0; i < t->n; i++) {
		if (!memcmp(t->rec[i]->plan.uuid, uuid, 16))
			sync_record(t, t->rec[i], &view);
	}
}

void csv_ho_greet(struct csv_ho_table *t, const uint8_t *uuid, uint32_t slot, uint32_t incarnation)
{
	for (unsigned i = 0; i < t->n; i++) {
		struct csv_ho_actions acts = { 0 };

		if (memcmp(t->rec[i]->plan.uuid, uuid, 16))
			continue;
		csv_handoff_greet(t->rec[i], slot, incarnation, &acts);
		carry_out(t, t->rec[i], &acts);
	}
	t->host.order(t->host.arg, NULL, CSV_HO_SYNC, slot, incarnation);
}
