/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * This node's open handles, as its csvfs tell them, and which process belongs to
 * which VM.  Both can be rebuilt: handles from csvfs, VM names from vm-launch and
 * the hooks; so they die with csvlockd.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lockd/daemon/daemon.h"
#include "lockd/daemon/handoff.h"

struct handle {
	struct csv_list link;
	uint64_t peer;
	uint64_t number; /* in the list's order */
	struct csv_msg_handle h;
};

struct vm {
	struct csv_list link;
	struct csv_msg_vm vm;
};

void csv_registry_init(struct csv_daemon *d)
{
	csv_list_init(&d->handles);
	csv_list_init(&d->vms);
}

static struct handle *find(struct csv_peer *fs, uint64_t id)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &fs->daemon->handles) {
		struct handle *h = csv_list_entry(pos, struct handle, link);

		if (h->peer == fs->id && h->h.id == id)
			return h;
	}
	return NULL;
}

static void forget(struct handle *h)
{
	csv_list_del(&h->link);
	free(h);
}

/* A handle opened or changed. Strings are cut at their field's end. */
static void remember(struct csv_peer *fs, const struct csv_msg_handle *rec)
{
	struct handle *h = find(fs, rec->id);

	if (!h) {
		h = calloc(1, sizeof(*h));
		CSV_ASSERT(h);
		h->peer = fs->id;
		h->number = ++fs->daemon->next_handle;
		csv_list_push_back(&fs->daemon->handles, &h->link);
	}
	h->h = *rec;
	h->h.vm[sizeof(h->h.vm) - 1] = 0;
	h->h.path[sizeof(h->h.path) - 1] = 0;
	memcpy(h->h.volume, fs->hello.volume, sizeof(h->h.volume));
	for (unsigned i = 0; i < fs->daemon->conf.machine.nnodes; i++) {
		const struct csv_machine_node *n = &fs->daemon->conf.machine.node[i];

		if (n->nodeid == fs->daemon->conf.machine.nodeid)
			memcpy(h->h.node, n->name, sizeof(h->h.node));
	}
}

bool csv_registry_record(struct csv_peer *fs, const struct csv_msg *msg)
{
	struct handle *h;

	if (msg->type == CSV_MSG_HANDLE) {
		remember(fs, &msg->handle);
		return true;
	}
	if (msg->type != CSV_MSG_HANDLE_GONE)
		return false;
	h = find(fs, msg->handle.id);
	if (h)
		forget(h);
	return true;
}

void csv_registry_peer_gone(struct csv_peer *fs)
{
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &fs->daemon->handles) {
		struct handle *h = csv_list_entry(pos, struct handle, link);

		if (h->peer == fs->id)
			forget(h);
	}
}

/* Names of processes that have ended are of no use, and their pids may come back. */
static void drop_dead_vms(struct csv_daemon *d)
{
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &d->vms) {
		struct vm *v = csv_list_entry(pos, struct vm, link);

		if (kill((pid_t)v->vm.pid, 0) && errno == ESRCH) {
			csv_list_del(&v->link);
			free(v);
		}
	}
}

void csv_registry_vm_set(struct csv_daemon *d, const struct csv_msg_vm *vm)
{
	struct csv_msg msg = { .type = CSV_MSG_VM_SET, .vm = *vm };
	struct vm *v = NULL;
	struct csv_list *pos;

	drop_dead_vms(d);
	csv_list_for_each(pos, &d->vms) {
		if (csv_list_entry(pos, struct vm, link)->vm.pid == vm->pid)
			v = csv_list_entry(pos, struct vm, link);
	}
	if (!v) {
		v = calloc(1, sizeof(*v));
		CSV_ASSERT(v);
		csv_list_push_back(&d->vms, &v->link);
	}
	v->vm = *vm;
	csv_list_for_each(pos, &d->peers) {
		struct csv_peer *p = csv_list_entry(pos, struct csv_peer, link);

		if (p->role == CSV_ROLE_FS)
			csv_peer_send(p, &msg);
	}
}

void csv_registry_greet(struct csv_peer *fs)
{
	struct csv_list *pos;

	drop_dead_vms(fs->daemon);
	csv_list_for_each(pos, &fs->daemon->vms) {
		struct csv_msg msg = { .type = CSV_MSG_VM_SET, .vm = csv_list_entry(pos, struct vm, link)->vm };

		csv_peer_send(fs, &msg);
	}
}

/* A path is looked up when somebody wants to see it: a rename changes it. */
static void find_path(struct csv_daemon *d, struct handle *h)
{
	const struct csv_peer *fs = csv_peer_find(d, h->peer);
	char path[sizeof(h->h.path)];

	if (!fs)
		return;
	csv_registry_path(&h->h, fs->hello.mount, path, sizeof(path));
	if (*path)
		memcpy(h->h.path, path, sizeof(path));
}

void csv_registry_each(struct csv_daemon *d, void (*fn)(void *arg, uint64_t peer, const struct csv_msg_handle *h),
		       void *arg)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &d->handles) {
		struct handle *h = csv_list_entry(pos, struct handle, link);

		find_path(d, h);
		fn(arg, h->peer, &h->h);
	}
}

bool csv_registry_list(struct csv_peer *admin, uint64_t seq, const char *vm, uint64_t *after, unsigned max)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &admin->daemon->handles) {
		struct handle *h = csv_list_entry(pos, struct handle, link);
		struct csv_msg msg = { .type = CSV_MSG_HANDLE, .seq = seq };

		if (h->number <= *after || (*vm && strcmp(vm, h->h.vm)))
			continue;
		if (!max--)
			return true;
		find_path(admin->daemon, h);
		msg.handle = h->h;
		csv_peer_send(admin, &msg);
		*after = h->number;
	}
	return false;
}

void csv_registry_free(struct csv_daemon *d)
{
	while (!csv_list_empty(&d->handles))
		forget(csv_list_entry(d->handles.next, struct handle, link));
	while (!csv_list_empty(&d->vms)) {
		struct vm *v = csv_list_entry(d->vms.next, struct vm, link);

		csv_list_del(&v->link);
		free(v);
	}
}
