/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The replicated state's objects: finding, making, freeing. No rule of the protocol is in here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bug.h"
#include "lib/log.h"
#include "lockd/core/state.h"

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

static void *must_calloc(size_t size)
{
	void *p = calloc(1, size);

	CSV_ASSERT(p);
	return p;
}

static int space_cmp(const void *key, const struct csv_omap_node *n)
{
	return memcmp(key, csv_omap_entry(n, const struct csv_space, node)->uuid, 16);
}

static int rsb_cmp(const void *key, const struct csv_omap_node *n)
{
	const struct csv_res *a = key, *b = &csv_omap_entry(n, const struct csv_rsb, node)->res;
	int c = COMPARE(a->type, b->type);

	return c ? c : COMPARE(a->id, b->id);
}

void csv_state_init(struct csv_state *s)
{
	*s = (struct csv_state){ 0 };
	csv_omap_init(&s->spaces, space_cmp);
}

static void space_free(struct csv_space *sp)
{
	while (!csv_list_empty(&sp->places))
		csv_place_free(sp, csv_list_entry(sp->places.next, struct csv_place, link));
	while (!csv_list_empty(&sp->brl_waits))
		csv_brl_wait_free(sp, csv_list_entry(sp->brl_waits.next, struct csv_brl_wait, link));
	CSV_ASSERT(!sp->rsbs.count);
	csv_brl_free(sp->brl);
	free(sp);
}

void csv_state_clear(struct csv_state *s)
{
	struct csv_omap_node *n;

	while ((n = csv_omap_first(&s->spaces))) {
		csv_omap_del(&s->spaces, n);
		space_free(csv_space_of(n));
	}
	csv_ho_table_free(&s->ho);
}

int csv_state_member(const struct csv_state *s, uint32_t nodeid)
{
	for (unsigned i = 0; i < s->nmembers; i++) {
		if (s->member[i] == nodeid)
			return (int)i;
	}
	return -1;
}

uint64_t csv_state_all(const struct csv_state *s)
{
	return s->nmembers == 64 ? UINT64_MAX : (1ull << s->nmembers) - 1;
}

bool csv_space_has_node(const struct csv_space *sp, uint32_t nodeid)
{
	for (unsigned i = 0; i < CSV_SLOTS_MAX; i++) {
		if (sp->slot[i].life != CSV_LIFE_FREE && sp->slot[i].nodeid == nodeid)
			return true;
	}
	return false;
}

struct csv_space *csv_space_find(const struct csv_state *s, const uint8_t *uuid)
{
	return csv_space_of(csv_omap_find(&s->spaces, uuid));
}

struct csv_space *csv_space_make(struct csv_state *s, const uint8_t *uuid, const char *name)
{
	struct csv_space *sp = csv_space_find(s, uuid);

	if (sp)
		return sp;
	sp = must_calloc(sizeof(*sp));
	memcpy(sp->uuid, uuid, sizeof(sp->uuid));
	strncpy(sp->name, name, sizeof(sp->name) - 1);
	sp->verifier = sp->rec = CSV_NO_SLOT;
	sp->rec_last = sp->verify_last = CSV_SLOTS_MAX - 1;
	csv_list_init(&sp->places);
	csv_list_init(&sp->brl_waits);
	csv_brl_waits_init(&sp->brl_queue);
	csv_omap_init(&sp->rsbs, rsb_cmp);
	sp->brl = csv_brl_new();
	csv_omap_insert(&s->spaces, uuid, &sp->node);
	return sp;
}

struct csv_place *csv_place_new(struct csv_space *sp, uint32_t nodeid, uint64_t client)
{
	struct csv_place *p = must_calloc(sizeof(*p));

	p->id = sp->next_place++;
	p->nodeid = nodeid;
	p->client = client;
	p->slot = CSV_NO_SLOT;
	p->bound = true;
	csv_list_init(&p->locks);
	csv_list_push_back(&sp->places, &p->link);
	return p;
}

struct csv_place *csv_place_bound(const struct csv_space *sp, uint32_t nodeid)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &sp->places) {
		struct csv_place *p = csv_list_entry(pos, struct csv_place, link);

		if (p->bound && p->nodeid == nodeid)
			return p;
	}
	return NULL;
}

