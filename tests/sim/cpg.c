/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPG as corosync gives it.  A ring is a configuration of corosync; its log is the total order.  A node's messages get
 * into the log of the ring that it is in, after a while; each member delivers the log in its own time.
 *
 * When rings change, the members that go together deliver the same rest of the old log: what one of them has delivered,
 * all that was sent by themselves, and of the rest what chance says that one of them had received: so a message may be
 * seen by its sender alone, and after a hole (L1).  Then they see who is left, then who is new, at once or one by one.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

static struct sim_ring *ring_new(struct sim *s, uint64_t members)
{
	struct sim_ring *r = calloc(1, sizeof(*r));

	CSV_ASSERT(r);
	r->members = members;
	csv_list_push_back(&s->rings, &r->link);
	return r;
}

static void ring_free(struct sim_ring *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->log[i].data);
	free(r->log);
	csv_list_del(&r->link);
	free(r);
}

static void leave_ring(struct sim_node *n)
{
	struct sim_ring *r = n->ring;

	n->ring = NULL;
	n->cursor = 0;
	if (r && !--r->users)
		ring_free(r);
}

static void enter_ring(struct sim_node *n, struct sim_ring *r)
{
	leave_ring(n);
	n->ring = r;
	r->users++;
}

static void tell_conf(struct sim *s, unsigned n, uint64_t group, uint64_t down)
{
	struct sim_node *nd = &s->node[n];
	struct csv_event ev = { .type = CSV_EV_CONF };

	nd->group = group;
	if (!nd->daemon || !nd->joined)
		return;
	for (unsigned i = 0; i < s->nnodes; i++) {
		if (group >> i & 1)
			ev.member[ev.nmembers++] = i + 1;
		if (down >> i & 1)
			ev.down[ev.ndown++] = i + 1;
	}
	sim_trace(s, "n%u conf %#llx down %#llx", n + 1, (unsigned long long)group, (unsigned long long)down);
	sim_step(s, n, &ev);
}

/* Nodes that have left corosync's ring, whether their csvlockd was in the group or not. */
static void tell_down(struct sim *s, unsigned n, uint64_t down)
{
	struct sim_node *nd = &s->node[n];
	struct csv_event ev = { .type = CSV_EV_DOWN };

	if (!down || !nd->daemon || !nd->joined)
		return;
	for (unsigned i = 0; i < s->nnodes; i++) {
		if (down >> i & 1)
			ev.down[ev.ndown++] = i + 1;
	}
	sim_trace(s, "n%u down %#llx", n + 1, (unsigned long long)down);
	sim_step(s, n, &ev);
}

static void deliver_entry(struct sim *s, unsigned n, const struct sim_entry *e)
{
	struct sim_node *nd = &s->node[n];
	struct csv_event ev = { .type = CSV_EV_MSG, .sender = e->node + 1, .data = e->data, .len = e->len };

	switch (e->kind) {
	case SIM_JOIN:
		if (e->node == n && nd->daemon && e->len == nd->daemon_life)
			nd->joined = true;
		tell_conf(s, n, nd->group | 1ull << e->node, 0);
		break;
	case SIM_LEAVE:
		if (nd->group >> e->node & 1)
			tell_conf(s, n, nd->group & ~(1ull << e->node), 0);
		break;
	case SIM_MSG:
		if (nd->daemon && nd->joined && (nd->group >> e->node & 1))
			sim_step(s, n, &ev);
		break;
	}
}

static void pump_event(struct sim *s, uint64_t n, uint64_t b, void *data)
{
	struct sim_node *nd = &s->node[n];

	nd->pump = false;
	if (!nd->ring || nd->cursor == nd->ring->n)
		return;
	deliver_entry(s, (unsigned)n, &nd->ring->log[nd->cursor++]);
	sim_cpg_pump(s, (unsigned)n);
}

void sim_cpg_pump(struct sim *s, unsigned n)
{
	struct sim_node *nd = &s->node[n];
	uint64_t wait = 20 + sim_rand(s, sim_chance(s, 3) ? 20000 : 200);

	if (nd->pump || !nd->ring || nd->cursor == nd->ring->n)
		return;
	if (s->slow_until > s->now && n != s->quick)
		wait += s->slow_until - s->now;
	nd->pump = true;
	sim_at(s, wait, (int)n, &nd->life, pump_event, n, 0, NULL);
}

