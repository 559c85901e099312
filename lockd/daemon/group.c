/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The CPG group of all csvlockds: what corosync delivers becomes events of the machine, in one order. */
#include <corosync/cpg.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "lockd/daemon/backlog.h"
#include "lockd/daemon/daemon.h"

#define GROUP_NAME "csvfs"
/* Messages that are delivered before the loop turns again. After a hang there may be very many. */
#define DELIVER_MAX 1000
/* When corosync's queue is full we ask again after this time, ns. */
#define RETRY_NS (2 * CSV_NS_PER_MS)

struct outgoing {
	struct csv_list link;
	size_t len;
	uint8_t data[];
};

struct csv_group {
	struct csv_daemon *daemon;
	cpg_handle_t cpg;
	int fd;
	uint32_t nodeid;
	size_t nring; /* corosync's members, as on_ring() was told last */
	uint32_t ring[CSV_NODES_MAX];
	struct csv_list out;
	struct csv_backlog backlog;
	bool retrying;
	qb_loop_timer_handle retry;
};

static struct csv_group *group_of(cpg_handle_t h)
{
	void *context = NULL;

	cpg_context_get(h, &context);
	return context;
}

static void on_deliver(cpg_handle_t h, const struct cpg_name *name, uint32_t nodeid, uint32_t pid, void *msg,
		       size_t len)
{
	struct csv_event ev = { .type = CSV_EV_MSG, .sender = nodeid, .data = msg, .len = len };
	struct csv_group *g = group_of(h);

	if (!g)
		return;
	csv_backlog_took(&g->backlog, len);
	csv_driver_step(g->daemon, &ev);
}

static void on_confchg(cpg_handle_t h, const struct cpg_name *name, const struct cpg_address *member, size_t nmember,
		       const struct cpg_address *left, size_t nleft, const struct cpg_address *joined, size_t njoined)
{
	struct csv_event ev = { .type = CSV_EV_CONF };
	struct csv_group *g = group_of(h);

	if (!g)
		return;
	csv_backlog_took(&g->backlog, (nmember + nleft + njoined) * sizeof(*member));
	for (size_t i = 0; i < nmember && ev.nmembers < CSV_NODES_MAX; i++)
		ev.member[ev.nmembers++] = member[i].nodeid;
	for (size_t i = 0; i < nleft; i++) {
		if (left[i].reason == CPG_REASON_NODEDOWN && ev.ndown < CSV_NODES_MAX)
			ev.down[ev.ndown++] = left[i].nodeid;
		csv_info("node %u has left the group: %s", left[i].nodeid,
			 left[i].reason == CPG_REASON_PROCDOWN ? "its csvlockd ended"
			 : left[i].reason == CPG_REASON_LEAVE  ? "its csvlockd left"
							       : "the node is out");
	}
	for (size_t i = 0; i < njoined; i++)
		csv_info("node %u has joined the group", joined[i].nodeid);
	csv_driver_step(g->daemon, &ev);
}

static bool in_ring(uint32_t nodeid, const uint32_t *member, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (member[i] == nodeid)
			return true;
	}
	return false;
}

/* Who leaves the ring is gone, also if its csvlockd had left the group before: on_confchg() does not tell of those. */
static void on_ring(cpg_handle_t h, struct cpg_ring_id id, uint32_t n, const uint32_t *member)
{
	struct csv_event ev = { .type = CSV_EV_DOWN };
	struct csv_group *g = group_of(h);

	if (!g || n > CSV_NODES_MAX)
		return;
	for (size_t i = 0; i < g->nring; i++) {
		if (!in_ring(g->ring[i], member, n))
			ev.down[ev.ndown++] = g->ring[i];
	}
	memcpy(g->ring, member, n * sizeof(*member));
	g->nring = n;
	if (ev.ndown)
		csv_driver_step(g->daemon, &ev);
}

/* Sends what is queued until corosync takes no more. */
static void flush_out(struct csv_group *g);

static void on_retry(void *arg)
{
	struct csv_group *g = arg;

	g->retrying = false;
	flush_out(g);
}

static void flush_out(struct csv_group *g)
{
	while (!csv_list_empty(&g->out)) {
		struct outgoing *o = csv_list_entry(g->out.next, struct outgoing, link);
		struct iovec iov = { .iov_base = o->data, .iov_len = o->len };
		cs_error_t rc = cpg_mcast_joined(g->cpg, CPG_TYPE_AGREED, &iov, 1);

		if (rc == CS_ERR_TRY_AGAIN || rc == CS_ERR_TIMEOUT) {
			if (!g->retrying)
				g->retrying =
				    !qb_loop_timer_add(g->daemon->loop, QB_LOOP_HIGH, RETRY_NS, g, on_retry, &g->retry);
			return;
		}
		if (rc != CS_OK)
			return; /* corosync has gone: the descriptor will say so */
		g->daemon->sent++;
		csv_list_del(&o->link);
		free(o);
	}
}