struct csv_place *csv_place_by_id(const struct csv_space *sp, uint32_t id)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &sp->places) {
		struct csv_place *p = csv_list_entry(pos, struct csv_place, link);

		if (p->id == id)
			return p;
	}
	return NULL;
}

void csv_place_unbind(struct csv_space *sp, struct csv_place *p)
{
	struct csv_list *pos, *tmp;

	p->bound = false;
	csv_list_for_each_safe(pos, tmp, &p->locks) {
		struct csv_lkb *l = csv_list_entry(pos, struct csv_lkb, place_link);
		struct csv_rsb *r = l->rsb;

		if (!l->waiting)
			continue;
		csv_lkb_free(l);
		csv_rsb_put(sp, r);
	}
}

void csv_place_free(struct csv_space *sp, struct csv_place *p)
{
	struct csv_list *pos, *tmp;

	while (!csv_list_empty(&p->locks)) {
		struct csv_lkb *l = csv_list_entry(p->locks.next, struct csv_lkb, place_link);
		struct csv_rsb *r = l->rsb;

		csv_lkb_free(l);
		csv_rsb_put(sp, r);
	}
	csv_list_for_each_safe(pos, tmp, &sp->brl_waits) {
		struct csv_brl_wait *w = csv_list_entry(pos, struct csv_brl_wait, link);

		if (w->place == p->id)
			csv_brl_wait_free(sp, w);
	}
	if (!CSV_BUG(RANGES_OF_THE_DEAD))
		csv_brl_drop_node(sp->brl, p->id);
	if (p->slot != CSV_NO_SLOT && sp->slot[p->slot].place == p)
		sp->slot[p->slot].place = NULL;
	csv_list_del(&p->link);
	free(p);
}

struct csv_brl_wait *csv_brl_wait_new(struct csv_space *sp, uint32_t place, uint64_t seq, enum csv_brl_how how,
				      const struct csv_brl *brl)
{
	struct csv_brl_wait *w = must_calloc(sizeof(*w));

	w->place = place;
	w->seq = seq;
	w->how = how;
	w->w.brl = *brl;
	csv_list_push_back(&sp->brl_waits, &w->link);
	csv_brl_waits_add(&sp->brl_queue, &w->w);
	return w;
}

void csv_brl_wait_free(struct csv_space *sp, struct csv_brl_wait *w)
{
	csv_list_del(&w->link);
	csv_brl_waits_del(&sp->brl_queue, &w->w);
	free(w);
}

struct csv_rsb *csv_rsb_find(const struct csv_space *sp, struct csv_res res)
{
	return csv_rsb_of(csv_omap_find(&sp->rsbs, &res));
}

struct csv_rsb *csv_rsb_make(struct csv_space *sp, struct csv_res res)
{
	struct csv_rsb *r = csv_rsb_find(sp, res);

	if (r)
		return r;
	r = must_calloc(sizeof(*r));
	r->res = res;
	csv_list_init(&r->holders);
	csv_list_init(&r->waiters);
	csv_omap_insert(&sp->rsbs, &res, &r->node);
	return r;
}

void csv_rsb_put(struct csv_space *sp, struct csv_rsb *r)
{
	if (!csv_list_empty(&r->holders) || !csv_list_empty(&r->waiters))
		return;
	csv_omap_del(&sp->rsbs, &r->node);
	free(r);
}

struct csv_lkb *csv_lkb_new(struct csv_rsb *r, struct csv_place *p, enum csv_mode mode, bool waiting)
{
	struct csv_lkb *l = must_calloc(sizeof(*l));

	l->place = p;
	l->rsb = r;
	l->mode = mode;
	l->waiting = waiting;
	csv_list_push_back(waiting ? &r->waiters : &r->holders, &l->link);
	csv_list_push_back(&p->locks, &l->place_link);
	return l;
}

void csv_lkb_free(struct csv_lkb *l)
{
	csv_list_del(&l->link);
	csv_list_del(&l->place_link);
	free(l);
}

struct csv_lkb *csv_lkb_find(const struct csv_rsb *r, const struct csv_place *p, bool waiting)
{
	const struct csv_list *head = waiting ? &r->waiters : &r->holders;
	struct csv_list *pos;

