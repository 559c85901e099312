/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SEEK_DATA and SEEK_HOLE: unwritten blocks count as hole, the end of the file is one. */
#include "fs/data/map_int.h"

/* First block from lblk on that is written (or not), below end; end if there is none. */
static enum csv_err seek(struct csv_fs *fs, struct csv_buf *inode, uint64_t lblk, uint64_t end, bool written,
			 uint64_t *found)
{
	while (lblk < end) {
		struct csv_map m;
		enum csv_err err = csv_map_lookup(fs, inode, lblk, end - lblk, &m);

		if (err)
			return err;
		if ((m.kind == CSV_MAP_WRITTEN) == written)
			break;
		lblk += m.len;
	}
	*found = lblk;
	return CSV_OK;
}

static enum csv_err seek_in(struct csv_fs *fs, struct csv_buf *inode, uint64_t off, bool data, uint64_t *found)
{
	uint64_t size = csv_le64_get(csv_inode_of(inode)->size), at = blk_floor(off), lblk;
	enum csv_err err;

	if (!S_ISREG(csv_le32_get(csv_inode_of(inode)->mode)))
		return CSV_INVAL;
	if (off >= size)
		return CSV_NOENT;
	err = seek(fs, inode, at, blk_ceil(size), data, &lblk);
	if (err)
		return err;
	*found = lblk == at ? off : lblk << CSV_BLOCK_SHIFT;
	if (*found < size)
		return CSV_OK;
	*found = size;
	return data ? CSV_NOENT : CSV_OK;
}

enum csv_err csv_map_seek(struct csv_fs *fs, struct csv_iref ref, uint64_t off, bool data, uint64_t *found)
{
	struct csv_buf *inode;
	enum csv_err err;

	csv_fs_lock_shared(fs);
	err = csv_inode_get(fs, ref, &inode);
	if (!err) {
		err = seek_in(fs, inode, off, data, found);
		csv_buf_put(fs, inode);
	}
	csv_fs_unlock(fs);
	return err;
}
