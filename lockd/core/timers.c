/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Time.  A timer only makes its member multicast something; what it does to the state is decided when that is
 * delivered, by the episode or round that it names.  Every member keeps the same timers, the first one wins.
 */
#include <stdlib.h>
#include <string.h>

#include "lockd/core/core.h"

/* Pause before another round of recovery after a failed order, or another look at the slot table, ms. */
#define RETRY_MS 1000u
/* What fails and fails is tried less often: the pause doubles so many times. */
#define RETRY_DOUBLINGS 3u
/* Time for the other csvfs to declare themselves before one is asked to compare the slot table, ms. */
#define VERIFY_MS 20u

bool csv_node_down(const struct csv_machine *m, uint32_t nodeid)
{
	for (unsigned i = 0; i < m->ndown; i++) {
		if (m->down[i] == nodeid)
			return true;
	}
	return false;
}

void csv_node_set_down(struct csv_machine *m, uint32_t nodeid, bool down)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->ndown; i++) {
		if (m->down[i] != nodeid)
			m->down[n++] = m->down[i];
	}
	m->ndown = n;
	if (down && n < CSV_NODES_MAX)
		m->down[m->ndown++] = nodeid;
}

static void arm(struct csv_machine *m, const struct csv_space *sp, enum csv_timer_kind kind, uint32_t slot,
		uint32_t episode, unsigned ms)
{
	struct csv_list *pos;
	struct csv_timer *t;

	csv_list_for_each(pos, &m->timers) {
		t = csv_list_entry(pos, struct csv_timer, link);
		if (t->kind == kind && t->slot == slot && t->episode == episode && !memcmp(t->uuid, sp->uuid, 16))
			return;
	}
	t = calloc(1, sizeof(*t));
	CSV_ASSERT(t);
	t->id = ++m->next_timer;
	t->kind = kind;
	t->slot = slot;
	t->episode = episode;
	memcpy(t->uuid, sp->uuid, 16);
	csv_list_push_back(&m->timers, &t->link);
	csv_act_timer(m, t->id, ms ? ms : 1);
}

/* A live mount that will not look by itself, as a mounter does. */
static bool somebody_to_look(const struct csv_space *sp)
{
	for (unsigned i = 0; i < CSV_SLOTS_MAX; i++) {
		if (sp->slot[i].life == CSV_LIFE_LIVE && sp->slot[i].place->unlooked)
			return true;
	}
	return false;
}

static unsigned retry_ms(const struct csv_space *sp)
{
	uint32_t fails = csv_recover_fails(sp), n = fails > 1 ? fails - 1 : 0;

	return RETRY_MS << (n < RETRY_DOUBLINGS ? n : RETRY_DOUBLINGS);
}

void csv_timers_arm(struct csv_machine *m, struct csv_space *sp)
{
	for (uint32_t i = 0; i < CSV_SLOTS_MAX; i++) {
		if (sp->slot[i].life == CSV_LIFE_LOST)
			arm(m, sp, CSV_TIMER_EXPIRE, i, sp->slot[i].episode, m->cfg.reattach_ms);
	}
	if (csv_recover_failed(sp) && !csv_recover_busy(sp))
		arm(m, sp, CSV_TIMER_RETRY, 0, sp->round, retry_ms(sp));
	if (!sp->verified && sp->verifier == CSV_NO_SLOT && csv_space_settled(sp) && somebody_to_look(sp))
		arm(m, sp, CSV_TIMER_VERIFY, 0, 0, sp->verify_err ? RETRY_MS : VERIFY_MS);
}

static void submit_expire(struct csv_machine *m, const struct csv_space *sp, uint32_t slot)
{
	struct csv_wbuf w = csv_op_begin(m, CSV_G_EXPIRE, sp->uuid);

	csv_put32(&w, slot);
	csv_put32(&w, sp->slot[slot].episode);
	csv_op_submit(m, &w);
}

/* The most senior member says it for all. */
void csv_expire_down(struct csv_machine *m)
{
	struct csv_space *sp;

	if (m->state.member[0] != m->cfg.nodeid)
		return;
	csv_for_each_space(sp, &m->state)
	{
		for (uint32_t i = 0; i < CSV_SLOTS_MAX; i++) {
			if (sp->slot[i].life == CSV_LIFE_LOST && csv_node_down(m, sp->slot[i].nodeid))
				submit_expire(m, sp, i);
		}
	}
}

static void fire(struct csv_machine *m, const struct csv_timer *t)
{
	struct csv_space *sp = m->has_state ? csv_space_find(&m->state, t->uuid) : NULL;
	struct csv_wbuf w;

	if (!sp)
		return;
	switch (t->kind) {
	case CSV_TIMER_EXPIRE:
		if (sp->slot[t->slot].life == CSV_LIFE_LOST && sp->slot[t->slot].episode == t->episode)
			submit_expire(m, sp, t->slot);
		break;
	case CSV_TIMER_RETRY:
		if (sp->round != t->episode)
			break;
		w = csv_op_begin(m, CSV_G_RETRY, sp->uuid);
		csv_put32(&w, sp->round);
		csv_op_submit(m, &w);
		break;
	case CSV_TIMER_VERIFY:
		if (sp->verified)
			break;
		w = csv_op_begin(m, CSV_G_VERIFY, sp->uuid);
		csv_op_submit(m, &w);
		break;
	}
}

void csv_timer_fired(struct csv_machine *m, uint64_t id)
{
	struct csv_list *pos;

	if (csv_evict_timer(m, id))
		return;
	csv_list_for_each(pos, &m->timers) {
		struct csv_timer *t = csv_list_entry(pos, struct csv_timer, link);

		if (t->id != id)
			continue;
		csv_list_del(&t->link);
		fire(m, t);
		free(t);
		return;
	}
}

void csv_timers_clear(struct csv_machine *m)
{
	while (!csv_list_empty(&m->timers)) {
		struct csv_timer *t = csv_list_entry(m->timers.next, struct csv_timer, link);

		csv_list_del(&t->link);
		free(t);
	}
}
