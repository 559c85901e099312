/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mounting, and coming back after a crash, with the steps of a real mount. */
#include <string.h>

#include "fs/disk/super.h"
#include "crash.h"

static bool slot_set(struct crash *c, struct csv_bdev *dev, uint32_t slot, enum csv_slot_state state, bool next,
		     uint32_t *incarnation)
{
	struct csv_slot s;
	struct csv_why why;
	enum csv_err err;

	csv_why_init(&why);
	err = csv_slot_read(dev, &c->sb, slot, &s, &why);
	if (err != CSV_OK)
		return crash_failed(c, "slot %u: %s", slot, why.text);
	s.state = state;
	s.incarnation += next;
	s.fenced_by = CSV_SLOT_NONE;
	err = csv_slot_write(dev, &c->sb, &s);
	if (err != CSV_OK)
		return crash_failed(c, "slot %u: %s", slot, csv_err_text(err));
	if (incarnation)
		*incarnation = s.incarnation;
	return true;
}

/* Each slot that is not clean; from the last to the first, so that an idle node's comes after the busy one's too. */
static bool each_dirty(struct crash *c, struct csv_bdev *dev, bool clean)
{
	for (uint32_t n = c->sb.slots; n-- > 0;) {
		struct csv_replay_result res;
		struct csv_slot s;
		struct csv_why why;
		enum csv_err err;

		csv_why_init(&why);
		err = csv_slot_read(dev, &c->sb, n, &s, &why);
		if (err == CSV_OK && s.state == CSV_SLOT_CLEAN)
			continue;
		if (err == CSV_OK)
			err = csv_replay(dev, &c->sb, n, true, NULL, &res, &why);
		if (err != CSV_OK)
			return crash_failed(c, "replay of slot %u: %s", n, why.text);
		if (clean && !slot_set(c, dev, n, CSV_SLOT_CLEAN, false, NULL))
			return false;
	}
	return true;
}

bool crash_replay(struct crash *c, struct csv_bdev *dev)
{
	return each_dirty(c, dev, false);
}

bool crash_recover(struct crash *c, struct csv_bdev *dev)
{
	return each_dirty(c, dev, true);
}

bool crash_mount(struct crash *c, struct csv_bdev *dev, uint32_t slot, struct crash_node *n)
{
	struct csv_why why;

	memset(n, 0, sizeof(*n));
	n->slot = slot;
	if (!slot_set(c, dev, slot, CSV_SLOT_LIVE, true, &n->incarnation))
		return false;
	csv_why_init(&why);
	if (csv_fs_open(&n->fs, dev, &c->env, false, slot, n->incarnation, &why) != CSV_OK)
		return crash_failed(c, "mount of slot %u: %s", slot, why.text);
	n->mounted = true;
	csv_journal_set_interval(&n->fs, 0);
	n->ctx.fs = &n->fs;
	for (uint32_t ag = 0; ag < c->sb.ag_count; ag++)
		csv_agset_add(&n->ctx.ags, ag);
	if (csv_data_new(&n->fs, c->workq, &n->data) != CSV_OK)
		return crash_failed(c, "no data path");
	return true;
}

void crash_kill(struct crash_node *n)
{
	if (!n->mounted)
		return;
	csv_fs_withdraw(&n->fs, CSV_WITHDRAWN, "power is cut");
	csv_data_free(n->data);
	csv_fs_close(&n->fs);
	n->mounted = false;
}

bool crash_umount(struct crash *c, struct crash_node *n)
{
	struct csv_bdev *dev = n->fs.dev;
	enum csv_err err;

	if (!n->mounted)
		return true;
	csv_data_free(n->data);
	err = csv_fs_close(&n->fs);
	n->mounted = false;
	if (err != CSV_OK)
		return crash_failed(c, "unmount of slot %u: %s", n->slot, csv_err_text(err));
	return slot_set(c, dev, n->slot, CSV_SLOT_CLEAN, false, NULL);
}

bool crash_again(struct crash_node *n, enum csv_err err, bool *committed)
{
	if (err != CSV_NOSPC && err != CSV_WAIT)
		return false;
	if (csv_ctx_take_need(&n->ctx))
		return true;
	if (err == CSV_WAIT || *committed || !csv_alloc_pending(&n->fs))
		return false;
	*committed = true;
	return csv_journal_commit(&n->fs, 0) == CSV_OK;
}
