/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Questions of csvadm: the state of the node, its volumes, the cluster's nodes and locks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lockd/daemon/daemon.h"
#include "lockd/daemon/handoff.h"

struct ask {
	struct csv_peer *peer;
	uint64_t seq;
};

static void finish(struct csv_peer *p, uint64_t seq, enum csv_err err)
{
	struct csv_msg msg = { .type = CSV_MSG_DONE, .seq = seq, .err = err, .last = 1 };

	csv_peer_send(p, &msg);
}

static void send_node(void *arg, const struct csv_msg_node *n)
{
	const struct ask *a = arg;
	struct csv_msg msg = { .type = CSV_MSG_STATUS_NODE, .seq = a->seq, .node = *n };

	msg.node.since_sec = csv_nodes_since(a->peer->daemon, n->nodeid);
	csv_peer_send(a->peer, &msg);
}

static void send_self(void *arg, const struct csv_msg_node *n)
{
	if (n->self)
		send_node(arg, n);
}

/* Without a cluster nobody else can tell who we are. */
static void send_lonely_self(const struct ask *a)
{
	struct csv_msg msg = { .type = CSV_MSG_STATUS_NODE, .seq = a->seq };

	msg.node.self = 1;
	snprintf(msg.node.state, sizeof(msg.node.state), "no cluster");
	snprintf(msg.node.name, sizeof(msg.node.name), "%s", a->peer->daemon->conf.node);
	csv_peer_send(a->peer, &msg);
}

/* By volume or mount point. A mount whose volume is out may stand beside one that works: that one is meant. */
static struct csv_peer *volume_named(struct csv_daemon *d, const char *name)
{
	struct csv_peer *found = NULL;
	struct csv_list *pos;

	csv_list_for_each(pos, &d->peers) {
		struct csv_peer *p = csv_list_entry(pos, struct csv_peer, link);

		if (!csv_peer_mounts(p) || (strcmp(p->hello.volume, name) && strcmp(p->hello.mount, name)))
			continue;
		if (p->role == CSV_ROLE_FS)
			return p;
		found = p;
	}
	return found;
}

/*
 * ---- STATUS: each csvfs is asked; who does not answer in time is told as such ----
 *
 * One whose connection ends meanwhile is not waited for: it goes, or it comes back under another role.
 */

struct asked {
	struct csv_list link; /* csv_peer.asked of the admin */
	uint64_t peer;
};

static void forget_asked(struct csv_peer *p)
{
	while (!csv_list_empty(&p->asked)) {
		struct asked *a = csv_list_entry(p->asked.next, struct asked, link);

		csv_list_del(&a->link);
		free(a);
	}
}

static void on_late(void *arg)
{
	struct csv_peer *p = arg;

	forget_asked(p);
	finish(p, p->await_seq, CSV_TIMEOUT);
}

static void ask_one(struct csv_peer *p, struct csv_peer *fs)
{
	struct csv_msg ask = { .type = CSV_MSG_STATUS, .seq = p->id };
	struct asked *a = malloc(sizeof(*a));

	CSV_ASSERT(a);
	a->peer = fs->id;
	csv_list_push_back(&p->asked, &a->link);
	csv_peer_send(fs, &ask);
}

static void ask_volumes(struct csv_peer *p, uint64_t seq)
{
	struct csv_daemon *d = p->daemon;
	struct csv_list *pos;

	if (!csv_list_empty(&p->asked)) {
		csv_peer_error(p, seq, CSV_BUSY, "one STATUS at a time");
		return;
	}
	csv_list_for_each(pos, &d->peers) {
		struct csv_peer *fs = csv_list_entry(pos, struct csv_peer, link);

		if (csv_peer_mounts(fs) && !fs->closing)
			ask_one(p, fs);
	}
	if (csv_list_empty(&p->asked)) {
		finish(p, seq, CSV_OK);
		return;
	}
	p->await_seq = seq;
	qb_loop_timer_add(d->loop, QB_LOOP_MED, d->conf.status_ms * CSV_NS_PER_MS, p, on_late, &p->await_timer);
}

/* False: it was not asked, or its answer comes too late. */
static bool take_asked(struct csv_peer *p, uint64_t peer)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &p->asked) {
		struct asked *a = csv_list_entry(pos, struct asked, link);

		if (a->peer != peer)
			continue;
		csv_list_del(&a->link);
		free(a);
		return true;
	}
	return false;
}

static void finish_if_all(struct csv_peer *p)
{
	if (!csv_list_empty(&p->asked))
		return;
	qb_loop_timer_del(p->daemon->loop, p->await_timer);
	finish(p, p->await_seq, CSV_OK);
}

