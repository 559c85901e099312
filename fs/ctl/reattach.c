/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvlockd is lost (L3): no new lock is asked for or given, operations park; I/O under way ends.  Its successor is told
 * what this mount has; what csvfs declares is the truth.  If none comes in time, or it says that the slot is out, the
 * volume is withdrawn on this node.
 *
 * The connection of a volume that is out ends too.  It has nothing to declare, for its slot is recovered; it connects
 * again only to be seen.
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

/* WITHDRAWN: it went out meanwhile, and no connection as a member may stand. */
static enum csv_err connect_again(struct csv_link *l, enum csv_role role)
{
	struct csv_client *fresh, *old = NULL;
	struct csv_msg_hello hello;
	enum csv_err err;

	csv_link_hello(l->m, &hello);
	hello.role = role;
	hello.engine = l->view.engine;
	hello.again = role == CSV_ROLE_FS;
	err = csv_client_open(l->m->opts.run_dir, &hello, CSV_FS_HELLO_MS, &fresh, &l->welcome, NULL);
	if (err)
		return err;
	pthread_mutex_lock(&l->lock);
	if (role == CSV_ROLE_OUT || !l->out) {
		old = l->client;
		l->client = fresh;
	}
	pthread_mutex_unlock(&l->lock);
	csv_client_close(old ? old : fresh);
	return old ? CSV_OK : CSV_WITHDRAWN;
}

/* From here on records come in and, but for what is frozen, go out. */
static enum csv_err found(struct csv_link *l)
{
	pthread_mutex_lock(&l->lock);
	l->viewed = false;
	l->lost = false;
	pthread_mutex_unlock(&l->lock);
	return csv_link_start(l); /* if it is lost already, its reader says so */
}

/*
 * REATTACH, all that stands, DECLARED; then ATTACHED or an error.  A lock that is just going down must not be told so
 * while the locks are declared: until they are, nobody else sends.  Ranges that are dropped may be told at any time.
 */
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
	pthread_mutex_unlock(&l->lock);
	csv_client_send(l->client, &msg);
	csv_locks_declare(m->locks, declare_lock, l->client);
	err = found(l);
	if (err)
		return err;
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

static bool is_out(struct csv_link *l)
{
	bool out;

	pthread_mutex_lock(&l->lock);
	out = l->out;
	pthread_mutex_unlock(&l->lock);
	return out;
}

static bool is_lost(struct csv_link *l)
{
	bool lost;

	pthread_mutex_lock(&l->lock);
	lost = l->lost;
	pthread_mutex_unlock(&l->lock);
	return lost;
}

/* False: the mount ends, or the volume is out, before there was a csvlockd. */
static bool find_again(struct csv_link *l)
{
	for (unsigned waited = 0; !is_leaving(l) && !is_out(l); waited += CSV_FS_TRY_MS) {
		if (waited == CSV_FS_GIVE_UP_MS)
			csv_fs_withdraw(&l->m->fs, CSV_NOTCONN, "csvlockd did not come back");
		poll(NULL, 0, CSV_FS_TRY_MS);
		if (connect_again(l, CSV_ROLE_FS) == CSV_OK)
			return true;
	}
	return false;
}

static void freeze(struct csv_mount *m)
{
	csv_warn("csvlockd is lost: no new locks until it is back");
	csv_health_lockd(m, true);
	csv_locks_freeze(m->locks);
	csv_ranges_freeze(m->ranges);
	if (m->handoffs)
		csv_handoffs_lost(m->handoffs);
}

static void thaw(struct csv_mount *m)
{
	csv_locks_thaw(m->locks);
	csv_ranges_thaw(m->ranges);
	csv_mount_handles_tell(m);
	csv_health_lockd(m, false);
	csv_info("attached to csvlockd again");
}

static void come_back(struct csv_link *l)
{
	struct csv_mount *m = l->m;
	enum csv_err err;

	freeze(m);
	if (!find_again(l))
		return;
	err = declare(l);
	if (!err)
		err = csv_link_wait_view(l, in_view, m, CSV_FS_ATTACH_MS);
	if (err == CSV_OK)
		thaw(m);
	else if (err != CSV_NOTCONN) /* lost once more: that is told by itself */
		csv_fs_withdraw(&m->fs, err, "csvlockd does not take the mount back: %s", csv_err_text(err));
}

/* Until the mount ends there is somebody to tell people what became of it. */
static void show_up(struct csv_link *l)
{
	for (; !is_leaving(l); poll(NULL, 0, CSV_FS_TRY_MS)) {
		if (connect_again(l, CSV_ROLE_OUT) == CSV_OK && found(l) == CSV_OK)
			return;
	}
}

void csv_link_lost(struct csv_link *l)
{
	if (is_leaving(l) || !is_lost(l)) /* told twice, and one of them was enough */
		return;
	if (!is_out(l))
		come_back(l);
	if (is_out(l))
		show_up(l);
}
