/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the pure machine and the world: events in, actions out, timers. */
#include <stdlib.h>
#include <string.h>

#include "lockd/daemon/daemon.h"
#include "lockd/daemon/dlm.h"
#include "lockd/daemon/handoff.h"

/* How often a missing corosync is tried again. */
#define RECONNECT_NS (500 * CSV_NS_PER_MS)

struct timer {
	struct csv_list link;
	struct csv_daemon *daemon;
	uint64_t id;
	qb_loop_timer_handle handle;
};

static void on_timer(void *arg)
{
	struct timer *t = arg;
	struct csv_daemon *d = t->daemon;
	struct csv_event ev = { .type = CSV_EV_TIMER, .timer = t->id };

	csv_list_del(&t->link);
	free(t);
	csv_driver_step(d, &ev);
}

void csv_driver_soon(struct csv_daemon *d, void (*fn)(void *d))
{
	qb_loop_timer_handle unused;

	CSV_ASSERT(!qb_loop_timer_add(d->loop, QB_LOOP_HIGH, 1, d, fn, &unused));
}

static void cancel(struct csv_daemon *d, struct timer *t)
{
	qb_loop_timer_del(d->loop, t->handle);
	csv_list_del(&t->link);
	free(t);
}

/* ms 0 only cancels. One timer per id. */
static void set_timer(struct csv_daemon *d, uint64_t id, unsigned ms)
{
	struct csv_list *pos, *tmp;
	struct timer *t;

	csv_list_for_each_safe(pos, tmp, &d->timers) {
		t = csv_list_entry(pos, struct timer, link);
		if (t->id == id)
			cancel(d, t);
	}
	if (!ms)
		return;
	t = calloc(1, sizeof(*t));
	CSV_ASSERT(t);
	t->daemon = d;
	t->id = id;
	csv_list_push_back(&d->timers, &t->link);
	qb_loop_timer_add(d->loop, QB_LOOP_MED, ms * CSV_NS_PER_MS, t, on_timer, &t->handle);
}

static void carry_out(struct csv_daemon *d, const struct csv_action *a)
{
	struct csv_peer *p;

	switch (a->type) {
	case CSV_ACT_SEND:
		csv_group_send(d, a->data, a->len);
		break;
	case CSV_ACT_CLIENT:
		p = csv_peer_find(d, a->client);
		if (p)
			csv_peer_send(p, &a->msg);
		break;
	case CSV_ACT_CLOSE:
		p = csv_peer_find(d, a->client);
		if (p)
			p->closing = true; /* by the loop: an event is being handled */
		break;
	case CSV_ACT_REJOIN:
		d->evicted = true; /* by group.c: corosync's call-back is running */
		break;
	case CSV_ACT_KILL:
		csv_kill_node(a->nodeid);
		break;
	case CSV_ACT_DLM:
		csv_dlm_order(d, &a->dlm);
		break;
	case CSV_ACT_TIMER:
		set_timer(d, a->timer, a->ms);
		break;
	case CSV_ACT_LOG:
		csv_log((enum csv_log_level)a->level, "%s", a->text);
		break;
	}
}

/*
 * Nested calls do not happen: nothing that an action does feeds the machine at once (a closed peer is told by the
 * loop). Therefore one list of actions serves all steps.
 */
void csv_driver_step(struct csv_daemon *d, const struct csv_event *ev)
{
	static struct csv_actions actions;
	static bool inside;

	if (!d->machine)
		return;
	CSV_ASSERT(!inside);
	inside = true;
	csv_machine_step(d->machine, ev, &actions);
	for (size_t i = 0; i < actions.n; i++)
		carry_out(d, &actions.list[i]);
	csv_actions_clear(&actions);
	inside = false;
	csv_nodes_look(d);
	csv_handoff_poll(d);
	csv_dlm_look(d);
	csv_dlm_release_look(d);
	csv_expel_look(d);
}

static void carry_out_all(struct csv_daemon *d, struct csv_actions *actions)
{
	for (size_t i = 0; i < actions->n; i++)
		carry_out(d, &actions->list[i]);
	csv_actions_free(actions);
}

/* These send only: what follows from it comes back in order. */
void csv_driver_handoff(struct csv_daemon *d, const struct csv_ho_msg *msg)
{
	struct csv_actions actions = { 0 };

	csv_machine_handoff(d->machine, msg, &actions);
	carry_out_all(d, &actions);
}

void csv_driver_sync(struct csv_daemon *d)
{
	struct csv_actions actions = { 0 };

	csv_machine_sync(d->machine, &actions);
	carry_out_all(d, &actions);
}

void csv_driver_expel(struct csv_daemon *d, uint32_t nodeid)
{
	struct csv_actions actions = { 0 };

	csv_machine_expel(d->machine, nodeid, &actions);
	carry_out_all(d, &actions);
}

static void drop_cluster(struct csv_daemon *d)
{
	while (!csv_list_empty(&d->timers))
		cancel(d, csv_list_entry(d->timers.next, struct timer, link));
	csv_group_leave(d);
	csv_nodes_forget(d);
	csv_expel_lost(d);
	csv_machine_free(d->machine);
	d->machine = NULL;
}

static void on_reconnect(void *arg)
{
	csv_driver_connect(arg);
}

static void reconnect_later(struct csv_daemon *d)
{
	qb_loop_timer_handle h;

	qb_loop_timer_add(d->loop, QB_LOOP_MED, RECONNECT_NS, d, on_reconnect, &h);
}

void csv_driver_connect(struct csv_daemon *d)
{
	static bool told;
	struct csv_why why;
	enum csv_err err;

	csv_why_init(&why);
	err = csv_conf_cluster(&d->conf, &why);
	if (!err)
		err = csv_group_join(d, &why);
	if (err) {
		if (!told)
			csv_warn("no cluster yet: %s; %s", why.text, why.hint);
		told = true;
		reconnect_later(d);
		return;
	}
	told = false;
	csv_info("in cluster %s as node %u", d->conf.machine.cluster, d->conf.machine.nodeid);
}

/*
 * A csvlockd without corosync, or one that was evicted, knows nothing of the others, who are about to fence this node's
 * slots.  Its clients see
 * their connection end, start no new I/O, and re-attach when there is a cluster again (or learn that they are out).
 */
void csv_driver_cluster_lost(struct csv_daemon *d)
{
	struct csv_list *pos, *tmp;

	drop_cluster(d);
	csv_list_for_each_safe(pos, tmp, &d->peers) {
		struct csv_peer *p = csv_list_entry(pos, struct csv_peer, link);

		if (p->role == CSV_ROLE_FS)
			csv_peer_close(p);
	}
	reconnect_later(d);
}

void csv_driver_stop(struct csv_daemon *d)
{
	drop_cluster(d);
}
