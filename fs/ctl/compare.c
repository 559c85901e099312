/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The slot table on disk against csvlockd's ordered view (L9).  Told is who is not clean on disk and not alive in the
 * view (DIRTY), and who is alive in the view and over on disk (OVER): a node that was fenced by a group that nobody
 * remembers, and that has not tried to write since.
 */
#include <stdlib.h>

#include "csv/timeouts.h"
#include "fs/ctl/link.h"
#include "lib/log.h"

/* J8: alive is that incarnation of the slot which csvlockd's ordered view has, and no other; 0: none. Of our own, ours.
 */
static uint32_t life_in_view(struct csv_link *l, uint32_t slot)
{
	uint32_t life;

	if (slot == l->m->slot)
		return l->m->incarnation;
	pthread_mutex_lock(&l->lock);
	life = l->view.live >> slot & 1 ? l->view.incarnation[slot] : 0;
	pthread_mutex_unlock(&l->lock);
	return life;
}

/* The block says that this life goes on, or that its own unmount made it clean: its DETACH is on its way. */
static bool may_go_on(const struct csv_slot *s, uint32_t life)
{
	return s->incarnation == life && (s->state == CSV_SLOT_LIVE || (s->state == CSV_SLOT_CLEAN && s->pr_key));
}

static enum csv_err has_lost_key(struct csv_mount *m, uint64_t key, bool *yes)
{
	struct csv_pr_status *st;
	enum csv_err err;

	*yes = false;
	if (!m->dev->ops->pr_status)
		return CSV_OK;
	st = calloc(1, sizeof(*st));
	err = st ? m->dev->ops->pr_status(m->dev, st) : CSV_NOMEM;
	*yes = !err;
	for (unsigned i = 0; !err && i < st->nkeys; i++) {
		if (st->keys[i] == key)
			*yes = false;
	}
	free(st);
	return err;
}

/*
 * A life that will never write again: its key is gone, and its block does not let it register anew (F2).  One of them
 * alone does not say so.  A key goes with its session and comes back; a block is marked before the key is removed, by
 * somebody whose fence may fail, or who loses a duel and whose mark the winner takes back (F5).  So the block is read
 * before and behind the keys.
 */
static enum csv_err is_over(struct csv_mount *m, const struct csv_slot *s, uint32_t life, bool *over,
			    struct csv_why *why)
{
	struct csv_slot again;
	enum csv_err err = CSV_OK;

	*over = false;
	if (may_go_on(s, life))
		return CSV_OK;
	err = has_lost_key(m, csv_slot_pr_key(s->slot, life), over);
	if (err)
		return csv_fail(why, err, "", "the reservation keys of %s cannot be read: %s", m->opts.lun,
				csv_err_text(err));
	if (!*over)
		return CSV_OK;
	err = csv_slot_read(m->dev, &m->sb, s->slot, &again, why);
	*over = !err && !may_go_on(&again, life);
	return err;
}

/* What of a slot csvlockd is to be told. DONE: nothing, the block is as the view says. */
struct finding {
	enum csv_msg_type what;
	uint32_t life;
};

static enum csv_err compare(struct csv_link *l, const struct csv_slot *s, struct finding *f, struct csv_why *why)
{
	bool own = s->slot == l->m->slot, over;
	enum csv_err err;

	*f = (struct finding){ CSV_MSG_DONE, life_in_view(l, s->slot) };
	if (!own && s->state != CSV_SLOT_CLEAN && s->incarnation != f->life) {
		*f = (struct finding){ CSV_MSG_DIRTY, s->incarnation };
		return CSV_OK;
	}
	if (!f->life)
		return CSV_OK;
	err = is_over(l->m, s, f->life, &over, why);
	if (err || !over)
		return err;
	if (own)
		return csv_fail(why, CSV_FENCED, "", "slot %u, which is ours, is over", s->slot);
	f->what = CSV_MSG_OVER;
	return CSV_OK;
}

static enum csv_err tell(struct csv_link *l, const struct csv_slot *s, const struct finding *f, struct csv_why *why)
{
	struct csv_msg msg = { .type = f->what };
	enum csv_err err;

	csv_info("slot %u (node %s) %s: it is recovered first", s->slot, s->node,
		 f->what == CSV_MSG_OVER ? "counts as alive, but has been fenced" : "was not unmounted");
	csv_link_fill_slot(&msg.slot, s);
	msg.slot.incarnation = f->life;
	err = csv_link_call(l, &msg, CSV_FS_ANSWER_MS);
	if (!err && msg.type == CSV_MSG_ERROR)
		err = (enum csv_err)msg.err;
	return err ? csv_fail(why, err, "", "csvlockd does not take slot %u for recovery: %s", s->slot,
			      csv_err_text(err))
		   : CSV_OK;
}

enum csv_err csv_link_tell_slots(struct csv_link *l, unsigned *found, struct csv_why *why)
{
	struct csv_mount *m = l->m;
	struct finding f;
	struct csv_slot s;
	enum csv_err err;

	*found = 0;
	for (uint32_t n = 0; n < m->sb.slots; n++) {
		err = csv_slot_read(m->dev, &m->sb, n, &s, why);
		if (!err)
			err = compare(l, &s, &f, why);
		if (!err && f.what != CSV_MSG_DONE) {
			err = tell(l, &s, &f, why);
			(*found)++;
		}
		if (err)
			return err;
	}
	return CSV_OK;
}
