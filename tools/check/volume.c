/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the volume is and what its lives have left: superblock, slots, journals. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fs/disk/geometry.h"
#include "fs/journal/journal.h"
#include "tools/check/check_int.h"
#include "tools/check/overlay.h"

/* A copy that is good but of another version: a change of the superblock was cut off between its copies. */
static void check_copy(struct chk *c, unsigned copy, uint64_t block, void *page, const void *used)
{
	enum csv_check_code code = copy ? CSV_CHECK_SUPER_COPY : CSV_CHECK_SUPER_PRIMARY;
	struct csv_why why;

	csv_why_init(&why);
	if (!chk_read_raw(c, block, 1, page, 0))
		return;
	if (csv_block_verify(page, c->sb.uuid, block, CSV_MAGIC_SUPER, &why) != CSV_OK) {
		chk_report(c, code, block, 0, "%s%s", why.text, copy ? "" : "; a copy was used");
		return;
	}
	if (memcmp((uint8_t *)page + sizeof(struct csv_block_hdr), (const uint8_t *)used + sizeof(struct csv_block_hdr),
		   CSV_BLOCK_SIZE - sizeof(struct csv_block_hdr)) == 0)
		return;
	if (csv_le64_get(chk_hdr(page)->version) != c->sb.version)
		chk_note(c, code, block, 0, "superblock of version %" PRIu64 ", used is version %" PRIu64,
			 csv_le64_get(chk_hdr(page)->version), c->sb.version);
	else
		chk_report(c, code, block, 0, "superblock with other content of the same version");
}

static void check_copies(struct chk *c)
{
	const uint64_t where[3] = { CSV_SB_BLOCK, CSV_SB_COPY_BLOCK, c->sb.blocks - 1 };
	void *page = chk_page(c), *used = chk_page(c);

	if (page && used && chk_read_raw(c, where[c->sb.copy_used], 1, used, 0))
		for (unsigned i = 0; i < 3; i++)
			check_copy(c, i, where[i], page, used);
	free(page);
	free(used);
}

enum csv_err chk_superblocks(struct chk *c, struct csv_why *why)
{
	struct csv_why first;
	enum csv_err err;

	/* Kept apart: with a good copy, a bad primary is a finding and no reason to fail. */
	csv_why_init(&first);
	err = csv_super_read(c->dev, &c->sb, &first);
	if (err != CSV_OK) {
		if (why)
			*why = first;
		return err;
	}
	memcpy(c->sum->name, c->sb.name, sizeof(c->sum->name));
	memcpy(c->sum->uuid, c->sb.uuid, sizeof(c->sum->uuid));
	check_copies(c);
	if (!chk_ok(c, chk_bits_init(&c->used, &c->sb)) || !chk_ok(c, chk_bits_init(&c->meta, &c->sb)) ||
	    !chk_ok(c, chk_bits_init(&c->chunk, &c->sb)) || !chk_ok(c, chk_bits_init(&c->in_use, &c->sb)))
		return CSV_OK; /* c->err */
	c->ag_bad = calloc(c->sb.ag_count, 1);
	chk_ok(c, c->ag_bad ? CSV_OK : CSV_NOMEM);
	return CSV_OK;
}

void chk_slots(struct chk *c)
{
	for (uint32_t n = 0; n < c->sb.slots; n++) {
		struct csv_why why;
		enum csv_err err;

		csv_why_init(&why);
		err = csv_slot_read(c->dev, &c->sb, n, &c->slot[n], &why);
		c->slot_good[n] = err == CSV_OK;
		if (err == CSV_NOMEM)
			chk_ok(c, err);
		else if (err != CSV_OK)
			chk_report(c, CSV_CHECK_SLOT, CSV_SLOT_BLOCK(n), 0, "%s", why.text);
	}
}

static void journal_failed(struct chk *c, uint32_t slot, enum csv_err err, const struct csv_why *why)
{
	uint64_t start = CSV_JOURNAL_START + (uint64_t)slot * c->sb.journal_blocks;

	if (err == CSV_NOMEM)
		chk_ok(c, err);
	else
		chk_report(c, err == CSV_GAP ? CSV_CHECK_JOURNAL_GAP : CSV_CHECK_JOURNAL,
			   why->block != UINT64_MAX ? why->block : start, 0, "%s", why->text);
}

/* What a clean slot has in its journal must be home. */
static void check_clean(struct chk *c, uint32_t slot)
{
	struct csv_replay_result res;
	struct csv_why why;
	enum csv_err err;

	csv_why_init(&why);
	err = csv_replay(c->dev, &c->sb, slot, false, NULL, &res, &why);
	if (err != CSV_OK)
		journal_failed(c, slot, err, &why);
	else if (res.written)
		chk_report(c, CSV_CHECK_JOURNAL, CSV_JOURNAL_START + (uint64_t)slot * c->sb.journal_blocks, 0,
			   "slot %u is clean, but %" PRIu64 " blocks of its journal are not home", slot, res.written);
}

static void replay_dirty(struct chk *c, uint32_t slot)
{
	const struct csv_slot *s = &c->slot[slot];
	struct csv_replay_result res;
	struct csv_why why;
	enum csv_err err;

	c->sum->dirty_slots++;
	csv_why_init(&why);
	err = csv_replay(c->dev, &c->sb, slot, !c->opts->no_replay, NULL, &res, &why);
	if (err != CSV_OK) {
		journal_failed(c, slot, err, &why);
		return;
	}
	c->sum->replayed += res.written;
	chk_note(c, CSV_CHECK_JOURNAL_DIRTY, s->journal_start, 0,
		 "slot %u of node %s is not clean: %" PRIu64 " transactions with %" PRIu64
		 " blocks wait in its journal",
		 slot, *s->node ? s->node : "?", res.transactions, res.written);
}

void chk_journals(struct chk *c, struct csv_bdev **overlay)
{
	for (uint32_t n = 0; n < c->sb.slots && c->err == CSV_OK; n++) {
		if (!c->slot_good[n])
			continue;
		if (c->slot[n].state == CSV_SLOT_CLEAN) {
			check_clean(c, n);
			continue;
		}
		if (!*overlay && !c->opts->no_replay) {
			if (!chk_ok(c, csv_overlay_open(c->dev, overlay)))
				return;
			c->dev = *overlay;
		}
		replay_dirty(c, n);
	}
}
