/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lock=local: this node alone.  A file or block device is open exclusively, which keeps out all others on this host.  A
 * LUN is guarded as in a cluster: a key of ours at the target, a reservation of type 7, the way back by our slot (F2).
 *
 *	1. (LUN) no key of csvfs but ours and what a dead mount of this host left, else busy.  Ours registered, then
 *	   looked again: of two who come at the same moment at least one sees the other and goes
 *	2. (LUN) every slot that is not clean is marked fenced, slot 0 at any rate written anew: who comes back finds
 *	   that he is out.  The keys of those lives and all other keys removed; marked again (F5)
 *	3. each slot that is not clean is replayed and marked clean; slot 0 last
 *	4. slot 0 is ours: incarnation + 1, live, on disk; (LUN) it guards the way back from here on
 *	5. (opened) slot.0 pinned; orphans of all other slots moved to our list
 *	6. (left) clean again, if the journal could be emptied; (LUN) key removed.  Else both stay as they are
 *
 * In 2 and 3, and as long as a read-only mount lives, there is no slot of ours: the guard then compares slot 0's block
 * with what it was, since whoever takes the LUN from us changes it.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/ctl/keys.h"
#include "fs/mount.h"
#include "lib/log.h"

/* m->kind_data of a mount on a LUN. */
struct local {
	uint64_t key;	/* 0: not registered */
	int host_lock;	/* csv_host_lock() */
	uint8_t *slot0; /* watch_slot0(): the block as it was */
};

static struct local *local_of(struct csv_mount *m)
{
	return m->kind_data;
}

/* ---- the guard without a slot ------------------------------------------------------------- */

static enum csv_slot_verdict judge_slot0(void *arg, const void *block)
{
	struct csv_mount *m = arg;

	if (!memcmp(block, local_of(m)->slot0, CSV_BLOCK_SIZE))
		return CSV_VERDICT_ALIVE;
	return csv_block_verify(block, m->sb.uuid, CSV_SLOT_BLOCK(0), CSV_MAGIC_SLOT, NULL) == CSV_OK
		   ? CSV_VERDICT_FENCED
		   : CSV_VERDICT_UNSURE;
}

/* From now on slot 0's block as it is. */
static enum csv_err watch_slot0(struct csv_mount *m, struct csv_why *why)
{
	struct local *l = local_of(m);
	struct csv_bdev_guard g = {
		.slot_block = CSV_SLOT_BLOCK(0),
		.pr_key = l->key,
		.judge = judge_slot0,
		.state = csv_mount_path_state,
		.arg = m,
		.path_timeout_ms = m->opts.path_timeout_ms,
	};
	enum csv_err err;

	m->dev->ops->set_guard(m->dev, NULL);
	err = csv_bdev_read(m->dev, (uint64_t)CSV_SLOT_BLOCK(0) << CSV_BLOCK_SHIFT, l->slot0, CSV_BLOCK_SIZE);
	if (err)
		return csv_fail(why, err, "", "slot 0 cannot be read");
	m->dev->ops->set_guard(m->dev, &g);
	return CSV_OK;
}

/* ---- 1. and 2. ------------------------------------------------------------------------------ */

static enum csv_err claim(struct csv_mount *m, struct csv_pr_status *st, struct csv_why *why)
{
	struct local *l = local_of(m);
	enum csv_err err = csv_keys_admit(m, 0, csv_key_known, st, why);

	if (err)
		return err;
	err = csv_host_lock(m, &l->host_lock, why);
	if (err)
		return err;
	l->key = csv_key_make_local(m->env, st);
	err = csv_mount_register_key(m, l->key, why);
	return err ? err : csv_keys_admit(m, l->key, csv_key_known, st, why);
}

static enum csv_err mark_fenced(struct csv_mount *m, uint32_t slot, struct csv_pr_status *st, struct csv_why *why)
{
	struct csv_slot s;
	enum csv_err err = csv_slot_read(m->dev, &m->sb, slot, &s, why);

