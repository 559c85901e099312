/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's DLM, csv-dlm-space and dlm_controld, for runs in which the volume has lock=dlm.  The table between them
 * and the machine (lockd/engine/dlm_table.c) is the daemon's own.
 *
 * The DLM is one place here: requests come to it after a while, in a node's order, and answers go back likewise.  What
 * its distribution adds is what its users see of it: while a member of the lockspace is missing everything stands
 * still; the locks of the missing node go when the fence agent says so (L2); the locks of a csvlockd that died stay, as
 * orphans, and what it had only asked for goes; an adopted lock is told of no want that was there before (L4).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lockd/engine/dlm_table.h"
#include "tests/sim/sim.h"

struct klock {
	struct csv_list link;
	unsigned node;
	uint64_t cookie;
	char name[CSV_DLM_NAME_MAX];
	enum csv_mode mode, highbast;
	bool waiting, orphan;
};

struct arrived {
	struct csv_list link;
	unsigned node;
	uint64_t daemon_life;
	struct csv_dlm_req req;
};

/* ---- to csvlockd ---- */

static void drain(struct sim *s, unsigned n)
{
	struct sim_dlm_node *dn = &s->dlm.node[n];

	for (size_t i = 0; i < dn->nresults; i++)
		csv_dlm_table_event(dn->table, &dn->results[i]);
	dn->nresults = 0;
}

void sim_dlm_go_on(struct sim *s, unsigned n)
{
	if (s->dlm.node[n].table)
		drain(s, n);
}

static void come(struct sim *s, uint64_t n, uint64_t b, void *data)
{
	struct sim_dlm_node *dn = &s->dlm.node[n];

	if (dn->nresults == dn->capresults) {
		dn->capresults = dn->capresults * 2 + 16;
		dn->results = realloc(dn->results, dn->capresults * sizeof(*dn->results));
		CSV_ASSERT(dn->results);
	}
	dn->results[dn->nresults++] = *(struct csv_dlm_res *)data;
	if (!s->node[n].hung)
		drain(s, (unsigned)n);
}

static uint64_t in_order(struct sim *s, uint64_t *last)
{
	uint64_t at = s->now + 20 + sim_rand(s, 3 * SIM_MS);

	if (at <= *last)
		at = *last + 1;
	*last = at;
	return at - s->now;
}

static void result(struct sim *s, unsigned n, enum csv_dlm_event event, uint64_t cookie, enum csv_mode mode,
		   unsigned status)
{
	struct csv_dlm_res *r = calloc(1, sizeof(*r));

	CSV_ASSERT(r);
	r->event = event;
	r->cookie = cookie;
	r->mode = mode;
	r->status = status;
	sim_at(s, in_order(s, &s->dlm.node[n].from_last), (int)n, &s->node[n].daemon_life, come, n, 0, r);
}

static void on_say(void *arg, const struct csv_dlm_saying *what)
{
	struct sim_dlm_node *dn = arg;

	sim_dlm_say(dn->sim, dn->index, what);
}

/* It is a lock of a csvfs that goes on: neither told that it is out, nor fenced already. */
static bool counts(const struct sim *s, unsigned n, struct csv_res res)
{
	const struct csv_local *c = csv_local_of(s->node[n].m, sim_volume);
	const struct csv_hold *h = c ? csv_hold_find(c, res) : NULL;

	return h && h->held != CSV_NL && sim_key_registered(s, s->node[n].fs.key);
}

static void said(struct sim *s, uint64_t n, uint64_t b, void *data)
{
	struct csv_dlm_saying *what = data;
	struct csv_event ev = { .type = CSV_EV_DLM, .dlm = what };

	if (what->what == CSV_DLM_SAID_LOST && !s->dlm.node[n].stale && counts(s, (unsigned)n, what->res))
		sim_fail(s, "node %u: the DLM has lost a lock", (unsigned)n + 1);
	sim_step(s, (unsigned)n, &ev);
}

void sim_dlm_say(struct sim *s, unsigned n, const struct csv_dlm_saying *what)
{
	struct csv_dlm_saying *copy = malloc(sizeof(*copy));

	CSV_ASSERT(copy);
	*copy = *what;
	memcpy(copy->uuid, s->dlm.uuid, sizeof(copy->uuid));
	sim_at(s, 0, (int)n, &s->node[n].daemon_life, said, n, 0, copy);
}

