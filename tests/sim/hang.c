/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvlockd hangs, its node does not: corosync delivers what it finds later, its csvfs go on and wait.  Sometimes the
 * local watchdog ends it, sometimes it goes on by itself: in time, or long after the others have evicted it.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

static void *copy_of(const void *data, size_t len)
{
	void *copy = data ? malloc(len) : NULL;

	CSV_ASSERT(copy || !data);
	if (copy)
		memcpy(copy, data, len);
	return copy;
}

bool sim_hang_keeps(struct sim *s, unsigned n, const struct csv_event *ev)
{
	struct sim_node *nd = &s->node[n];
	struct sim_hung *h;

	if (!nd->hung)
		return false;
	if (nd->nlate == nd->caplate) {
		nd->caplate = nd->caplate * 2 + 64;
		nd->late = realloc(nd->late, nd->caplate * sizeof(*nd->late));
		CSV_ASSERT(nd->late);
	}
	h = &nd->late[nd->nlate++];
	h->ev = *ev;
	h->ev.data = copy_of(ev->data, ev->len);
	h->ev.msg = copy_of(ev->msg, sizeof(*ev->msg));
	h->ev.dlm = copy_of(ev->dlm, sizeof(*ev->dlm));
	h->daemon_life = nd->daemon_life;
	return true;
}

static void drop(struct sim_hung *h)
{
	free((void *)h->ev.data);
	free((void *)h->ev.msg);
	free((void *)h->ev.dlm);
}

void sim_hang_end(struct sim_node *nd)
{
	nd->hung = false;
	for (size_t i = 0; i < nd->nlate; i++)
		drop(&nd->late[i]);
	nd->nlate = 0;
}

static void go_on(struct sim *s, uint64_t n, uint64_t b, void *data)
{
	struct sim_node *nd = &s->node[n];
	struct sim_hung *late = nd->late;
	size_t count = nd->nlate;

	if (!nd->hung)
		return;
	sim_trace(s, "n%u csvlockd goes on, %zu events late", (unsigned)n + 1, count);
	nd->hung = false;
	nd->hung_until = s->now;
	if (s->calm && s->faults_end < s->now)
		s->faults_end = s->now; /* this one began before */
	nd->late = NULL;
	nd->nlate = nd->caplate = 0;
	for (size_t i = 0; i < count; i++) {
		if (nd->daemon && nd->daemon_life == late[i].daemon_life)
			sim_step(s, (unsigned)n, &late[i].ev);
		drop(&late[i]);
	}
	free(late);
	sim_dlm_go_on(s, (unsigned)n);
}

static void watchdog(struct sim *s, uint64_t n, uint64_t b, void *data)
{
	struct sim_node *nd = &s->node[n];

	if (!nd->hung)
		return;
	sim_trace(s, "n%u watchdog", (unsigned)n + 1);
	nd->hung_until = s->now;
	sim_daemon_kill(s, (unsigned)n);
}

static bool begin(struct sim *s, unsigned n)
{
	struct sim_node *nd = &s->node[n];

	if (!nd->up || !nd->daemon || nd->hung || nd->frozen)
		return false;
	sim_trace(s, "n%u csvlockd hangs", n + 1);
	nd->hung = true;
	s->faults++;
	return true;
}

/* Until the watchdog ends it, or without one. */
void sim_hang(struct sim *s, unsigned n)
{
	struct sim_node *nd = &s->node[n];
	uint64_t ms = 50 + sim_rand(s, sim_chance(s, 30) ? 800 : 8000);

	if (!begin(s, n))
		return;
	if (sim_chance(s, 40))
		sim_at(s, SIM_WATCHDOG_MS * SIM_MS, (int)n, &nd->daemon_life, watchdog, n, 0, NULL);
	sim_at(s, ms * SIM_MS, (int)n, &nd->daemon_life, go_on, n, 0, NULL);
}

/* Nothing helps: the others have to go on without it. */
void sim_hang_for_good(struct sim *s, unsigned n)
{
	if (begin(s, n))
		s->lost = (int)n;
}
