/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A slot is taken, by a mounter that has `mount`.
 *
 * Not by it alone: another mounter may have stood still, have been dropped by the group with its locks, and wake up now
 * with the write of a slot block before it.  What stops it is its key:
 *
 *	1. it registers its key, and only then asks for slot.N and writes the block (cluster.c); a GRANT comes to
 *members of the group only.  So its registration came before it was dropped, and before we got `mount`
 *	2. we register a key that nobody has, which may cost an incarnation, and write our block
 *	3. we remove every key that belongs to no slot of the table: from here on none of its writes passes
 *	4. we read our block again.  If it is another's, that write came before 3: we write ours once more
 *
 * It does not register again: until it has a guard its device sends nothing held on a new session.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ctl/link.h"
#include "fs/disk/keys.h"
#include "lib/log.h"

#define TYPE CSV_PR_WRITE_EXCLUSIVE_ALL_REG
#define REGISTER_TRIES 20u
#define REGISTER_PAUSE_MS 250
#define REMOVE_ROUNDS 10u

static bool contains(const uint64_t *keys, unsigned n, uint64_t key)
{
	for (unsigned i = 0; i < n; i++) {
		if (keys[i] == key)
			return true;
	}
	return false;
}

/* ---- the key ---------------------------------------------------------------------------------- */

/* Two hosts with one key could not be told apart: the first life of the slot whose key nobody has. */
static enum csv_err next_life(struct csv_mount *m, struct csv_slot *s)
{
	struct csv_pr_status st;
	enum csv_err err = m->dev->ops->pr_status(m->dev, &st);

	if (err)
		return err;
	do
		s->pr_key = csv_slot_pr_key(s->slot, ++s->incarnation);
	while (contains(st.keys, st.nkeys, s->pr_key));
	return CSV_OK;
}

/*
 * RESERVE is GOOD for everybody who is registered, while a reservation of that type stands; whoever comes back after a
 * restart of the target makes it again, which a device knows only if it has made it once (F1).
 */
enum csv_err csv_mount_register_key(struct csv_mount *m, uint64_t key, struct csv_why *why)
{
	enum csv_err err = CSV_OK;

	/*
	 * A target that is still ending this host's former session may take the new registration for the old one's and
	 * drop it: so again for a moment.
	 */
	for (unsigned tries = 0; tries < REGISTER_TRIES; tries++) {
		err = m->dev->ops->pr_register(m->dev, key);
		if (!err)
			err = m->dev->ops->pr_reserve(m->dev, key, TYPE);
		if (err != CSV_CONFLICT)
			break;
		poll(NULL, 0, REGISTER_PAUSE_MS);
	}
	return err ? csv_fail(why, err, "csvadm needs a target that honours reservations of type 7",
			      "reservation on %s: %s", m->opts.lun, csv_err_text(err))
		   : CSV_OK;
}

/* Whether the target lists the key; without an answer not. */
static bool is_listed(struct csv_mount *m, uint64_t key)
{
	struct csv_pr_status *st = calloc(1, sizeof(*st));
	bool listed = st && m->dev->ops->pr_status(m->dev, st) == CSV_OK && csv_key_among(st, key);

	free(st);
	return listed;
}

void csv_mount_drop_key(struct csv_mount *m, uint64_t key)
{
	enum csv_err err;

	m->dev->ops->set_guard(m->dev, NULL);
	err = m->dev->ops->pr_register(m->dev, 0);
	if (err)
		csv_warn("reservation key %016llx could not be removed: %s; the next mount of the volume does it",
			 (unsigned long long)key, csv_err_text(err));
	else if (is_listed(m, key))
		csv_info("reservation key %016llx stays, registered by a path or session of this node that was lost; "
			 "nobody writes under it, and the next mount of the volume removes it",
			 (unsigned long long)key);
}

enum csv_err csv_link_claim(struct csv_link *l, struct csv_slot *s, struct csv_why *why)
{
	struct csv_mount *m = l->m;
	enum csv_err err;

