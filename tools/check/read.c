/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading metadata blocks, and noting who owns which block. */
#include <inttypes.h>
#include <stdlib.h>

#include "fs/disk/buf.h"
#include "fs/disk/geometry.h"
#include "tools/check/check_int.h"

void *chk_page(struct chk *c)
{
	void *page = aligned_alloc(CSV_BLOCK_SIZE, CSV_BLOCK_SIZE);

	if (!page)
		chk_ok(c, CSV_NOMEM);
	return page;
}

bool chk_read_raw(struct chk *c, uint64_t block, unsigned n, void *page, uint64_t inode)
{
	enum csv_err err = csv_bdev_read(c->dev, block << CSV_BLOCK_SHIFT, page, (size_t)n << CSV_BLOCK_SHIFT);

	if (err == CSV_NOMEM)
		return chk_ok(c, err);
	if (err != CSV_OK)
		chk_report(c, CSV_CHECK_BLOCK_IO, block, inode, "cannot be read: %s", csv_err_text(err));
	return err == CSV_OK;
}

static enum csv_check_code code_of(enum csv_err err)
{
	return err == CSV_CHECKSUM   ? CSV_CHECK_BLOCK_CHECKSUM
	       : err == CSV_IDENTITY ? CSV_CHECK_BLOCK_IDENTITY
				     : CSV_CHECK_BLOCK_DAMAGED;
}

bool chk_verify(struct chk *c, const void *page, uint64_t block, uint32_t magic, uint64_t inode)
{
	csv_verifier verify;
	struct csv_why why;
	enum csv_err err;

	csv_why_init(&why);
	err = csv_block_verify(page, c->sb.uuid, block, magic, &why);
	if (err == CSV_OK) {
		verify = csv_verifier_of(csv_le32_get(chk_hdr(page)->magic));
		if (verify)
			err = verify(&c->sb, page, &why);
	}
	if (err != CSV_OK)
		chk_report(c, code_of(err), block, inode, "%s", why.err ? why.text : csv_err_text(err));
	return err == CSV_OK;
}

bool chk_read(struct chk *c, uint64_t block, uint32_t magic, uint64_t owner, void *page, uint64_t inode)
{
	uint64_t has;

	if (!chk_read_raw(c, block, 1, page, inode) || !chk_verify(c, page, block, magic, inode))
		return false;
	has = csv_le64_get(chk_hdr(page)->owner);
	if (has == owner)
		return true;
	chk_report(c, CSV_CHECK_BLOCK_OWNER, block, inode, "%s belongs to %" PRIu64 ", not to %" PRIu64,
		   csv_magic_name(magic), has, owner);
	return false;
}

bool chk_claim_meta(struct chk *c, uint64_t block, uint64_t inode, const char *what)
{
	uint64_t dup;

	if (!csv_geo_in_group(&c->sb, block, 1)) {
		chk_report(c, CSV_CHECK_META_OUTSIDE, block, inode, "%s lies outside of all groups", what);
		return false;
	}
	if (c->ag_bad[chk_ag_of(&c->sb, block)])
		c->hidden_blocks = true;
	else if (!chk_bits_test(&c->chunk, block))
		chk_report(c, CSV_CHECK_META_OUTSIDE, block, inode, "%s lies in no metadata chunk", what);
	else if (!chk_bits_test(&c->in_use, block))
		chk_report(c, CSV_CHECK_META_FREE, block, inode, "%s is free in its metadata chunk", what);
	if (!chk_ok(c, chk_bits_set(&c->meta, block, 1, &dup)))
		return false;
	if (dup == CHK_NO_BLOCK)
		return true;
	chk_report(c, CSV_CHECK_CROSSLINK, block, inode, "%s has another owner too", what);
	return false;
}

bool chk_claim_data(struct chk *c, uint64_t block, uint64_t n, uint64_t inode, const char *what)
{
	uint64_t dup;

	if (!chk_ok(c, chk_bits_set(&c->used, block, n, &dup)))
		return false;
	if (dup == CHK_NO_BLOCK)
		return true;
	chk_report(c, CSV_CHECK_CROSSLINK, dup, inode, "%s of blocks %" PRIu64 " to %" PRIu64 " has another owner too",
		   what, block, block + n - 1);
	return false;
}
