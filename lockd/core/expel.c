/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A node is to be out: dlm_controld wants it fenced (L2), or an administrator does.  Its slots go out on every volume,
 * wherever they are, and are fenced and replayed as usual; its csvfs hear FENCED if they can.
 *
 * What the DLM is told then ends the node's locks there.  A mount of it that nobody here knows of, because all
 * csvlockds have been restarted, must not come back and say that it has them: the node stays expelled until it mounts
 * anew.
 */
#include <string.h>

#include "lockd/core/core.h"

static struct csv_expelled *find(struct csv_expelled *list, unsigned n, uint32_t nodeid)
{
	for (unsigned i = 0; i < n; i++) {
		if (list[i].nodeid == nodeid)
			return &list[i];
	}
	return NULL;
}

static void note(struct csv_expelled *list, unsigned *n, const struct csv_expelled *e)
{
	struct csv_expelled *at = find(list, *n, e->nodeid);

	if (!at && *n < CSV_NODES_MAX)
		at = &list[(*n)++];
	if (at)
		*at = *e;
}

bool csv_is_expelled(const struct csv_state *s, uint32_t nodeid)
{
	const struct csv_expelled *e = find((struct csv_expelled *)s->expelled, s->nexpelled, nodeid);

	return e && !e->over;
}

void csv_expelled_forget(struct csv_machine *m, uint32_t nodeid)
{
	struct csv_expelled *e = find(m->state.expelled, m->state.nexpelled, nodeid);

	if (!e)
		return;
	e->over = true;
	note(m->expelled, &m->nexpelled, e);
}

static void submit(struct csv_machine *m, uint32_t nodeid)
{
	struct csv_wbuf w = csv_op_begin(m, CSV_G_EXPEL, NULL);

	csv_put32(&w, nodeid);
	csv_op_submit(m, &w);
}

/*
 * The state may be that of another line than the one in which we saw a node expelled: one that was quorate before, and
 * of which that very node is a member, with a mount in full health and locks that the DLM has given away.  Then it is
 * expelled there as well.  Grants of the DLM wait for our own operations, and so for this one.
 */
void csv_expelled_recall(struct csv_machine *m)
{
	for (unsigned i = 0; i < m->nexpelled; i++) {
		const struct csv_expelled *known = find(m->state.expelled, m->state.nexpelled, m->expelled[i].nodeid);

		if (!m->expelled[i].over && !(known && known->id == m->expelled[i].id))
			submit(m, m->expelled[i].nodeid);
	}
	for (unsigned i = 0; i < m->state.nexpelled; i++)
		note(m->expelled, &m->nexpelled, &m->state.expelled[i]);
}

static void expel_from(struct csv_machine *m, struct csv_space *sp, uint32_t nodeid)
{
	for (uint32_t i = 0; i < CSV_SLOTS_MAX; i++) {
		struct csv_slot *s = &sp->slot[i];

		if (s->nodeid != nodeid || s->life == CSV_LIFE_FREE)
			continue;
		if (s->life == CSV_LIFE_OUT)
			s->asked = true;
		else
			csv_slot_out(m, sp, i, "its node is to be fenced");
	}
	csv_settle(m, sp);
	csv_space_kick(m, sp);
	if (m->phase == CSV_PHASE_FORMED)
		csv_timers_arm(m, sp);
}

bool csv_apply_expel(struct csv_machine *m, uint32_t sender, struct csv_rbuf *r)
{
	uint32_t nodeid = csv_get32(r);
	struct csv_expelled e = { .nodeid = nodeid, .id = m->state.chain };
	struct csv_space *sp;

	if (!csv_get_end(r) || !nodeid)
		return false;
	csv_act_log(m, CSV_LOG_WARN, "node %s is to be fenced, says node %s", csv_node_name(m, nodeid),
		    csv_node_name(m, sender));
	note(m->state.expelled, &m->state.nexpelled, &e);
	note(m->expelled, &m->nexpelled, &e);
	csv_for_each_space(sp, &m->state) expel_from(m, sp, nodeid);
	return true;
}

void csv_machine_expel(struct csv_machine *m, uint32_t nodeid, struct csv_actions *out)
{
	struct csv_actions *outer = m->out;

	m->out = out;
	submit(m, nodeid);
	m->out = outer;
}

unsigned csv_machine_memory(const struct csv_machine *m, struct csv_expelled *list)
{
	memcpy(list, m->expelled, m->nexpelled * sizeof(*list));
	return m->nexpelled;
}

void csv_machine_remember(struct csv_machine *m, const struct csv_expelled *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		note(m->expelled, &m->nexpelled, &list[i]);
}

bool csv_machine_expelled(const struct csv_machine *m, uint32_t nodeid)
{
	const struct csv_space *sp;

	if (m->phase != CSV_PHASE_FORMED || !m->quorate || !csv_is_expelled(&m->state, nodeid))
		return false;
	csv_for_each_space(sp, &m->state)
	{
		if (csv_space_has_node(sp, nodeid))
			return false;
		if (!sp->verified && !csv_space_deserted(sp))
			return false; /* a slot of it may be found on disk yet, and others have the volume mounted */
	}
	return true;
}
