/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lock=local: this node alone.  The device is open exclusively, which keeps out all others
 * on this host; on a LUN with reservations a registered key shows a mount on another host.
 * So every slot that is not clean belongs to the dead:
 *
 *	1. no key of ours on the LUN, else busy
 *	2. each slot that is not clean is replayed and marked clean
 *	3. slot 0 is ours: incarnation + 1, live, on disk
 *	4. (opened) slot.0 pinned; orphans of all other slots moved to our list
 *	5. (left) clean again, if the journal could be emptied
 */
#include <string.h>

#include "fs/mount.h"
#include "lib/log.h"

#define KEY_PREFIX 0xC5F5ull /* csv_slot_pr_key() */

static enum csv_err no_keys(struct csv_mount *m, struct csv_why *why)
{
	struct csv_pr_status st;
	enum csv_err err;

	if (!m->dev->ops->pr_status)
		return CSV_OK;
	err = m->dev->ops->pr_status(m->dev, &st);
	if (err == CSV_NOTSUP)
		return CSV_OK;
	if (err != CSV_OK)
		return csv_fail(why, err, "try again", "cannot read the reservations of %s", m->opts.lun);
	for (unsigned i = 0; i < st.nkeys; i++)
		if (st.keys[i] >> 48 == KEY_PREFIX)
			return csv_fail(why, CSV_BUSY, "unmount it there, or mount with lock=cpg",
					"%s is mounted by another host (reservation key %016llx)", m->opts.lun,
					(unsigned long long)st.keys[i]);
	return CSV_OK;
}

/* A node of a cluster may live without our seeing it, if the LUN cannot tell. */
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

	for (uint32_t i = 0; i < m->sb.slots; i++) {
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
	s.pr_key = 0;
	s.mounted_sec = (uint64_t)sec;
	s.fenced_by = CSV_SLOT_NONE;
	memcpy(s.node, m->opts.node, sizeof(s.node));
	err = csv_slot_write(m->dev, &m->sb, &s);
	if (err != CSV_OK)
		return csv_fail(why, err, "", "slot 0 cannot be written");
	m->slot = 0;
	m->incarnation = s.incarnation;
	return CSV_OK;
}

static enum csv_err join(struct csv_mount *m, struct csv_why *why)
{
	enum csv_err err = no_keys(m, why);

	if (err == CSV_OK)
		err = recover_all(m, why);
	if (err == CSV_OK && !m->opts.readonly)
		err = take_slot(m, why);
	if (err == CSV_OK)
		err = csv_engine_local(&m->engine);
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

static void left(struct csv_mount *m, bool clean)
{
	struct csv_slot s;

	if (m->opts.readonly || !clean)
		return;
	if (csv_slot_read(m->dev, &m->sb, m->slot, &s, NULL) != CSV_OK || s.incarnation != m->incarnation)
		return;
	s.state = CSV_SLOT_CLEAN;
	if (csv_slot_write(m->dev, &m->sb, &s) != CSV_OK) {
		csv_warn("slot %u cannot be marked clean; the next mount will replay an empty journal", m->slot);
		m->unclean = true;
	}
}

const struct csv_mount_kind csv_mount_local = {
	.name = "local",
	.join = join,
	.opened = opened,
	.left = left,
	.alone = true,
};