	csv_list_for_each(pos, head) {
		struct csv_lkb *l = csv_list_entry(pos, struct csv_lkb, link);

		if (l->place == p)
			return l;
	}
	return NULL;
}

bool csv_space_any(const struct csv_space *sp, unsigned lives)
{
	for (unsigned i = 0; i < CSV_SLOTS_MAX; i++) {
		if (lives & (1u << sp->slot[i].life))
			return true;
	}
	return false;
}

bool csv_space_deserted(const struct csv_space *sp)
{
	return !csv_space_any(sp, CSV_LIFE_BIT(LIVE) | CSV_LIFE_BIT(DECLARING) | CSV_LIFE_BIT(ATTACHING));
}

bool csv_space_settled(const struct csv_space *sp)
{
	return !csv_space_any(sp, CSV_LIFE_BIT(DECLARING) | CSV_LIFE_BIT(LOST) | CSV_LIFE_BIT(OUT));
}

bool csv_space_frozen(const struct csv_space *sp)
{
	if (!sp->verified)
		return true;
	if (CSV_BUG(L1_GRANT_BEFORE_REPLAY))
		return false;
	return !csv_space_settled(sp);
}

void csv_space_doubt(struct csv_space *sp)
{
	struct csv_list *pos;

	if (CSV_BUG(L9_NO_DOUBT))
		return;
	sp->verified = false;
	sp->verifier = CSV_NO_SLOT;
	sp->verify_err = CSV_OK;
	csv_list_for_each(pos, &sp->places)
		csv_list_entry(pos, struct csv_place, link)->unlooked = true;
}

static const char *what_is_due(enum csv_life life)
{
	switch (life) {
	case CSV_LIFE_LOST:
		return "its csvlockd to come back";
	case CSV_LIFE_DECLARING:
		return "it to declare its locks";
	case CSV_LIFE_OUT:
		return "it to be fenced and its journal replayed";
	case CSV_LIFE_FREE:
	case CSV_LIFE_ATTACHING:
	case CSV_LIFE_LIVE:
	case CSV_LIVES:
		break;
	}
	return NULL;
}

/* A slot that holds everybody up, for people: one that fails, else the first. False: there is none. */
static bool tell_of_slot(const struct csv_space *sp, bool failing, char *text, size_t size)
{
	for (unsigned i = 0; i < CSV_SLOTS_MAX; i++) {
		const struct csv_slot *s = &sp->slot[i];
		const char *due = what_is_due(s->life);

		if (!due || (failing && (s->life != CSV_LIFE_OUT || !s->fails)))
			continue;
		if (failing)
			snprintf(text, size, "node %.24s (slot %u), which cannot be %s: %s", s->node, i,
				 s->fail == CSV_STEP_FAILED ? "fenced" : "replayed", csv_err_text(s->err));
		else
			snprintf(text, size, "node %.24s (slot %u): %s", s->node, i, due);
		return true;
	}
	return false;
}

static void tell_what_is_due(const struct csv_space *sp, char *text, size_t size)
{
	if (tell_of_slot(sp, true, text, size))
		return;
	if (!sp->verified && sp->verify_err)
		snprintf(text, size, "the slot table, which cannot be compared: %s", csv_err_text(sp->verify_err));
	else if (!tell_of_slot(sp, false, text, size))
		snprintf(text, size, "the slots on disk to be compared with the cluster's");
}

void csv_space_view(const struct csv_space *sp, bool quorate, struct csv_msg_view *v)
{
	*v = (struct csv_msg_view){ .quorate = quorate, .frozen = csv_space_frozen(sp), .engine = sp->engine };
	for (unsigned i = 0; i < CSV_SLOTS_MAX; i++) {
		const struct csv_slot *s = &sp->slot[i];

		if (s->life == CSV_LIFE_FREE || s->life == CSV_LIFE_ATTACHING)
			continue;
		if (s->life == CSV_LIFE_LIVE)
			v->live |= 1ull << i;
		else
			v->out |= 1ull << i;
		v->incarnation[i] = s->incarnation;
	}
	if (v->frozen)
		tell_what_is_due(sp, v->waits_for, sizeof(v->waits_for));
}
