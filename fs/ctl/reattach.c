/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvlockd is lost (L3): no new lock is asked for or given, operations park; I/O under way ends.  Its successor is told
 * what this mount has; what csvfs declares is the truth.  If none comes in time, or it says that the slot is out, the
 * volume is withdrawn on this node.
 */
#include <poll.h>
#include <string.h>

#include "csv/timeouts.h"
#include "fs/ctl/link.h"
#include "fs/handoff.h"
#include "fs/lock/cache.h"
#include "fs/lock/handoff.h"
#include "lib/log.h"

static void declare_lock(void *arg, struct csv_res res, enum csv_mode mode)
{
	struct csv_msg msg = { .type = CSV_MSG_LOCK };

	msg.lock.res_type = res.type;
	msg.lock.res_id = res.id;
	msg.lock.mode = mode;
	msg.lock.flags = CSV_LOCKF_DECLARE;
	csv_client_send(arg, &msg);
}

static enum csv_err connect_again(struct csv_link *l)
{
	struct csv_msg_hello hello;
	struct csv_client *fresh, *old;
	enum csv_err err;

	csv_link_hello(l->m, &hello);
	err = csv_client_open(l->m->opts.run_dir, &hello, CSV_FS_HELLO_MS, &fresh, &l->welcome, NULL);
	if (err)
		return err;
	pthread_mutex_lock(&l->lock);
	old = l->client;
	l->client = fresh;
	pthread_mutex_unlock(&l->lock);
	csv_client_close(old);
	return CSV_OK;
}

/* REATTACH, all locks, DECLARED; then ATTACHED or an error. */
static enum csv_err declare(struct csv_link *l)
{
	struct csv_msg msg = { .type = CSV_MSG_REATTACH };
	struct csv_mount *m = l->m;
	enum csv_err err;

	msg.slot.slot = m->slot;
	msg.slot.incarnation = m->incarnation;
	msg.slot.pr_key = csv_slot_pr_key(m->slot, m->incarnation);
	msg.slot.nodeid = m->nodeid;
	memcpy(msg.slot.node, m->opts.node, sizeof(msg.slot.node));
	pthread_mutex_lock(&l->lock);
	msg.seq = ++l->seq;
	l->viewed = false;
	l->lost = false;
	pthread_mutex_unlock(&l->lock);
	err = csv_link_start(l);
	if (!err)
		err = csv_client_send(l->client, &msg);
	if (err)
		return err;
	csv_locks_declare(m->locks, declare_lock, l->client);
	if (m->ranges)
		csv_ranges_declare(m->ranges);
	msg = (struct csv_msg){ .type = CSV_MSG_DECLARED, .seq = msg.seq };
	return csv_client_send(l->client, &msg);
}

static bool in_view(const struct csv_msg_view *v, void *arg)
{
	const struct csv_mount *m = arg;

	return v->live >> m->slot & 1 && v->incarnation[m->slot] == m->incarnation;
}

static bool is_leaving(struct csv_link *l)
{
	bool leaving;

	pthread_mutex_lock(&l->lock);
	leaving = l->leaving || !l->cache_up;
	pthread_mutex_unlock(&l->lock);
	return leaving;
}

/* False: the mount ends before there was a csvlockd. */
static bool find_again(struct csv_link *l)
{
	for (unsigned waited = 0; !is_leaving(l); waited += CSV_FS_TRY_MS) {
		if (waited == CSV_FS_GIVE_UP_MS)
			csv_fs_withdraw(&l->m->fs, CSV_NOTCONN, "csvlockd did not come back");
		poll(NULL, 0, CSV_FS_TRY_MS);
		if (connect_again(l) == CSV_OK)
			return true;
	}
	return false;
}

/* A volume that is out has nothing to declare: its slot is recovered.  It is connected so that status tells of it. */
static void show_up(struct csv_link *l)
{
	pthread_mutex_lock(&l->lock);
	l->lost = false;
	pthread_mutex_unlock(&l->lock);
	csv_link_start(l);
}

void csv_link_lost(struct csv_link *l)
{
	struct csv_mount *m = l->m;
	enum csv_err err;

	if (is_leaving(l))
		return;
	if (csv_fs_state(&m->fs) == CSV_OK) {
		csv_warn("csvlockd is lost: no new locks until it is back");
		csv_mount_set_state(m, CSV_VOL_PAUSED, "csvlockd does not run");
		csv_locks_freeze(m->locks);
		csv_ranges_freeze(m->ranges);
		if (m->handoffs)
			csv_handoffs_lost(m->handoffs);
	}
	if (!find_again(l))
		return;
	if (csv_fs_state(&m->fs)) {
		show_up(l);
		return;
	}
	err = declare(l);
	if (!err)
		err = csv_link_wait_view(l, in_view, m, CSV_FS_ATTACH_MS);
	if (err == CSV_NOTCONN)
		return; /* lost once more: that is told by itself */
	if (err) {
		csv_fs_withdraw(&m->fs, err, "csvlockd does not take the mount back: %s", csv_err_text(err));
		return;
	}
	csv_locks_thaw(m->locks);
	csv_ranges_thaw(m->ranges);
	csv_mount_handles_tell(m);
	csv_mount_set_state(m, CSV_VOL_ONLINE, "");
	csv_info("attached to csvlockd again");
}
