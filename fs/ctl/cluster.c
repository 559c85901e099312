/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mount in a cluster, step by step; who crashes after any of them leaves a state that the next mounter mends:
 *
 *	1. csvlockd: connected, same cluster, quorum; `mount` EX: one node at a time from here on
 *	2. a slot that is clean on disk and that nobody has in csvlockd's ordered view (J8).  If there is none and
 *nobody lives, any slot: it is recovered after 3
 *	3. our key of the slot's next incarnation registered, reservation of type 7 made sure of (F1): from here on
 *	   we may write, and can be kept from it; no mount with lock=local has the LUN (keys.c); then slot.N EX
 *	4. slot block: live, next incarnation; keys of mounters that are out removed; read again: what is there is ours
 *	   (slot.c)
 *	5. the device's way back is guarded by that slot block (F2)
 *	6. ATTACH: all csvlockds know that the slot lives, so none of them forgets to fence it
 *	7. DIRTY for each other slot that is neither clean nor in the view, OVER for each in the view that was fenced
 *	   (compare.c): somebody of the living, maybe we, fences and replays it; until that is done nobody gets a lock,
 *	   and we do not go on (L9).  Looked at again until nothing is found
 *	8. (opened) slot.N pinned, orphans of the replayed slots taken over, `mount` given up
 *
 * A mount that fails before 6 makes its slot clean again and removes its key.
 *
 * And at the end, if the journal could be emptied: slot block clean; the reservation made sure of, for it must outlive
 * our key (F1); key removed; DETACH.  Else nothing: the others find us gone and recover the slot.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "csv/timeouts.h"
#include "fs/ctl/keys.h"
#include "fs/ctl/link.h"
#include "fs/lock/cache.h"
#include "fs/lock/lease.h"
#include "lib/log.h"

#define LOOKS_MAX 100u
#define LOOK_PAUSE_MS 200

static struct csv_link *link_of(struct csv_mount *m)
{
	return m->kind_data;
}

/* ---- locks before there is a cache --------------------------------------------------------- */

static enum csv_err take(struct csv_link *l, struct csv_res res, unsigned ms)
{
	struct csv_msg msg = { .type = CSV_MSG_LOCK };
	enum csv_err err;

	msg.lock.res_type = res.type;
	msg.lock.res_id = res.id;
	msg.lock.mode = CSV_EX;
	err = csv_link_call(l, &msg, ms);
	return err == CSV_OK && msg.type == CSV_MSG_ERROR ? (enum csv_err)msg.err : err;
}

static void give(struct csv_link *l, struct csv_res res)
{
	struct csv_msg msg = { .type = CSV_MSG_UNLOCK };

	msg.lock.res_type = res.type;
	msg.lock.res_id = res.id;
	msg.lock.mode = CSV_NL;
	csv_link_send(l, &msg);
}

/* ---- 2. a slot -------------------------------------------------------------------------------- */

static bool any_view(const struct csv_msg_view *v, void *arg)
{
	return true;
}

static bool free_in_view(struct csv_link *l, uint32_t n)
{
	bool yes;

	pthread_mutex_lock(&l->lock);
	yes = !((l->view.live | l->view.out) >> n & 1);
	pthread_mutex_unlock(&l->lock);
	return yes;
}

struct choice {
	struct csv_slot slot;
	bool found;
	bool deserted; /* it is not clean, and nobody lives to recover it */
};

/* A slot that was ours, else the first one; `any`: also one that is not clean. */
static enum csv_err look_for_slot(struct csv_mount *m, bool any, struct choice *c, struct csv_why *why)
{
	struct csv_link *l = link_of(m);
	struct csv_slot s;

	c->found = false;
	for (uint32_t n = 0; n < m->sb.slots; n++) {
		enum csv_err err = csv_slot_read(m->dev, &m->sb, n, &s, why);

		if (err)
			return err;
		if (!any && (s.state != CSV_SLOT_CLEAN || !free_in_view(l, n)))
			continue;
		if (!c->found || (!strcmp(s.node, m->opts.node) && strcmp(c->slot.node, m->opts.node)))
			c->slot = s;
		c->found = true;
	}
	return CSV_OK;
}

static bool somebody_lives(const struct csv_msg_view *v, void *arg)
{
	return v->live != 0;
}

static bool nobody_out(const struct csv_msg_view *v, void *arg)
{
	return !v->out; /* frozen it stays until we, who have looked at the slot table, give up `mount` */
}