/* ---- the DLM ---- */

static struct klock *entry(struct csv_list *pos)
{
	return csv_list_entry(pos, struct klock, link);
}

static void drop(struct klock *l)
{
	csv_list_del(&l->link);
	free(l);
}

static bool grantable(const struct sim *s, const struct klock *l)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &s->dlm.locks) {
		const struct klock *o = entry(pos);

		if (o == l)
			return true; /* first come, first served: behind it nobody waits that counts */
		if (!strcmp(o->name, l->name) && (o->waiting || !csv_mode_compatible(o->mode, l->mode)))
			return false;
	}
	return true;
}

/* Holders stand before waiters in the list. */
static void granted(struct sim *s, struct klock *l)
{
	csv_list_del(&l->link);
	csv_list_push_front(&s->dlm.locks, &l->link);
	l->waiting = false;
	l->highbast = CSV_NL;
	result(s, l->node, CSV_DLM_DONE, l->cookie, l->mode, 0);
}

static void basts(struct sim *s, const char *name)
{
	struct csv_list *wpos, *hpos;

	csv_list_for_each(wpos, &s->dlm.locks) {
		struct klock *w = entry(wpos);

		if (!w->waiting || strcmp(w->name, name))
			continue;
		csv_list_for_each(hpos, &s->dlm.locks) {
			struct klock *h = entry(hpos);

			if (h->waiting || strcmp(h->name, name) || csv_mode_compatible(h->mode, w->mode) ||
			    h->highbast >= w->mode)
				continue;
			h->highbast = w->mode;
			if (!h->orphan)
				result(s, h->node, CSV_DLM_BAST, h->cookie, w->mode, 0);
		}
	}
}

static void run_resource(struct sim *s, const char *name)
{
	struct csv_list *pos;
	bool again = true;

	while (again) {
		again = false;
		csv_list_for_each(pos, &s->dlm.locks) {
			struct klock *l = entry(pos);

			if (!l->waiting || strcmp(l->name, name) || !grantable(s, l))
				continue;
			granted(s, l);
			again = true;
			break;
		}
	}
	basts(s, name);
}

static void run_all(struct sim *s)
{
	char name[CSV_DLM_NAME_MAX];

	for (uint32_t i = 1; i <= SIM_INODES; i++) {
		csv_dlm_name(csv_res(CSV_RES_INODE, i), name);
		run_resource(s, name);
	}
}

static struct klock *by_cookie(struct sim *s, unsigned n, uint64_t cookie)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &s->dlm.locks) {
		struct klock *l = entry(pos);

		if (l->node == n && l->cookie == cookie && !l->orphan)
			return l;
	}
	return NULL;
}

static void do_lock(struct sim *s, unsigned n, const struct csv_dlm_req *r)
{
	struct klock *l = calloc(1, sizeof(*l));

	CSV_ASSERT(l);
	l->node = n;
	l->cookie = r->cookie;
	memcpy(l->name, r->name, sizeof(l->name));
	l->mode = (enum csv_mode)r->mode;
	l->waiting = true;
	csv_list_push_back(&s->dlm.locks, &l->link);
	if (grantable(s, l)) {
		granted(s, l);
	} else if (r->noqueue) {
		drop(l);
		result(s, n, CSV_DLM_DONE, r->cookie, CSV_NL, EAGAIN);
	} else {
		basts(s, r->name);
	}
}

static void do_adopt(struct sim *s, unsigned n, const struct csv_dlm_req *r)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &s->dlm.locks) {
		struct klock *l = entry(pos);

		if (l->node != n || !l->orphan || strcmp(l->name, r->name))
			continue;
		l->orphan = false;
		l->cookie = r->cookie;
		result(s, n, CSV_DLM_DONE, r->cookie, l->mode, 0);
		return;
	}
	result(s, n, CSV_DLM_DONE, r->cookie, CSV_NL, ENOENT);
}

static void drop_orphans(struct sim *s, unsigned n)
{
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &s->dlm.locks) {
		if (entry(pos)->node == n && entry(pos)->orphan)
			drop(entry(pos));
	}
	run_all(s);
}

