/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between the handoffs of a mount (fs/lock/handoff.h), its handles (fs/fuse/handle.h) and csvlockd: what state a write
 * handle of an image is in, and telling the registry.
 */
#include <stdio.h>
#include <string.h>

#include "fs/ctl/link.h"
#include "fs/fuse/handle.h"
#include "fs/lock/brl.h"
#include "fs/lock/handoff.h"
#include "fs/lock/lease_move.h"
#include "fs/lock/vm.h"
#include "fs/handoff.h"
#include "lib/log.h"

/* ---- the registry of open handles ---- */

static bool in_cluster(const struct csv_mount *m)
{
	return m->handoffs != NULL;
}

static void tell(struct csv_mount *m, const struct csv_handle *h, enum csv_handle_state state, uint64_t epoch)
{
	struct csv_msg msg = { .type = CSV_MSG_HANDLE };

	msg.handle.id = h->id;
	msg.handle.ino = h->ref.ino;
	msg.handle.gen = h->ref.gen;
	msg.handle.pid = h->pid;
	msg.handle.writable = h->writable;
	msg.handle.state = state;
	msg.handle.epoch = epoch;
	csv_vm_of(m->vms, h->pid, msg.handle.vm);
	csv_link_send(m->kind_data, &msg); /* lost: all are told again after the re-attachment */
}

static enum csv_handle_state state_of(struct csv_mount *m, const struct csv_handle *h, uint64_t *epoch)
{
	struct csv_lease l;

	*epoch = 0;
	if (!h->writable)
		return CSV_HANDLE_OPEN;
	if (h->revoked)
		return CSV_HANDLE_REVOKED;
	if (!csv_lease_held(m->leases, h->ref, &l))
		return CSV_HANDLE_ARMED;
	*epoch = l.epoch;
	return CSV_HANDLE_LEASED;
}

void csv_mount_handle_tell(struct csv_mount *m, const struct csv_handle *h)
{
	enum csv_handle_state state;
	uint64_t epoch;

	if (!in_cluster(m) || !h->image)
		return;
	state = state_of(m, h, &epoch);
	tell(m, h, state, epoch);
}

void csv_mount_handle_gone(struct csv_mount *m, const struct csv_handle *h)
{
	struct csv_msg msg = { .type = CSV_MSG_HANDLE_GONE };

	if (!in_cluster(m) || !h->image)
		return;
	msg.handle.id = h->id;
	csv_link_send(m->kind_data, &msg);
}

static void tell_one(void *arg, struct csv_handle *h)
{
	csv_mount_handle_tell(arg, h);
}

void csv_mount_handles_tell(struct csv_mount *m)
{
	if (in_cluster(m))
		csv_handle_each(m->handles, tell_one, m);
}

/* ---- what a handoff does to handles ---- */

struct each {
	struct csv_mount *m;
	struct csv_iref image;
	const uint8_t *id;
	uint64_t ns;
	bool on;
	enum csv_handle_state state;
	uint64_t epoch;
};

static bool meant(const struct each *e, const struct csv_handle *h)
{
	return h->writable && h->image && h->ref.ino == e->image.ino && h->ref.gen == e->image.gen;
}

static void revoke_one(void *arg, struct csv_handle *h)
{
	const struct each *e = arg;

	if (!meant(e, h))
		return;
	h->revoked = e->on;
	if (e->on)
		csv_info("image %llu: last I/O before the handoff at %llu ns", (unsigned long long)h->ref.ino,
			 (unsigned long long)(h->last_io_ns ? csv_handle_wall_ns(h->last_io_ns) : 0));
}

static void revoke(void *arg, struct csv_iref image, bool on)
{
	struct csv_mount *m = arg;
	struct each e = { .m = m, .image = image, .on = on };

	csv_handle_each(m->handles, revoke_one, &e);
}

static void ranges_one(void *arg, struct csv_handle *h)
{
	const struct each *e = arg;

	if (!meant(e, h))
		return;
	if (e->on)
		csv_range_set_apart(e->m->ranges, h->id);
	else
		csv_range_rejoin(e->m->ranges, h->id);
}

static void ranges(void *arg, struct csv_iref image, bool gone)
{
	struct csv_mount *m = arg;
	struct each e = { .m = m, .image = image, .on = gone };

	csv_handle_each(m->handles, ranges_one, &e);
}

static void adopt_one(void *arg, struct csv_handle *h)
{
	const struct each *e = arg;

	if (!meant(e, h) || h->lease || h->revoked || csv_lease_share(e->m->leases, e->image, &h->lease) != CSV_OK)
		return;
	memcpy(h->handoff, e->id, sizeof(h->handoff));
	h->handoff_ns = e->ns;
	h->trace_first = true;
}

static void adopt(void *arg, struct csv_iref image, const uint8_t *id, uint64_t ordered_ns)
{
	struct csv_mount *m = arg;
	struct each e = { .m = m, .image = image, .id = id, .ns = ordered_ns };

	csv_handle_each(m->handles, adopt_one, &e);
}

static void last_io_one(void *arg, struct csv_handle *h)
{
	struct each *e = arg;

	if (meant(e, h) && h->last_io_ns > e->ns)
		e->ns = h->last_io_ns;
}

static uint64_t last_io(void *arg, struct csv_iref image)
{
	struct csv_mount *m = arg;
	struct each e = { .m = m, .image = image };

	csv_handle_each(m->handles, last_io_one, &e);
	return e.ns;
}

void csv_mount_first_io(struct csv_mount *m, const struct csv_handle *h)
{
	if (in_cluster(m))
		csv_handoffs_first_io(m->handoffs, h->handoff, h->handoff_ns);
}

static void state_one(void *arg, struct csv_handle *h)
{
	const struct each *e = arg;

	if (meant(e, h) && (!h->revoked || e->state == CSV_HANDLE_REVOKED))
		tell(e->m, h, e->state, e->epoch);
}

static void state(void *arg, struct csv_iref image, enum csv_handle_state s, uint64_t epoch)
{
	struct csv_mount *m = arg;
	struct each e = { .m = m, .image = image, .state = s, .epoch = epoch };

	csv_handle_each(m->handles, state_one, &e);
}

static enum csv_err send(void *arg, const struct csv_msg *msg)
{
	struct csv_mount *m = arg;

	return csv_link_send(m->kind_data, msg);
}

enum csv_err csv_mount_handoffs_open(struct csv_mount *m)
{
	struct csv_handoffs_cfg cfg = { .fs = &m->fs,
					.locks = m->locks,
					.data = m->data,
					.leases = m->leases,
					.nodeid = m->nodeid,
					.send = send,
					.revoke = revoke,
					.adopt = adopt,
					.state = state,
					.ranges = ranges,
					.last_io = last_io,
					.arg = m };
	enum csv_err err;

	if (m->kind == &csv_mount_local || m->opts.readonly)
		return CSV_OK;
	snprintf(cfg.node, sizeof(cfg.node), "%s", m->opts.node);
	err = csv_handoffs_new(&cfg, &m->handoffs);
	if (err == CSV_OK)
		csv_link_handoffs(m->kind_data, m->handoffs);
	return err;
}

void csv_mount_handoffs_close(struct csv_mount *m)
{
	if (!m->handoffs)
		return;
	csv_link_handoffs(m->kind_data, NULL);
	csv_handoffs_free(m->handoffs);
	m->handoffs = NULL;
}