/* Whoever has a key may have lost his csvlockd only, and is given the time to declare himself. */
static enum csv_err is_deserted(struct csv_mount *m, bool *yes)
{
	struct csv_link *l = link_of(m);
	struct csv_pr_status st;
	enum csv_err err = csv_link_wait_view(l, somebody_lives, NULL, 0);

	*yes = false;
	if (err != CSV_TIMEOUT)
		return err;
	if (!m->dev->ops->pr_status)
		return CSV_NOTSUP;
	err = m->dev->ops->pr_status(m->dev, &st);
	if (err)
		return err;
	if (st.nkeys) {
		csv_info("no slot is clean; waiting whether a mount comes back to csvlockd");
		err = csv_link_wait_view(l, somebody_lives, NULL, CSV_FS_RETURN_MS);
	}
	*yes = !st.nkeys || err == CSV_TIMEOUT;
	return err == CSV_TIMEOUT ? CSV_OK : err;
}

/* Nobody is out, nor comes back: what a look finds is all that there is to be found. */
static bool is_settled(struct csv_link *l)
{
	bool yes;

	pthread_mutex_lock(&l->lock);
	yes = !l->view.out;
	pthread_mutex_unlock(&l->lock);
	return yes;
}

/*
 * Looks again after each recovery: what was out then may have been an earlier life of a slot, and what csvlockd was
 * told while it recovered that one it does not keep.  And who was about to come back may have carried out an order to
 * fence somebody meanwhile (L9).
 */
static enum csv_err recover_dirty(struct csv_link *l, struct csv_why *why)
{
	bool settled = false;
	unsigned found = 0;
	enum csv_err err = CSV_OK;

	for (unsigned looks = 0; !err && (found || !settled) && looks < LOOKS_MAX; looks++) {
		if (looks > 1)
			poll(NULL, 0, LOOK_PAUSE_MS);
		settled = is_settled(l);
		err = csv_link_tell_slots(l, &found, why);
		if (!err)
			err = csv_link_wait_view(l, nobody_out, NULL, CSV_FS_MOUNT_MS);
	}
	return !err && (found || !settled) ? CSV_TIMEOUT : err;
}

/* If somebody lives he recovers what is dirty; he may not know of it: a mounter may have died before its ATTACH. */
static enum csv_err none_clean(struct csv_mount *m, struct choice *c, struct csv_why *why)
{
	struct csv_link *l = link_of(m);
	enum csv_err err = is_deserted(m, &c->deserted);

	if (err || c->deserted)
		return err ? err : look_for_slot(m, true, c, why);
	err = recover_dirty(l, why);
	return err ? err : look_for_slot(m, false, c, why);
}

static enum csv_err choose_slot(struct csv_mount *m, struct choice *c, struct csv_why *why)
{
	enum csv_err err;

	*c = (struct choice){ 0 };
	err = look_for_slot(m, false, c, why);
	if (!err && !c->found)
		err = none_clean(m, c, why);
	if (!err && !c->found)
		return csv_fail(why, CSV_BUSY, "unmount it on another node", "all %u slots are in use", m->sb.slots);
	return err;
}

/* ---- 5. ------------------------------------------------------------------------------------ */

static enum csv_slot_verdict judge(void *arg, const void *block)
{
	struct csv_mount *m = arg;

	return csv_slot_judge(&m->sb, m->slot, m->incarnation, block);
}

void csv_mount_path_state(void *arg, enum csv_path_state state, const char *reason)
{
	struct csv_mount *m = arg;

	switch (state) {
	case CSV_PATH_ONLINE:
		csv_health_path(m, false, "");
		break;
	case CSV_PATH_PAUSED:
		csv_health_path(m, true, reason);
		break;
	case CSV_PATH_FAILED:
		csv_fs_withdraw(&m->fs, CSV_UNREACH, "%s", reason);
		break;
	case CSV_PATH_FENCED:
		csv_fs_withdraw(&m->fs, CSV_FENCED, "%s", reason);
		break;
	}
}

void csv_mount_guard(struct csv_mount *m, uint64_t key)
{
	struct csv_bdev_guard g = {
		.slot_block = CSV_SLOT_BLOCK(m->slot),
		.pr_key = key,
		.judge = judge,
		.state = csv_mount_path_state,
		.arg = m,
		.path_timeout_ms = m->opts.path_timeout_ms,
	};

	m->dev->ops->set_guard(m->dev, &g);
}

/* ---- 6. --------------------------------------------------------------------------------------- */