static void process(struct sim *s, unsigned n, const struct csv_dlm_req *r)
{
	struct klock *l = by_cookie(s, n, r->cookie);

	switch (r->op) {
	case CSV_DLM_LOCK:
		do_lock(s, n, r);
		return;
	case CSV_DLM_ADOPT:
		do_adopt(s, n, r);
		return;
	case CSV_DLM_PURGE:
		drop_orphans(s, n);
		return;
	default:
		break;
	}
	if (r->op == CSV_DLM_CANCEL && (!l || !l->waiting))
		return;
	if (!l || l->waiting != (r->op == CSV_DLM_CANCEL))
		sim_fail(s, "node %u: request %u about a lock that the DLM does not have so", n + 1, r->op);
	if (r->op == CSV_DLM_CONVERT) {
		if (!csv_mode_covers(l->mode, (enum csv_mode)r->mode))
			sim_fail(s, "node %u converts a lock up", n + 1);
		l->mode = (enum csv_mode)r->mode;
		l->highbast = CSV_NL;
		result(s, n, CSV_DLM_DONE, r->cookie, l->mode, 0);
	} else {
		result(s, n, CSV_DLM_DONE, r->cookie, CSV_NL, r->op == CSV_DLM_CANCEL ? ECANCELED : 0);
		drop(l);
	}
	run_resource(s, r->name);
}

static bool stopped(const struct sim *s, unsigned n)
{
	return s->dlm.gone || s->dlm.node[n].stale;
}

static void start_again(struct sim *s)
{
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &s->dlm.arrived) {
		struct arrived *a = csv_list_entry(pos, struct arrived, link);

		if (stopped(s, a->node))
			continue;
		csv_list_del(&a->link);
		if (s->node[a->node].daemon_life == a->daemon_life)
			process(s, a->node, &a->req);
		free(a);
	}
}

static void arrive(struct sim *s, uint64_t n, uint64_t b, void *data)
{
	struct arrived *a;

	if (!stopped(s, (unsigned)n)) {
		process(s, (unsigned)n, data);
		return;
	}
	a = calloc(1, sizeof(*a));
	CSV_ASSERT(a);
	a->node = (unsigned)n;
	a->daemon_life = s->node[n].daemon_life;
	a->req = *(struct csv_dlm_req *)data;
	csv_list_push_back(&s->dlm.arrived, &a->link);
}

/* What a csvfs has is given up in the DLM only when it has given it up. */
static void check_unlock(struct sim *s, unsigned n, const struct csv_dlm_req *req)
{
	struct csv_res res = { .type = CSV_RES_INODE };

	if (req->op == CSV_DLM_UNLOCK && sscanf(req->name, "inode:%" SCNx64, &res.id) == 1 && counts(s, n, res))
		sim_fail(s, "node %u: csvlockd gives up a lock that its csvfs has", n + 1);
}

static void on_send(void *arg, const struct csv_dlm_req *req)
{
	struct sim_dlm_node *dn = arg;
	struct sim *s = dn->sim;
	struct csv_dlm_req *copy;

	check_unlock(s, dn->index, req);
	copy = malloc(sizeof(*copy));
	CSV_ASSERT(copy);
	*copy = *req;
	sim_at(s, in_order(s, &dn->to_last), (int)dn->index, &s->node[dn->index].daemon_life, arrive, dn->index, 0,
	       copy);
}

static void on_broken(void *arg, const char *what, unsigned status)
{
	struct sim_dlm_node *dn = arg;

	sim_fail(dn->sim, "node %u: the DLM is broken: %s %u", dn->index + 1, what, status);
}

/* ---- dlm_controld ---- */

static void purge(struct sim *s, unsigned n)
{
	struct sim_dlm_node *dn = &s->dlm.node[n];
	struct csv_list *pos, *tmp;

	sim_trace(s, "DLM: the locks of n%u go", n + 1);
	csv_list_for_each_safe(pos, tmp, &s->dlm.locks) {
		if (entry(pos)->node == n)
			drop(entry(pos));
	}
	s->dlm.gone &= ~(1u << n);
	if (dn->joined && s->node[n].up && dn->life == s->node[n].life) {
		dn->stale = true; /* it knows nothing of that yet */
		sim_crash_later(s, n, sim_rand(s, 2000) * SIM_MS);
	}
	dn->joined = s->node[n].up && dn->table && !dn->stale; /* booted anew, and waiting for this */
	dn->life = s->node[n].life;
	run_all(s);
}