/* Until the next message of the same sender. A declaration, which is several, is torn apart more often than others. */
static uint64_t pause_behind(struct sim *s, const struct sim_entry *e)
{
	bool declares = e->kind == SIM_MSG && ((const uint8_t *)e->data)[5] == CSV_G_REATTACH;

	if (s->calm)
		return 1 + sim_rand(s, 30);
	if (declares && sim_chance(s, 40))
		return sim_rand(s, 400) * SIM_MS;
	return 1 + sim_rand(s, sim_chance(s, 2) ? 20 * SIM_MS : 30);
}

static void sequence_event(struct sim *s, uint64_t n, uint64_t b, void *data)
{
	struct sim_node *nd = &s->node[n];
	struct sim_ring *r = nd->ring;

	nd->sequencer = false;
	if (!r || !nd->qlen || r->stalled)
		return;
	if (r->n == r->cap) {
		r->cap = r->cap * 2 + 64;
		r->log = realloc(r->log, r->cap * sizeof(*r->log));
		CSV_ASSERT(r->log);
	}
	r->log[r->n++] = nd->queue[nd->qhead];
	nd->qhead = (nd->qhead + 1) % nd->qcap;
	nd->qlen--;
	for (unsigned i = 0; i < s->nnodes; i++) {
		if (s->node[i].ring == r)
			sim_cpg_pump(s, i);
	}
	if (nd->qlen) {
		nd->sequencer = true;
		sim_at(s, pause_behind(s, &r->log[r->n - 1]), (int)n, &nd->life, sequence_event, n, 0, NULL);
	}
}

static void kick_queue(struct sim *s, unsigned n)
{
	struct sim_node *nd = &s->node[n];

	if (nd->sequencer || !nd->qlen)
		return;
	nd->sequencer = true;
	sim_at(s, 20 + sim_rand(s, 300), (int)n, &nd->life, sequence_event, n, 0, NULL);
}

static void grow_queue(struct sim_node *nd)
{
	size_t cap = nd->qcap * 2 + 64;
	struct sim_entry *queue = calloc(cap, sizeof(*queue));

	CSV_ASSERT(queue);
	for (size_t i = 0; i < nd->qlen; i++)
		queue[i] = nd->queue[(nd->qhead + i) % nd->qcap];
	free(nd->queue);
	nd->queue = queue;
	nd->qhead = 0;
	nd->qcap = cap;
}

void sim_cpg_send(struct sim *s, unsigned n, enum sim_entry_kind kind, const void *data, size_t len)
{
	struct sim_node *nd = &s->node[n];
	struct sim_entry *e;

	if (!nd->up)
		return;
	if (nd->qlen == nd->qcap)
		grow_queue(nd);
	e = &nd->queue[(nd->qhead + nd->qlen++) % nd->qcap];
	*e = (struct sim_entry){ kind, n, NULL, len };
	if (data) {
		e->data = malloc(len);
		CSV_ASSERT(e->data);
		memcpy(e->data, data, len);
	}
	kick_queue(s, n);
}

/* The rest of the old ring's log for those who go on together. */
static void flush_old(struct sim *s, struct sim_ring *old, uint64_t together)
{
	unsigned luck = sim_chance(s, 50) ? 20 : 80; /* of the last messages few arrived, or many */
	bool *have = calloc(old->n + 1, sizeof(*have));
	size_t max = 0;

	CSV_ASSERT(have);
	for (unsigned i = 0; i < s->nnodes; i++) {
		if ((together >> i & 1) && s->node[i].cursor > max)
			max = s->node[i].cursor;
	}
	for (size_t k = 0; k < old->n; k++)
		have[k] = k < max || (together >> old->log[k].node & 1) || sim_chance(s, luck);
	for (unsigned i = 0; i < s->nnodes; i++) {
		struct sim_node *nd = &s->node[i];

		if (!(together >> i & 1))
			continue;
		while (nd->cursor < old->n) {
			const struct sim_entry *e = &old->log[nd->cursor];

			if (have[nd->cursor++])
				deliver_entry(s, i, e);
		}
	}
	free(have);
}