bool csv_admin_answer(struct csv_peer *fs, const struct csv_msg *msg)
{
	struct csv_msg fwd = *msg;
	struct csv_peer *p;

	if (msg->type != CSV_MSG_STATUS_VOLUME)
		return false;
	p = csv_peer_find(fs->daemon, msg->seq);
	if (!p || !take_asked(p, fs->id))
		return true;
	fwd.seq = p->await_seq;
	fwd.last = 0;
	csv_peer_send(p, &fwd);
	finish_if_all(p);
	return true;
}

void csv_admin_gone(struct csv_peer *gone)
{
	struct csv_list *pos;

	if (!csv_list_empty(&gone->asked))
		qb_loop_timer_del(gone->daemon->loop, gone->await_timer);
	forget_asked(gone);
	csv_list_for_each(pos, &gone->daemon->peers) {
		struct csv_peer *p = csv_list_entry(pos, struct csv_peer, link);

		if (take_asked(p, gone->id))
			finish_if_all(p);
	}
}

static void on_status(struct csv_peer *p, const struct csv_msg *msg)
{
	struct ask a = { p, msg->seq };

	if (p->daemon->machine)
		csv_machine_nodes(p->daemon->machine, send_self, &a);
	else
		send_lonely_self(&a);
	csv_remount_status(p, msg->seq);
	ask_volumes(p, msg->seq);
}

/* LOCK_LIST, BRL_LIST */
static void on_lock_list(struct csv_peer *p, const struct csv_msg *msg)
{
	char name[sizeof(msg->volume.name) + 1] = { 0 };
	const struct csv_peer *fs;

	memcpy(name, msg->volume.name, sizeof(msg->volume.name));
	fs = volume_named(p->daemon, name);
	if (fs)
		csv_listing_begin(p, msg, fs->hello.uuid);
	else
		csv_peer_error(p, msg->seq, CSV_NOENT, "volume %.63s is not mounted on this node", name);
}

static void on_shutdown(struct csv_peer *p, const struct csv_msg *msg)
{
	struct csv_msg ask = { .type = CSV_MSG_SHUTDOWN };
	char name[sizeof(msg->volume.name) + 1] = { 0 };
	struct csv_peer *fs;

	memcpy(name, msg->volume.name, sizeof(msg->volume.name));
	fs = volume_named(p->daemon, name);
	if (!fs) {
		csv_peer_error(p, msg->seq, CSV_NOENT, "volume %.63s is not mounted on this node", name);
		return;
	}
	csv_peer_send(fs, &ask);
	finish(p, msg->seq, CSV_OK);
}

void csv_admin_request(struct csv_peer *p, const struct csv_msg *msg)
{
	struct ask a = { p, msg->seq };

	if (!p->daemon->machine && (msg->type == CSV_MSG_NODE_LIST || msg->type == CSV_MSG_LOCK_LIST ||
				    msg->type == CSV_MSG_BRL_LIST || msg->type == CSV_MSG_NODE_FENCE)) {
		csv_peer_error(p, msg->seq, CSV_NOCLUSTER, "corosync does not run on this node");
		return;
	}
	if (csv_handoff_admin(p, msg))
		return;
	switch (msg->type) {
	case CSV_MSG_STATUS:
		on_status(p, msg);
		break;
	case CSV_MSG_NODE_LIST:
		csv_machine_nodes(p->daemon->machine, send_node, &a);
		finish(p, msg->seq, CSV_OK);
		break;
	case CSV_MSG_LOCK_LIST:
	case CSV_MSG_BRL_LIST:
		on_lock_list(p, msg);
		break;
	case CSV_MSG_HANDLE_LIST:
		csv_listing_begin(p, msg, NULL);
		break;
	case CSV_MSG_VM_SET:
		if (!msg->vm.pid || !memchr(msg->vm.name, 0, sizeof(msg->vm.name))) {
			csv_peer_error(p, msg->seq, CSV_INVAL, "VM_SET needs a pid and a name");
			break;
		}
		csv_registry_vm_set(p->daemon, &msg->vm);
		finish(p, msg->seq, CSV_OK);
		break;
	case CSV_MSG_SHUTDOWN:
		on_shutdown(p, msg);
		break;
	case CSV_MSG_NODE_FENCE:
		csv_expel_request(p, msg);
		break;
	default:
		csv_peer_error(p, msg->seq, CSV_PROTO, "request %u is not known here", msg->type);
	}
}