	if (err || s.state == CSV_SLOT_CLEAN)
		return err;
	/* Its key may not be there at the moment, and come back as long as the slot was not marked. */
	if (s.pr_key && !csv_key_among(st, s.pr_key) && st->nkeys < sizeof(st->keys) / sizeof(st->keys[0]))
		st->keys[st->nkeys++] = s.pr_key;
	if (s.state == CSV_SLOT_FENCED)
		return CSV_OK;
	s.state = CSV_SLOT_FENCED;
	s.fenced_by = 0;
	err = csv_slot_write(m->dev, &m->sb, &s);
	return err ? csv_fail(why, err, "", "slot %u cannot be marked", slot) : CSV_OK;
}

static enum csv_err mark_all(struct csv_mount *m, struct csv_pr_status *st, struct csv_why *why)
{
	enum csv_err err = CSV_OK;

	for (uint32_t i = 0; !err && i < m->sb.slots; i++)
		err = mark_fenced(m, i, st, why);
	return err;
}

static enum csv_err preempt_all(struct csv_mount *m, const struct csv_pr_status *st, struct csv_why *why)
{
	enum csv_err err = csv_keys_preempt(m->dev, local_of(m)->key, st, csv_key_known);

	return err ? csv_fail(why, err, "mount again", "the keys of former mounts cannot be removed: %s",
			      csv_err_text(err))
		   : CSV_OK;
}

static enum csv_err fence_others(struct csv_mount *m, struct csv_pr_status *st, struct csv_why *why)
{
	enum csv_err err = mark_all(m, st, why);

	if (!err)
		err = csv_keys_touch_slot(m, why);
	if (!err)
		err = watch_slot0(m, why);
	if (!err)
		err = preempt_all(m, st, why);
	if (!err)
		err = mark_all(m, st, why);
	return err ? err : watch_slot0(m, why);
}

static enum csv_err take_lun(struct csv_mount *m, struct csv_why *why)
{
	struct csv_pr_status *st = calloc(1, sizeof(*st));
	enum csv_err err = st ? claim(m, st, why) : csv_fail(why, CSV_NOMEM, "", "no memory for the reservations");

	/* Read-only: whether a slot is to be recovered is seen later. Keys that are left here are those of the dead. */
	if (!err && m->opts.readonly) {
		err = preempt_all(m, st, why);
		if (!err)
			err = watch_slot0(m, why);
	} else if (!err) {
		err = fence_others(m, st, why);
	}
	free(st);
	return err;
}

/* ---- 3. and 4. ------------------------------------------------------------------------------ */

/* A node of a cluster may live without our seeing it, if the device cannot tell. */
static enum csv_err check_dead(struct csv_mount *m, const struct csv_slot *s, struct csv_why *why)
{
	if (s->nodeid == 0 || s->state == CSV_SLOT_CLEAN || m->dev->ops->pr_status)
		return CSV_OK;
	csv_warn("slot %u was in use by node %s of a cluster; lock=local takes it for dead", s->slot, s->node);
	return CSV_OK;
}

static enum csv_err recover_all(struct csv_mount *m, struct csv_why *why)
{
	struct csv_replay_result res;
	struct csv_slot s;
	enum csv_err err;

	for (uint32_t i = m->sb.slots; i-- > 0;) {
		err = csv_slot_read(m->dev, &m->sb, i, &s, why);
		if (err == CSV_OK)
			err = check_dead(m, &s, why);
		if (err != CSV_OK)
			return err;
		if (s.state == CSV_SLOT_CLEAN)
			continue;
		if (m->opts.readonly)
			return csv_fail(why, CSV_BUSY, "mount it read-write once",
					"slot %u was not unmounted and its journal must be replayed first", i);
		err = csv_recover_slot(m->dev, &m->sb, i, s.incarnation, NULL, &res, why);
		if (err != CSV_OK)
			return csv_fail(why, err, "csvadm check tells more", "journal of slot %u cannot be replayed",
					i);
		csv_info("slot %u: journal replayed, %llu transactions, %llu blocks written", i,
			 (unsigned long long)res.transactions, (unsigned long long)res.written);
	}
	return CSV_OK;
}