/* Order is kept: nothing overtakes what is queued. */
void csv_group_send(struct csv_daemon *d, const void *data, size_t len)
{
	struct outgoing *o;

	if (!d->group)
		return;
	o = malloc(sizeof(*o) + len);
	CSV_ASSERT(o);
	o->len = len;
	memcpy(o->data, data, len);
	csv_list_push_back(&d->group->out, &o->link);
	if (!d->group->retrying)
		flush_out(d->group);
}

static int32_t on_readable(int32_t fd, int32_t revents, void *arg)
{
	struct csv_daemon *d = arg;
	cs_error_t rc = CS_ERR_LIBRARY;

	if (!(revents & (POLLHUP | POLLERR | POLLNVAL)))
		rc = CS_OK;
	for (int i = 0; i < DELIVER_MAX && rc == CS_OK && !d->evicted; i++)
		rc = cpg_dispatch(d->group->cpg, CS_DISPATCH_ONE_NONBLOCKING);
	if (rc == CS_ERR_TRY_AGAIN)
		csv_backlog_ring_empty(&d->group->backlog);
	if (!d->evicted && (rc == CS_OK || rc == CS_ERR_TRY_AGAIN))
		return 0;
	if (d->evicted)
		csv_error("the group has evicted this csvlockd, which stood still: its state is dropped");
	else
		csv_error("corosync has gone (CPG error %d): cluster state is dropped", (int)rc);
	d->evicted = false;
	csv_driver_cluster_lost(d);
	return -1;
}

static void on_evicted(void *arg)
{
	struct csv_daemon *d = arg;

	if (d->group && d->evicted)
		on_readable(d->group->fd, 0, d);
}

void csv_group_catch_up(struct csv_daemon *d)
{
	while (d->group && !d->evicted && cpg_dispatch(d->group->cpg, CS_DISPATCH_ONE_NONBLOCKING) == CS_OK)
		;
	if (d->evicted)
		csv_driver_soon(d, on_evicted); /* not from within what called us */
	else if (d->group && csv_backlog_ask(&d->group->backlog, csv_machine_quiet(d->machine)))
		csv_driver_sync(d);
}

static enum csv_err join(struct csv_group *g, struct csv_why *why)
{
	struct cpg_name name = { .length = sizeof(GROUP_NAME) - 1, .value = GROUP_NAME };
	cs_error_t rc;

	for (int i = 0; i < 200; i++) {
		rc = cpg_join(g->cpg, &name);
		if (rc != CS_ERR_TRY_AGAIN)
			break;
		poll(NULL, 0, 10);
	}
	if (rc != CS_OK)
		return csv_fail(why, CSV_NOCLUSTER, "look into corosync's log", "cannot join the CPG group (error %d)",
				(int)rc);
	return CSV_OK;
}

enum csv_err csv_group_join(struct csv_daemon *d, struct csv_why *why)
{
	cpg_model_v1_data_t model = { .cpg_deliver_fn = on_deliver,
				      .cpg_confchg_fn = on_confchg,
				      .cpg_totem_confchg_fn = on_ring,
				      .flags = CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF };
	struct csv_group *g = calloc(1, sizeof(*g));
	enum csv_err err = CSV_NOCLUSTER;

	if (!g)
		return csv_fail(why, CSV_NOMEM, "", "out of memory");
	g->daemon = d;
	csv_list_init(&g->out);
	if (cpg_model_initialize(&g->cpg, CPG_MODEL_V1, (cpg_model_data_t *)&model, g) != CS_OK) {
		csv_fail(why, err, "start corosync", "corosync's CPG does not answer");
		goto free_group;
	}
	if (cpg_local_get(g->cpg, &g->nodeid) != CS_OK || cpg_fd_get(g->cpg, &g->fd) != CS_OK) {
		csv_fail(why, err, "look into corosync's log", "corosync does not tell our node id");
		goto finalize;
	}
	if (d->conf.machine.nodeid && d->conf.machine.nodeid != g->nodeid)
		csv_warn("cmap says node %u, CPG says node %u: taking CPG's", d->conf.machine.nodeid, g->nodeid);
	d->conf.machine.nodeid = g->nodeid;
	err = csv_machine_new(&d->conf.machine, &d->machine);
	if (err)
		goto finalize;
	csv_expel_recall(d);
	d->group = g;
	err = join(g, why);
	if (err)
		goto unmake;
	qb_loop_poll_add(d->loop, QB_LOOP_HIGH, g->fd, POLLIN, d, on_readable);
	return CSV_OK;

unmake:
	d->group = NULL;
	csv_machine_free(d->machine);
	d->machine = NULL;
finalize:
	cpg_finalize(g->cpg);
free_group:
	free(g);
	return err;
}

void csv_group_leave(struct csv_daemon *d)
{
	struct csv_group *g = d->group;

	if (!g)
		return;
	d->group = NULL;
	qb_loop_poll_del(d->loop, g->fd);
	if (g->retrying)
		qb_loop_timer_del(d->loop, g->retry);
	while (!csv_list_empty(&g->out)) {
		struct outgoing *o = csv_list_entry(g->out.next, struct outgoing, link);

		csv_list_del(&o->link);
		free(o);
	}
	cpg_finalize(g->cpg);
	free(g);
}