/* What a node sees of the change: first who is gone, then who is new. */
static void tell_change(struct sim *s, unsigned n, uint64_t before, uint64_t stay, uint64_t all, bool one_by_one)
{
	if (before != stay)
		tell_conf(s, n, stay, before & ~stay);
	if (all == stay)
		return;
	for (unsigned i = 0; i < s->nnodes && one_by_one; i++) {
		if ((all & ~stay) >> i & 1) {
			stay |= 1ull << i;
			tell_conf(s, n, stay, 0);
		}
	}
	if (!one_by_one)
		tell_conf(s, n, all, 0);
}

/* All nodes of `members` become one ring. */
static void reform(struct sim *s, uint64_t members)
{
	struct sim_ring *ring = ring_new(s, members);
	uint64_t stay[SIM_NODES] = { 0 }, before[SIM_NODES] = { 0 }, down[SIM_NODES] = { 0 }, all = 0, todo = members;
	bool one_by_one = sim_chance(s, s->nnodes > 8 ? 10 : 50);

	sim_trace(s, "ring %#llx", (unsigned long long)members);
	while (todo) {
		unsigned first = (unsigned)__builtin_ctzll(todo);
		uint64_t together = 0;
		struct sim_ring *old = s->node[first].ring;

		for (unsigned i = 0; i < s->nnodes; i++) {
			if ((todo >> i & 1) && s->node[i].ring == old)
				together |= 1ull << i;
		}
		todo &= ~together;
		if (old)
			flush_old(s, old, together);
		for (unsigned i = 0; i < s->nnodes; i++) {
			if (!(together >> i & 1))
				continue;
			before[i] = s->node[i].group;
			stay[i] = before[i] & together;
			down[i] = old ? old->members & ~members : 0;
			all |= stay[i];
		}
	}
	for (unsigned i = 0; i < s->nnodes; i++) {
		if (members >> i & 1)
			enter_ring(&s->node[i], ring);
	}
	for (unsigned i = 0; i < s->nnodes; i++) {
		if (!(members >> i & 1))
			continue;
		tell_change(s, i, before[i], stay[i], all, one_by_one);
		tell_down(s, i, down[i]);
		kick_queue(s, i);
	}
}

/* Which nodes hear this one now. */
static uint64_t component(const struct sim *s, unsigned n)
{
	uint64_t c = 0;

	for (unsigned i = 0; i < s->nnodes; i++) {
		if (s->node[i].up && !s->node[i].frozen && s->node[i].side == s->node[n].side)
			c |= 1ull << i;
	}
	return c;
}

static void reform_event(struct sim *s, uint64_t a, uint64_t b, void *data)
{
	for (unsigned i = 0; i < s->nnodes; i++) {
		uint64_t c;

		if (!s->node[i].up || s->node[i].frozen)
			continue;
		c = component(s, i);
		if (!s->node[i].ring || s->node[i].ring->members != c)
			reform(s, c);
		else if (s->node[i].ring->stalled) {
			s->node[i].ring->stalled = false; /* a short hiccup, nobody was dropped */
			kick_queue(s, i);
		} else {
			kick_queue(s, i);
		}
	}
}

void sim_cpg_stall(struct sim *s)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &s->rings)
		csv_list_entry(pos, struct sim_ring, link)->stalled = true;
	sim_at(s, (200 + sim_rand(s, 800)) * SIM_MS, -1, NULL, reform_event, 0, 0, NULL);
}

void sim_cpg_alone(struct sim *s, unsigned n)
{
	if (!s->node[n].ring || s->node[n].ring->members != 1ull << n)
		reform(s, 1ull << n);
	sim_cpg_stall(s);
}

void sim_cpg_down(struct sim *s, unsigned n)
{
	struct sim_node *nd = &s->node[n];

	leave_ring(nd);
	nd->up = nd->pump = nd->sequencer = false;
	nd->life++;
	nd->group = 0;
	for (; nd->qlen; nd->qlen--) {
		free(nd->queue[nd->qhead].data);
		nd->qhead = (nd->qhead + 1) % nd->qcap;
	}
	sim_cpg_stall(s);
}

void sim_cpg_free(struct sim *s)
{
	for (unsigned i = 0; i < s->nnodes; i++) {
		struct sim_node *nd = &s->node[i];

		leave_ring(nd);
		for (; nd->qlen; nd->qlen--) {
			free(nd->queue[nd->qhead].data);
			nd->qhead = (nd->qhead + 1) % nd->qcap;
		}
		free(nd->queue);
	}
	while (!csv_list_empty(&s->rings))
		ring_free(csv_list_entry(s->rings.next, struct sim_ring, link));
}
