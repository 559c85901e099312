/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Operations that come too late: of an episode, a round or a life that is over.  In a real group they are rare; what
 * they must do is nothing, in whatever life the slot is by then.
 */
#include <string.h>

#include "tests/sim/sim.h"

static bool can_send(const struct sim_node *nd)
{
	return nd->up && nd->daemon && !nd->frozen && !nd->hung && nd->m && nd->m->phase == CSV_PHASE_FORMED;
}

/* One that is in use, more often than not. */
static uint32_t some_slot(struct sim *s, const struct csv_space *sp)
{
	uint32_t slot = (uint32_t)sim_rand(s, s->nslots);

	for (unsigned i = 0; i < s->nslots && sp->slot[slot].life == CSV_LIFE_FREE && sim_chance(s, 90); i++)
		slot = (slot + 1) % s->nslots;
	return slot;
}

static struct csv_wbuf late_op(struct sim *s, struct csv_machine *m, const struct csv_space *sp)
{
	static const enum csv_group_kind kinds[] = { CSV_G_ATTACH,   CSV_G_SEEN,     CSV_G_DETACH,
						     CSV_G_EXPIRE,   CSV_G_VERIFIED, CSV_G_FENCED,
						     CSV_G_REPLAYED, CSV_G_RETRY,    CSV_G_OVER };
	enum csv_group_kind kind = kinds[sim_rand(s, sizeof(kinds) / sizeof(kinds[0]))];
	uint32_t slot = some_slot(s, sp), life = sp->slot[slot].incarnation;
	struct csv_wbuf w;

	csv_msg_begin(&w, kind, 0, ++m->op_seq);
	csv_put(&w, sp->uuid, sizeof(sp->uuid));
	if (kind == CSV_G_RETRY) {
		csv_put32(&w, sp->round - 1);
		return w;
	}
	csv_put32(&w, slot);
	if (kind == CSV_G_ATTACH || kind == CSV_G_OVER) {
		csv_put32(&w, kind == CSV_G_ATTACH ? 0 : life - 1);
		csv_put64(&w, 0);
		csv_put32(&w, m->cfg.nodeid);
		csv_put_str(&w, "late");
		csv_put64(&w, 0);
	} else if (kind == CSV_G_EXPIRE) {
		csv_put32(&w, sp->slot[slot].episode - 1);
	} else if (kind == CSV_G_SEEN) {
		csv_put32(&w, life - 1);
	} else if (kind == CSV_G_DETACH) {
		csv_put32(&w, life - 1);
		csv_put64(&w, 0);
	} else if (kind == CSV_G_VERIFIED) {
		csv_put32(&w, life);
		csv_put32(&w, sp->verify_round - 1);
		csv_put32(&w, CSV_OK);
	} else {
		csv_put32(&w, life);
		csv_put32(&w, sp->round - 1);
		csv_put32(&w, CSV_OK);
		csv_put64(&w, 0);
	}
	return w;
}

/* Kind and body: what else is in the header is filled in when it is sent. */
static uint64_t sum_of(const uint8_t *data, size_t len)
{
	return csv_mix(data[5], data + CSV_GROUP_HEADER, len - CSV_GROUP_HEADER);
}

/* A member sends one. Who mounts is spared: it would take an answer to another's ATTACH for its own. */
void sim_stray(struct sim *s, unsigned n)
{
	struct sim_node *nd = &s->node[n];
	const struct csv_space *sp;
	struct csv_wbuf w;

	if (!can_send(nd) || nd->fs.state != FS_RUN)
		return;
	sp = csv_space_of(csv_omap_first(&nd->m->state.spaces));
	if (!sp)
		return;
	nd->m->out = &s->actions;
	w = late_op(s, nd->m, sp);
	s->stray_sender = n + 1;
	s->stray_seq = nd->m->op_seq;
	s->stray_sum = sum_of(w.data, w.len);
	sim_trace(s, "n%u sends a late operation, kind %d", n + 1, w.data[5]);
	csv_op_submit(nd->m, &w);
	nd->m->out = NULL;
	sim_carry_out(s, n);
}

static uint64_t digest_but_chain(struct csv_machine *m)
{
	uint64_t chain = m->state.chain, digest;

	m->state.chain = 0;
	digest = csv_machine_digest(m);
	m->state.chain = chain;
	return digest;
}

/* 0: this is none, or not applied here. */
uint64_t sim_stray_before(struct sim *s, unsigned n, const struct csv_event *ev)
{
	struct csv_machine *m = s->node[n].m;
	struct csv_rbuf r = { .data = ev->data, .len = ev->len };
	struct csv_group_hdr h;

	if (!s->stray_seq || ev->type != CSV_EV_MSG || ev->sender != s->stray_sender || !csv_msg_header(&r, &h))
		return 0;
	if (m->phase != CSV_PHASE_FORMED || h.vid != m->state.vid || h.seq != s->stray_seq ||
	    sum_of(ev->data, ev->len) != s->stray_sum)
		return 0;
	return digest_but_chain(m);
}

void sim_stray_after(struct sim *s, unsigned n, uint64_t before)
{
	if (before && before != digest_but_chain(s->node[n].m))
		sim_fail(s, "node %u: an operation that came too late has changed the state", n + 1);
}