void csv_link_fill_slot(struct csv_msg_slot *to, const struct csv_slot *s)
{
	to->slot = s->slot;
	to->incarnation = s->incarnation;
	to->pr_key = s->pr_key;
	to->nodeid = s->nodeid;
	snprintf(to->node, sizeof(to->node), "%s", s->node);
}

static enum csv_err attach(struct csv_mount *m, const struct csv_slot *s, struct csv_why *why)
{
	struct csv_msg msg = { .type = CSV_MSG_ATTACH };
	struct csv_link *l = link_of(m);
	enum csv_err err;

	csv_link_fill_slot(&msg.slot, s);
	l->attach_asked = true;
	err = csv_link_call(l, &msg, CSV_FS_ANSWER_MS);
	if (!err && msg.type == CSV_MSG_ERROR) {
		l->attach_asked = false;
		err = (enum csv_err)msg.err;
	}
	return err ? csv_fail(why, err, "see csvlockd's log", "csvlockd does not accept slot %u: %s", s->slot,
			      csv_err_text(err))
		   : CSV_OK;
}

/* ---- the sequence ------------------------------------------------------------------------------------- */

static enum csv_err take_slot(struct csv_mount *m, struct csv_why *why)
{
	struct csv_link *l = link_of(m);
	struct choice c;
	enum csv_err err = choose_slot(m, &c, why);

	if (!err)
		err = csv_link_claim(l, &c.slot, why);
	if (!err)
		err = csv_keys_no_local(m, c.slot.pr_key, why);
	if (err)
		return err;
	/* After the key (slot.c).  Who has recovered the slot may have its lock in his cache, and gives it up when
	 * asked. */
	err = take(l, csv_res(CSV_RES_SLOT, c.slot.slot), CSV_FS_ANSWER_MS);
	if (err)
		return csv_fail(why, err, "mount again", "the lock of slot %u cannot be had: %s", c.slot.slot,
				csv_err_text(err));
	l->has_slot_lock = true;
	m->slot = c.slot.slot;
	m->incarnation = c.slot.incarnation;
	if (c.deserted)
		err = csv_link_rescue(l, &c.slot, why);
	if (!err)
		err = csv_link_settle_in(l, &c.slot, why);
	if (err)
		return err;
	csv_mount_guard(m, c.slot.pr_key);
	return attach(m, &c.slot, why);
}

static enum csv_err join_steps(struct csv_mount *m, struct csv_why *why)
{
	struct csv_link *l = link_of(m);
	enum csv_err err;

	err = take(l, csv_res(CSV_RES_MOUNT, 0), CSV_FS_MOUNT_MS);
	if (err)
		return csv_fail(why, err, "see csvlockd's log: who holds `mount`, who is being recovered",
				"no turn to mount: %s", csv_err_text(err));
	l->has_mount_lock = true;
	err = csv_link_wait_view(l, any_view, NULL, CSV_FS_ANSWER_MS);
	if (!err)
		err = take_slot(m, why);
	if (!err)
		err = recover_dirty(l, why);
	return err ? csv_fail(why, err, "see csvlockd's and csvfs's log", "%s", csv_err_text(err)) : CSV_OK;
}

/* csvlockd's own word for why it ended the connection, if it gave one. */
static enum csv_err join_refused(struct csv_link *l, enum csv_err err, struct csv_why *why)
{
	char text[sizeof(l->refusal)];

	pthread_mutex_lock(&l->lock);
	memcpy(text, l->refusal, sizeof(text));
	pthread_mutex_unlock(&l->lock);
	if (!*text)
		return err;
	csv_why_init(why);
	return csv_fail(why, CSV_BUSY, "", "%s", text);
}

/* Once ATTACH is asked for, the end of the connection tells the others that the slot is out. */
static void undo_join(struct csv_mount *m)
{
	struct csv_link *l = link_of(m);

	if (l->key && !l->attach_asked)
		csv_link_unclaim(l);
	else if (m->dev->ops->set_guard)
		m->dev->ops->set_guard(m->dev, NULL);
	csv_link_close(l);
	m->kind_data = NULL;
	m->slot = CSV_SLOT_NONE;
}

static enum csv_err join(struct csv_mount *m, struct csv_why *why)
{
	struct csv_link *l;
	enum csv_err err = csv_link_open(m, &l, why);

	if (err)
		return err;
	m->kind_data = l;
	m->nodeid = l->welcome.nodeid;
	if (m->opts.node_given && strcmp(m->opts.node, l->welcome.node)) {
		err = csv_fail(why, CSV_USAGE, "leave node= out, or mend the name in csvfs.conf or corosync.conf",
			       "node=%s, but csvlockd says that this is %s", m->opts.node, l->welcome.node);
		undo_join(m);
		return err;
	}
	snprintf(m->opts.node, sizeof(m->opts.node), "%s", l->welcome.node);
	m->engine = &l->engine;
	err = join_steps(m, why);
	if (err)
		err = join_refused(l, err, why);
	if (err) {
		m->engine = NULL;
		undo_join(m);
	}
	return err;
}