/* The life of it that is in the lockspace is over. */
static bool is_down(const struct sim *s, unsigned n)
{
	const struct sim_dlm_node *dn = &s->dlm.node[n];

	return dn->joined && (!s->node[n].up || dn->life != s->node[n].life);
}

static bool is_missing(const struct sim *s, unsigned n, const struct sim_ring *ring)
{
	return is_down(s, n) || (s->dlm.node[n].joined && !(ring->members >> n & 1));
}

/* A node whose dlm_controld has joined again counts as fenced (is_clean_daemon_member), whatever the agent says. */
static bool takes_for_fenced(struct sim *s, unsigned n, const struct sim_ring *ring)
{
	return is_down(s, n) && s->node[n].up && (ring->members >> n & 1) && sim_chance(s, 10);
}

static void look_from(struct sim *s, unsigned by)
{
	const struct sim_node *nd = &s->node[by];

	for (unsigned n = 0; n < s->nnodes; n++) {
		struct sim_dlm_node *dn = &s->dlm.node[n];

		if (n == by || !is_missing(s, n, nd->ring))
			continue;
		s->dlm.gone |= 1u << n;
		if (takes_for_fenced(s, n, nd->ring)) {
			sim_trace(s, "DLM: n%u is back, and so counts as fenced", n + 1);
			purge(s, n);
		} else if (csv_machine_expelled(nd->m, n + 1)) {
			purge(s, n);
		} else if (s->now >= dn->agent_next) {
			dn->agent_next = s->now + 1000 * SIM_MS;
			sim_trace(s, "DLM: n%u asks for the fence of n%u", by + 1, n + 1);
			csv_machine_expel(nd->m, n + 1, &s->actions);
			sim_carry_out(s, by);
		}
	}
}

/* Its corosync, and so its csvlockd and its dlm_controld, knows that nobody who was in the lockspace is there any more.
 */
static bool knows_it_empty(const struct sim *s, unsigned by)
{
	const struct sim_node *nd = &s->node[by];

	if (!nd->up || nd->frozen || !nd->daemon || nd->hung || nd->ring->stalled || !csv_machine_formed(nd->m))
		return false;
	for (unsigned n = 0; n < s->nnodes; n++) {
		bool new_life = s->node[n].up && s->dlm.node[n].life != s->node[n].life;

		if (n != by && s->dlm.node[n].joined && !new_life && csv_view_index(nd->m, n + 1) >= 0)
			return false;
	}
	return true;
}

/* Who has booted anew waits for the end of the last one. */
static bool waits_to_join(const struct sim *s, unsigned n)
{
	return s->node[n].up && s->dlm.node[n].table && !s->dlm.node[n].stale && knows_it_empty(s, n);
}

/* Nobody is left in the lockspace: it is as if it had never been, for the first who wants to join it. */
static void forget_if_empty(struct sim *s)
{
	bool waits[SIM_NODES], any = false;

	for (unsigned n = 0; n < s->nnodes; n++) {
		const struct sim_dlm_node *dn = &s->dlm.node[n];

		if (dn->joined && s->node[n].up && dn->life == s->node[n].life)
			return;
		waits[n] = waits_to_join(s, n);
		any |= waits[n];
	}
	if (!any)
		return;
	for (unsigned n = 0; n < s->nnodes; n++) {
		struct sim_dlm_node *dn = &s->dlm.node[n];

		dn->joined = waits[n];
		dn->life = s->node[n].life;
	}
	while (!csv_list_empty(&s->dlm.locks))
		drop(entry(s->dlm.locks.next));
	s->dlm.gone = 0;
}

/* A node without use of it leaves the lockspace. */
static void leave_unused(struct sim *s, unsigned n)
{
	struct sim_dlm_node *dn = &s->dlm.node[n];
	struct csv_dlm_order drop_all = { .verb = CSV_DLM_DO_DROP };

	if (!dn->joined || !dn->table || stopped(s, n) || !csv_machine_dlm_unused(s->node[n].m, s->dlm.uuid))
		return;
	csv_dlm_table_order(dn->table, &drop_all);
	if (csv_dlm_table_count(dn->table))
		return;
	drop_orphans(s, n);
	dn->joined = false;
	sim_trace(s, "DLM: n%u leaves", n + 1);
}