static enum csv_err take_slot(struct csv_mount *m, struct csv_why *why)
{
	struct csv_slot s;
	enum csv_err err = csv_slot_read(m->dev, &m->sb, 0, &s, why);
	int64_t sec;
	uint32_t nsec;

	if (err != CSV_OK)
		return err;
	m->env->wall(m->env, &sec, &nsec);
	s.state = CSV_SLOT_LIVE;
	s.incarnation++;
	s.nodeid = 0;
	s.pr_key = local_of(m) ? local_of(m)->key : 0;
	s.mounted_sec = (uint64_t)sec;
	s.fenced_by = CSV_SLOT_NONE;
	memcpy(s.node, m->opts.node, sizeof(s.node));
	err = csv_slot_write(m->dev, &m->sb, &s);
	if (err != CSV_OK)
		return csv_fail(why, err, "", "slot 0 cannot be written");
	m->slot = 0;
	m->incarnation = s.incarnation;
	if (local_of(m))
		csv_mount_guard(m, s.pr_key);
	return CSV_OK;
}

static enum csv_err open_local(struct csv_mount *m, struct csv_why *why)
{
	struct local *l;

	if (!m->dev->ops->pr_register)
		return CSV_OK;
	l = calloc(1, sizeof(*l));
	if (l)
		l->slot0 = aligned_alloc(CSV_BLOCK_SIZE, CSV_BLOCK_SIZE);
	if (!l || !l->slot0) {
		free(l);
		return csv_fail(why, CSV_NOMEM, "", "no memory for the mount");
	}
	l->host_lock = -1;
	m->kind_data = l;
	return CSV_OK;
}

/* `unregister`: the volume is clean, or was never ours. */
static void close_local(struct csv_mount *m, bool unregister)
{
	struct local *l = local_of(m);

	if (!l)
		return;
	if (l->key && unregister)
		csv_mount_drop_key(m, l->key);
	else
		m->dev->ops->set_guard(m->dev, NULL);
	if (l->host_lock >= 0)
		close(l->host_lock);
	free(l->slot0);
	free(l);
	m->kind_data = NULL;
}

static enum csv_err join(struct csv_mount *m, struct csv_why *why)
{
	enum csv_err err = open_local(m, why);

	if (err == CSV_OK && local_of(m))
		err = take_lun(m, why);
	if (err == CSV_OK)
		err = recover_all(m, why);
	if (err == CSV_OK && !m->opts.readonly)
		err = take_slot(m, why);
	if (err == CSV_OK)
		err = csv_engine_local(&m->engine);
	if (err != CSV_OK)
		close_local(m, true);
	return err;
}

static enum csv_err opened(struct csv_mount *m, struct csv_why *why)
{
	enum csv_err err;

	if (m->opts.readonly)
		return CSV_OK;
	err = csv_mount_pin_slot(m);
	for (uint32_t i = 1; err == CSV_OK && i < m->sb.slots; i++)
		err = csv_adopt_orphans(m, i);
	return err == CSV_OK ? err : csv_fail(why, err, "csvadm check tells more", "orphan lists cannot be read");
}

static void mark_clean(struct csv_mount *m)
{
	struct csv_slot s;

	/* Marked by somebody who has taken the volume: it is his to replay. */
	if (csv_slot_read(m->dev, &m->sb, m->slot, &s, NULL) || s.state != CSV_SLOT_LIVE ||
	    s.incarnation != m->incarnation) {
		csv_warn("slot %u is not ours any more", m->slot);
		m->unclean = true;
		return;
	}
	s.state = CSV_SLOT_CLEAN;
	if (csv_slot_write(m->dev, &m->sb, &s) != CSV_OK) {
		csv_warn("slot %u cannot be marked clean; the next mount will replay an empty journal", m->slot);
		m->unclean = true;
	}
}

static void left(struct csv_mount *m, bool clean)
{
	if (clean && !m->opts.readonly)
		mark_clean(m);
	close_local(m, clean && !m->unclean);
}

static const char *lock_name(const struct csv_mount *m)
{
	return "local";
}

const struct csv_mount_kind csv_mount_local = {
	.lock = lock_name,
	.join = join,
	.opened = opened,
	.left = left,
	.alone = true,
};