static enum csv_err opened(struct csv_mount *m, struct csv_why *why)
{
	struct csv_link *l = link_of(m);
	enum csv_err err;

	csv_link_up(l);
	err = csv_mount_pin_slot(m);
	if (err)
		return csv_fail(why, err, "", "slot lock: %s", csv_err_text(err));
	csv_link_adopt_later(l);
	give(l, csv_res(CSV_RES_MOUNT, 0));
	l->has_mount_lock = false;
	return CSV_OK;
}

static void leaving(struct csv_mount *m)
{
	struct csv_link *l = link_of(m);

	pthread_mutex_lock(&l->lock);
	l->leaving = true;
	pthread_mutex_unlock(&l->lock);
	/* Both use what is about to be closed. */
	csv_workq_free(l->adopter);
	l->adopter = NULL;
	csv_link_settle(l);
}

static void mark_clean(struct csv_mount *m)
{
	uint64_t key = csv_slot_pr_key(m->slot, m->incarnation);
	struct csv_slot s;
	enum csv_err err = csv_slot_read(m->dev, &m->sb, m->slot, &s, NULL);

	if (err || s.state != CSV_SLOT_LIVE || s.incarnation != m->incarnation) {
		csv_warn("slot %u is not ours any more", m->slot);
		m->unclean = true;
		return;
	}
	s.state = CSV_SLOT_CLEAN;
	err = csv_slot_write(m->dev, &m->sb, &s);
	if (!err)
		err = m->dev->ops->pr_reserve(m->dev, key, CSV_PR_WRITE_EXCLUSIVE_ALL_REG);
	if (err) {
		csv_warn("slot %u cannot be left cleanly: %s", m->slot, csv_err_text(err));
		m->unclean = true;
	}
}

static void left(struct csv_mount *m, bool clean)
{
	struct csv_link *l = link_of(m);
	struct csv_msg msg = { .type = CSV_MSG_DETACH };

	if (clean) {
		mark_clean(m);
		csv_mount_drop_key(m, csv_slot_pr_key(m->slot, m->incarnation));
		if (csv_link_call(l, &msg, CSV_FS_ANSWER_MS))
			csv_warn("csvlockd did not take the unmount; it will look at the slot itself");
	} else {
		m->dev->ops->set_guard(m->dev, NULL);
	}
	csv_link_close(l);
	m->kind_data = NULL;
}

static enum csv_err send_range(void *arg, const struct csv_msg *msg)
{
	return csv_link_send(arg, msg);
}

static void ranges(struct csv_mount *m, struct csv_ranges_cfg *cfg)
{
	cfg->nodeid = m->nodeid;
	cfg->send = send_range;
	cfg->arg = link_of(m);
}

/* J8: in csvlockd's ordered view. A life that is out and not yet recovered may still have its lease. */
/* Who is out is not alive: his lease may be taken, as soon as its lock can be had, which is after the replay. */
static bool life_alive(void *arg, uint32_t slot, uint32_t incarnation)
{
	struct csv_link *l = link_of(arg);
	bool yes;

	if (slot >= CSV_SLOTS_MAX)
		return false;
	pthread_mutex_lock(&l->lock);
	yes = l->view.live >> slot & 1 && l->view.incarnation[slot] == incarnation;
	pthread_mutex_unlock(&l->lock);
	return yes;
}

static void leases(struct csv_mount *m, struct csv_leases_cfg *cfg)
{
	cfg->alive = life_alive;
	cfg->arg = m;
}

static void out(struct csv_mount *m)
{
	csv_link_out(link_of(m));
}

static const char *lock_name(const struct csv_mount *m)
{
	struct csv_link *l = m->kind_data;
	enum csv_lock_engine engine;

	pthread_mutex_lock(&l->lock);
	engine = (enum csv_lock_engine)l->view.engine;
	pthread_mutex_unlock(&l->lock);
	return csv_lock_engine_name(engine);
}

const struct csv_mount_kind csv_mount_cluster = {
	.lock = lock_name,
	.join = join,
	.opened = opened,
	.leaving = leaving,
	.left = left,
	.ranges = ranges,
	.leases = leases,
	.out = out,
	.alone = false,
};