static void look(struct sim *s, uint64_t a, uint64_t b, void *data)
{
	s->dlm.gone = 0;
	for (unsigned n = 0; n < s->nnodes; n++) {
		if (is_down(s, n))
			s->dlm.gone |= 1u << n;
	}
	for (unsigned n = 0; n < s->nnodes; n++) {
		const struct sim_node *nd = &s->node[n];

		if (!nd->up || nd->frozen || !nd->daemon || nd->hung || !nd->ring || nd->ring->stalled)
			continue;
		leave_unused(s, n);
		if (csv_machine_formed(nd->m) && csv_machine_quorate(nd->m))
			look_from(s, n);
	}
	forget_if_empty(s);
	if (!s->dlm.gone)
		start_again(s);
	sim_at(s, 40 * SIM_MS, -1, NULL, look, 0, 0, NULL);
}

/* ---- for the world ---- */

void sim_dlm_init(struct sim *s, const uint8_t *uuid)
{
	csv_list_init(&s->dlm.locks);
	csv_list_init(&s->dlm.arrived);
	memcpy(s->dlm.uuid, uuid, sizeof(s->dlm.uuid));
	for (unsigned n = 0; n < SIM_NODES; n++) {
		s->dlm.node[n].sim = s;
		s->dlm.node[n].index = n;
	}
	if (s->dlm.used)
		sim_at(s, 40 * SIM_MS, -1, NULL, look, 0, 0, NULL);
}

void sim_dlm_order(struct sim *s, unsigned n, const struct csv_dlm_order *o)
{
	struct sim_dlm_node *dn = &s->dlm.node[n];
	struct csv_dlm_host host = { on_send, on_say, on_broken, dn };

	if (!dn->table)
		dn->table = csv_dlm_table_new(&host);
	if (!dn->joined && !dn->stale && !(s->dlm.gone >> n & 1)) {
		dn->joined = true;
		dn->life = s->node[n].life;
	}
	csv_dlm_table_order(dn->table, o);
}

/* csvlockd has ended, and csv-dlm-space with it. */
void sim_dlm_daemon_ended(struct sim *s, unsigned n)
{
	struct sim_dlm_node *dn = &s->dlm.node[n];
	struct csv_list *pos, *tmp;

	csv_dlm_table_free(dn->table);
	dn->table = NULL;
	dn->nresults = 0;
	dn->to_last = dn->from_last = 0;
	csv_list_for_each_safe(pos, tmp, &s->dlm.locks) {
		struct klock *l = entry(pos);

		if (l->node != n)
			continue;
		if (l->waiting)
			drop(l);
		else
			l->orphan = true;
	}
	run_all(s);
}

/* The node has lost its power: what it had in the DLM stays until the agent has said that it is fenced. */
void sim_dlm_crashed(struct sim *s, unsigned n)
{
	s->dlm.node[n].stale = false;
	if (s->dlm.node[n].joined)
		s->dlm.gone |= 1u << n;
	forget_if_empty(s);
}

void sim_dlm_trace(struct sim *s)
{
	struct csv_list *pos;

	sim_trace(s, "DLM: missing %#x", s->dlm.gone);
	for (unsigned n = 0; n < s->nnodes; n++) {
		const struct sim_dlm_node *dn = &s->dlm.node[n];

		sim_trace(s, "DLM: n%u joined %d stale %d, %zu locks", n + 1, dn->joined, dn->stale,
			  dn->table ? csv_dlm_table_count(dn->table) : 0);
	}
	csv_list_for_each(pos, &s->dlm.locks) {
		const struct klock *l = entry(pos);

		sim_trace(s, "DLM: %s n%u %s %s%s", l->name, l->node + 1, l->waiting ? "waits" : "holds",
			  csv_mode_name(l->mode), l->orphan ? ", orphan" : "");
	}
}

void sim_dlm_free(struct sim *s)
{
	for (unsigned n = 0; n < SIM_NODES; n++) {
		csv_dlm_table_free(s->dlm.node[n].table);
		free(s->dlm.node[n].results);
	}
	while (!csv_list_empty(&s->dlm.locks))
		drop(entry(s->dlm.locks.next));
	while (!csv_list_empty(&s->dlm.arrived)) {
		struct arrived *a = csv_list_entry(s->dlm.arrived.next, struct arrived, link);

		csv_list_del(&a->link);
		free(a);
	}
}