	if (!m->dev->ops->pr_register)
		return csv_fail(why, CSV_NOTSUP, "use a LUN with persistent reservations, or lock=local",
				"%s has no SCSI-3 persistent reservations", m->opts.lun);
	err = next_life(m, s);
	if (!err) {
		l->key = s->pr_key;
		err = csv_mount_register_key(m, s->pr_key, why);
	}
	return err ? csv_fail(why, err, "csvadm needs a target that honours reservations of type 7",
			      "reservation on %s: %s", m->opts.lun, csv_err_text(err))
		   : CSV_OK;
}

/* Every key but ours and those to keep. Afterwards no write of theirs is on its way either (F3). */
static enum csv_err remove_keys(struct csv_mount *m, uint64_t own, const uint64_t *keep, unsigned nkeep)
{
	for (unsigned round = 0; round < REMOVE_ROUNDS; round++) {
		struct csv_pr_status st;
		enum csv_err err = m->dev->ops->pr_status(m->dev, &st);
		unsigned strangers = 0;
		bool aborted;

		if (!err && !contains(st.keys, st.nkeys, own))
			err = CSV_FENCED;
		for (unsigned i = 0; !err && i < st.nkeys; i++) {
			if (st.keys[i] == own || contains(keep, nkeep, st.keys[i]))
				continue;
			csv_warn("reservation key %016llx is of nobody who has the volume mounted: removed",
				 (unsigned long long)st.keys[i]);
			err = m->dev->ops->pr_preempt(m->dev, own, st.keys[i], TYPE, &aborted);
			strangers++;
		}
		if (err)
			return err == CSV_CONFLICT ? CSV_FENCED : err;
		if (!strangers)
			return st.type == TYPE ? CSV_OK : m->dev->ops->pr_reserve(m->dev, own, TYPE);
	}
	return CSV_AGAIN;
}

/* ---- the block ----------------------------------------------------------------------------------- */

static bool is_ours(const struct csv_slot *s, const struct csv_slot *ours)
{
	return s->state == CSV_SLOT_LIVE && s->incarnation == ours->incarnation && s->pr_key == ours->pr_key &&
	       s->nodeid == ours->nodeid && s->mounted_sec == ours->mounted_sec && !strcmp(s->node, ours->node);
}

static enum csv_err write_live(struct csv_link *l, struct csv_slot *s)
{
	struct csv_mount *m = l->m;
	uint32_t nsec;
	int64_t sec;

	m->env->wall(m->env, &sec, &nsec);
	s->state = CSV_SLOT_LIVE;
	s->nodeid = m->nodeid;
	s->mounted_sec = (uint64_t)sec;
	s->fenced_by = CSV_SLOT_NONE;
	snprintf(s->node, sizeof(s->node), "%s", m->opts.node);
	l->slot_written = true; /* whatever the answer is */
	return csv_slot_write(m->dev, &m->sb, s);
}

static bool in_view(struct csv_link *l, uint32_t n)
{
	bool yes;

	pthread_mutex_lock(&l->lock);
	yes = (l->view.live | l->view.out) >> n & 1;
	pthread_mutex_unlock(&l->lock);
	return yes;
}

/* Keys of the table: of slots in use or to be recovered, and of those that are clean and about to be given up. */
static enum csv_err table_keys(struct csv_link *l, uint64_t *keys, unsigned *n, struct csv_why *why)
{
	struct csv_mount *m = l->m;
	struct csv_slot s;

	*n = 0;
	for (uint32_t i = 0; i < m->sb.slots; i++) {
		enum csv_err err = csv_slot_read(m->dev, &m->sb, i, &s, why);

		if (err)
			return err;
		if (s.state != CSV_SLOT_CLEAN || in_view(l, i))
			keys[(*n)++] = csv_slot_key(&s);
	}
	return CSV_OK;
}

static enum csv_err look_again(struct csv_mount *m, struct csv_slot *s, struct csv_why *why)
{
	struct csv_slot back;
	enum csv_err err = csv_slot_read(m->dev, &m->sb, s->slot, &back, why);

