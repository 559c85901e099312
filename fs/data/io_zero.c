/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes into preallocated blocks when the volume is full.
 *
 * Converting a part of an unwritten extent makes up to three records of one, and a full leaf then wants a tree node.
 * If there is none to be had, zeros go to all of the extent that the data does not cover, and all of it becomes
 * written: the record changes its kind where it stands, and what it then may be joined with only takes records away.
 * No block is needed, so this cannot fail for space, and it is bounded: no unwritten extent is longer than
 * MAP_UNWRITTEN_MAX, and each is zeroed once at most.
 *
 * J7: the write is alone on all blocks of the extent from the look-up to the conversion: no other writer's data can be
 * there that the zeros would fall on, and no reader looks on.  J3: zeros and data are on their way to the LUN before
 * the transaction begins, which is ordered behind both; a crash before it leaves the extent unwritten.
 */
#include "fs/data/data_int.h"
#include "fs/data/map_int.h"

/* Widens what is converted to whole extents, and x->need_first to x->need_last with it. */
static enum csv_err look_extents(struct csv_xfer *x)
{
	struct csv_fs *fs = x->req->d->fs;
	struct csv_buf *inode;
	enum csv_err err;

	csv_fs_lock_shared(fs);
	err = csv_inode_get(fs, x->req->file->ref, &inode);
	for (unsigned i = 0; err == CSV_OK && i < x->n; i++) {
		struct csv_piece *p = &x->piece[i];
		struct ext e;

		if (p->kind != CSV_MAP_UNWRITTEN)
			continue;
		err = map_extent(fs, inode, p->lblk, &e);
		if (err != CSV_OK)
			break;
		p->conv_lblk = e.lblk;
		p->conv_len = e.len;
		x->need_first = e.lblk < x->need_first ? e.lblk : x->need_first;
		x->need_last = ext_end(&e) - 1 > x->need_last ? ext_end(&e) - 1 : x->need_last;
	}
	if (inode)
		csv_buf_put(fs, inode);
	csv_fs_unlock(fs);
	return err;
}

/* What of the extent lies before and behind the piece, which the data covers. */
static enum csv_err zero_around(struct csv_data_req *req, const struct csv_piece *p)
{
	uint64_t before = p->lblk - p->conv_lblk, behind = p->conv_len - before - p->len;
	struct csv_fs *fs = req->d->fs;
	enum csv_err err = map_zero_blocks(fs, p->phys - before, before);

	if (err == CSV_OK)
		err = map_zero_blocks(fs, p->phys + p->len, behind);
	atomic_fetch_add_explicit(&req->d->zeroed, before + behind, memory_order_relaxed);
	return err;
}

enum csv_err zero_extents(struct csv_xfer *x)
{
	enum csv_err err = look_extents(x);

	if (err == CSV_OK && (x->need_first < x->req->span.first || x->need_last > x->req->span.last))
		err = CSV_AGAIN;
	for (unsigned i = 0; err == CSV_OK && i < x->n; i++)
		if (x->piece[i].kind == CSV_MAP_UNWRITTEN)
			err = zero_around(x->req, &x->piece[i]);
	return err;
}
