/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The LUN: write commands are on their way for a while, some for long; whether the key of their sender is registered is
 * checked when they arrive.  A home block is torn for whoever reads it while a command writes it.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

bool sim_key_registered(const struct sim *s, uint64_t key)
{
	for (unsigned i = 0; i < s->disk.nkeys; i++) {
		if (s->disk.keys[i] == key)
			return true;
	}
	return false;
}

void sim_key_add(struct sim *s, uint64_t key)
{
	if (sim_key_registered(s, key))
		return;
	CSV_ASSERT(s->disk.nkeys < sizeof(s->disk.keys) / sizeof(s->disk.keys[0]));
	s->disk.keys[s->disk.nkeys++] = key;
}

void sim_key_del(struct sim *s, uint64_t key)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->disk.nkeys; i++) {
		if (s->disk.keys[i] != key)
			s->disk.keys[n++] = s->disk.keys[i];
	}
	s->disk.nkeys = n;
}

uint32_t sim_slot_over(const struct sim *s, uint32_t slot)
{
	const struct sim_dslot *d = &s->disk.slot[slot];

	/* LIVE it comes back, if it has lost its key; whom somebody has only marked writes on; who leaves has nothing.
	 */
	if (d->state == SIM_LIVE || (d->state == SIM_CLEAN && d->left) || sim_key_registered(s, d->key))
		return d->incarnation ? d->incarnation - 1 : 0;
	return d->incarnation;
}

static void write_journal(struct sim *s, const struct sim_command *c)
{
	struct sim_dslot *d = &s->disk.slot[c->slot];

	if (d->n == d->cap) {
		d->cap = d->cap * 2 + 32;
		d->journal = realloc(d->journal, d->cap * sizeof(*d->journal));
		CSV_ASSERT(d->journal);
	}
	d->journal[d->n++] = c->rec;
}

static void write_slot(struct sim *s, const struct sim_command *c)
{
	struct sim_dslot *d = &s->disk.slot[c->slot];

	if (c->only_incarnation && d->incarnation != c->only_incarnation)
		return; /* that life is long over */
	d->state = c->state;
	d->left = c->key == d->key;
	if (c->state == SIM_CLEAN) {
		d->n = 0; /* its head says so before the slot block does */
		s->disk.ghost[c->slot].incarnation = 0;
	}
	sim_trace(s, "lun: n%u writes slot %u, state %u", c->node + 1, c->slot, c->state);
	if (c->only_incarnation)
		return;
	d->incarnation = c->rec.incarnation;
	d->node = c->slot_node;
	d->key = c->slot_key;
	d->n = 0;
}

static void answer(struct sim *s, uint64_t ok, uint64_t b, void *data)
{
	const struct sim_command *c = data;
	struct sim_node *nd = &s->node[c->node];

	if (nd->life == c->node_life)
		nd->inflight--;
	if (nd->fs.life != c->fs_life)
		return;
	nd->fs.inflight--;
	c->done(s, c->node, c, ok);
}

/* The answer goes back to the node, if it still lives. */
static void send_answer(struct sim *s, const struct sim_command *c, bool ok)
{
	struct sim_command *copy = malloc(sizeof(*copy));

	CSV_ASSERT(copy);
	*copy = *c;
	sim_at(s, 20 + sim_rand(s, 200), (int)c->node, &s->node[c->node].life, answer, ok, 0, copy);
}

static void finish_home(struct sim *s, uint64_t a, uint64_t b, void *data)
{
	const struct sim_command *c = data;
	struct sim_home *h = &s->disk.home[c->rec.inode];

	h->writing--;
	h->version = c->rec.version;
	h->value = c->rec.value;
	send_answer(s, c, true);
}

static void arrive(struct sim *s, uint64_t a, uint64_t b, void *data)
{
	const struct sim_command *c = data;
	struct sim_command *copy;

	if (!sim_key_registered(s, c->key)) {
		s->disk.refused++;
		sim_trace(s, "lun refuses a write of n%u under key %llu", c->node + 1, (unsigned long long)c->key);
		send_answer(s, c, false);
		return;
	}
	switch (c->what) {
	case SIM_W_JOURNAL:
		write_journal(s, c);
		break;
	case SIM_W_SLOT:
		write_slot(s, c);
		break;
	case SIM_W_HOME:
		copy = malloc(sizeof(*copy));
		CSV_ASSERT(copy);
		*copy = *c;
		s->disk.home[c->rec.inode].writing++;
		s->disk.home[c->rec.inode].writer = c->key;
		sim_at(s, 20 + sim_rand(s, sim_chance(s, 10) ? 30000 : 500), -1, NULL, finish_home, 0, 0, copy);
		return;
	}
	send_answer(s, c, true);
}

void sim_submit(struct sim *s, const struct sim_command *c)
{
	struct sim_command *copy = malloc(sizeof(*copy));
	uint64_t delay = 50 + sim_rand(s, 1500);

	CSV_ASSERT(copy);
	*copy = *c;
	s->node[c->node].inflight++;
	s->node[c->node].fs.inflight++;
	if (!s->calm && sim_chance(s, 4))
		delay = sim_rand(s, 4000) * SIM_MS;
	else if (!s->calm && c->what == SIM_W_HOME && c->replay && sim_chance(s, 15))
		delay = sim_rand(s, 3000) * SIM_MS;
	sim_at(s, delay, -1, NULL, arrive, 0, 0, copy);
}