	if (err || is_ours(&back, s))
		return err;
	csv_warn("slot %u was written by node %s, which was out: written again", s->slot, back.node);
	s->version = back.version;
	err = csv_slot_write(m->dev, &m->sb, s);
	if (!err)
		err = csv_slot_read(m->dev, &m->sb, s->slot, &back, why);
	return err || is_ours(&back, s) ? err : CSV_FENCED;
}

enum csv_err csv_link_settle_in(struct csv_link *l, struct csv_slot *s, struct csv_why *why)
{
	uint64_t keys[CSV_SLOTS_MAX];
	unsigned n;
	enum csv_err err = write_live(l, s);

	if (!err)
		err = table_keys(l, keys, &n, why);
	if (!err)
		err = remove_keys(l->m, s->pr_key, keys, n);
	if (!err)
		err = look_again(l->m, s, why);
	return err ? csv_fail(why, err, "mount again", "slot %u cannot be taken: %s", s->slot, csv_err_text(err))
		   : CSV_OK;
}

void csv_link_unclaim(struct csv_link *l)
{
	struct csv_mount *m = l->m;
	struct csv_slot s;

	if (l->slot_written && csv_slot_read(m->dev, &m->sb, m->slot, &s, NULL) == CSV_OK && s.state == CSV_SLOT_LIVE &&
	    s.pr_key == l->key && s.nodeid == m->nodeid) {
		s.state = CSV_SLOT_CLEAN;
		if (csv_slot_write(m->dev, &m->sb, &s))
			csv_warn("slot %u stays in use until another node mounts", m->slot);
	}
	if (l->key)
		csv_mount_drop_key(m, l->key);
	l->key = 0;
}

/* ---- a volume without a clean slot ------------------------------------------------------------------ */

/* Marks the slots of `set`; 0: all that are not clean, which it becomes. */
static enum csv_err mark(struct csv_mount *m, uint32_t by, uint64_t *set, struct csv_why *why)
{
	uint64_t marked = 0;
	struct csv_slot s;

	for (uint32_t n = 0; n < m->sb.slots; n++) {
		enum csv_err err = csv_slot_read(m->dev, &m->sb, n, &s, why);

		if (err)
			return err;
		if (*set ? !(*set >> n & 1) : s.state == CSV_SLOT_CLEAN)
			continue;
		marked |= 1ull << n;
		if (s.state == CSV_SLOT_FENCED)
			continue;
		s.state = CSV_SLOT_FENCED;
		s.fenced_by = by;
		err = csv_slot_write(m->dev, &m->sb, &s);
		if (err)
			return err;
	}
	*set = marked;
	return CSV_OK;
}

/*
 * As in fence.c, for all at once: marked, so that who comes back does not register again (F2); every key removed, which
 * also stops whoever replayed here before (F4); marked again, for a clean unmount may have landed in between (F5). With
 * nobody alive no block is in use (J6), and one replay is the only one.  The others are told as dirty after ATTACH.
 */
enum csv_err csv_link_rescue(struct csv_link *l, struct csv_slot *s, struct csv_why *why)
{
	struct csv_replay_result res = { 0 };
	struct csv_mount *m = l->m;
	struct csv_slot now;
	uint64_t set = 0;
	enum csv_err err;

	csv_warn("nobody has volume %s mounted and no slot is clean: slot %u is recovered first", m->sb.name, s->slot);
	err = mark(m, s->slot, &set, why);
	if (!err)
		err = remove_keys(m, s->pr_key, NULL, 0);
	if (!err)
		err = mark(m, s->slot, &set, why);
	if (!err)
		err = csv_slot_read(m->dev, &m->sb, s->slot, &now, why);
	if (!err)
		err = csv_recover_slot(m->dev, &m->sb, s->slot, now.incarnation, NULL, &res, why);
	if (!err)
		err = csv_slot_read(m->dev, &m->sb, s->slot, &now, why);
	if (err)
		return csv_fail(why, err, "csvadm check tells more", "slot %u cannot be recovered: %s", s->slot,
				csv_err_text(err));
	csv_warn("slot %u: journal replayed, %llu transactions, %llu blocks written", s->slot,
		 (unsigned long long)res.transactions, (unsigned long long)res.written);
	s->version = now.version;
	return CSV_OK;
}
