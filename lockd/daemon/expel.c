/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests that a node be fenced: multicast, and answered when nothing of it is left to be recovered. */
#include <stdlib.h>
#include <string.h>

#include "lockd/daemon/daemon.h"
#include "lockd/daemon/memory.h"

struct expel {
	struct csv_list link;
	uint64_t peer, seq;
	uint32_t nodeid;
};

static struct csv_list waiting = CSV_LIST_INIT(waiting);

static void forget(struct expel *e)
{
	csv_list_del(&e->link);
	free(e);
}

static bool is_configured(const struct csv_daemon *d, uint32_t nodeid)
{
	for (unsigned i = 0; i < d->conf.machine.nnodes; i++) {
		if (d->conf.machine.node[i].nodeid == nodeid)
			return true;
	}
	return false;
}

void csv_expel_request(struct csv_peer *p, const struct csv_msg *msg)
{
	struct csv_daemon *d = p->daemon;
	struct expel *e;

	if (!is_configured(d, msg->node.nodeid)) {
		csv_peer_error(p, msg->seq, CSV_NOENT, "no node has the number %u", msg->node.nodeid);
		return;
	}
	e = calloc(1, sizeof(*e));
	CSV_ASSERT(e);
	e->peer = p->id;
	e->seq = msg->seq;
	e->nodeid = msg->node.nodeid;
	csv_list_push_back(&waiting, &e->link);
	csv_driver_expel(d, e->nodeid);
}

/* ---- what the next csvlockd of this host must know ---- */

static struct {
	struct csv_expelled list[CSV_NODES_MAX];
	unsigned n;
	bool failed;
} saved;

void csv_expel_recall(struct csv_daemon *d)
{
	saved.n = csv_memory_read(d->conf.run_dir, d->conf.machine.cluster, saved.list);
	csv_machine_remember(d->machine, saved.list, saved.n);
}

static bool is_saved(const struct csv_expelled *now, unsigned n)
{
	if (n != saved.n)
		return false;
	for (unsigned i = 0; i < n; i++) {
		if (now[i].nodeid != saved.list[i].nodeid || now[i].id != saved.list[i].id ||
		    now[i].over != saved.list[i].over)
			return false;
	}
	return true;
}

static bool save(struct csv_daemon *d)
{
	struct csv_expelled now[CSV_NODES_MAX];
	unsigned n = csv_machine_memory(d->machine, now);
	enum csv_err err;

	if (is_saved(now, n))
		return true;
	err = csv_memory_write(d->conf.run_dir, d->conf.machine.cluster, now, n);
	if (err && !saved.failed)
		csv_error("which nodes are fenced cannot be kept in %s: %s; no fence is confirmed", d->conf.run_dir,
			  csv_err_text(err));
	saved.failed = err;
	if (err)
		return false;
	memcpy(saved.list, now, n * sizeof(*now));
	saved.n = n;
	return true;
}

/* ---- answers ---- */

void csv_expel_look(struct csv_daemon *d)
{
	struct csv_list *pos, *tmp;

	if (!save(d))
		return;
	csv_list_for_each_safe(pos, tmp, &waiting) {
		struct expel *e = csv_list_entry(pos, struct expel, link);
		struct csv_msg done = { .type = CSV_MSG_DONE, .seq = e->seq, .last = 1 };
		struct csv_peer *p = csv_peer_find(d, e->peer);

		if (!csv_machine_expelled(d->machine, e->nodeid))
			continue;
		if (p)
			csv_peer_send(p, &done);
		forget(e);
	}
}

void csv_expel_gone(struct csv_peer *p)
{
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &waiting) {
		struct expel *e = csv_list_entry(pos, struct expel, link);

		if (e->peer == p->id)
			forget(e);
	}
}

void csv_expel_lost(struct csv_daemon *d)
{
	while (!csv_list_empty(&waiting)) {
		struct expel *e = csv_list_entry(waiting.next, struct expel, link);
		struct csv_peer *p = csv_peer_find(d, e->peer);

		if (p)
			csv_peer_error(p, e->seq, CSV_NOCLUSTER, "this node has lost the cluster");
		forget(e);
	}
}
