/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Getting metadata blocks: read once, verified after the read, checked for type and owner each time. */
#include "fs/disk/buf_priv.h"
#include "fs/disk/geometry.h"
#include "fs/disk/super.h"

/* Type and owner as the caller expects them; also for blocks that were in the cache already. */
static enum csv_err cbuf_expect(const struct csv_cbuf *b, uint32_t magic, uint64_t owner)
{
	const struct csv_block_hdr *h = b->pub.data;

	if (csv_le32_get(h->magic) != magic || csv_le64_get(h->owner) != owner)
		return CSV_IDENTITY;
	return CSV_OK;
}

static enum csv_err cbuf_load(struct csv_fs *fs, struct csv_cbuf *b, uint32_t magic, uint64_t owner, bool lazy)
{
	csv_verifier verify = csv_verifier_of(magic);
	enum csv_err err;

	err = csv_bdev_read(fs->dev, b->pub.block << CSV_BLOCK_SHIFT, b->pub.data, CSV_BLOCK_SIZE);
	if (err != CSV_OK)
		return err;
	err = csv_block_verify(b->pub.data, fs->sb.uuid, b->pub.block, magic, NULL);
	if (err == CSV_OK)
		err = cbuf_expect(b, magic, owner);
	if (err == CSV_OK && verify)
		err = verify(&fs->sb, b->pub.data, NULL);
	if (err != CSV_OK && lazy) {
		csv_block_init(b->pub.data, fs->sb.uuid, magic, b->pub.block, owner, 0);
		b->fresh = true;
		err = CSV_OK;
	}
	return err;
}

static enum csv_err buf_get(struct csv_fs *fs, uint64_t block, uint32_t magic, uint64_t owner, struct csv_res res,
			    bool lazy, struct csv_cbuf **out)
{
	struct csv_cbuf *b = NULL;
	enum csv_err err;
	bool mine;

	*out = NULL;
	csv_fs_assert_lock(fs, res, CSV_PR);
	if (!csv_geo_fits(&fs->sb, block, magic))
		return CSV_DAMAGED;
	err = csv_cache_get(fs, block, res, &b, &mine);
	if (err != CSV_OK)
		return err;
	if (mine) {
		err = cbuf_load(fs, b, magic, owner, lazy);
		csv_cache_loaded(fs, b, err);
		if (err != CSV_OK)
			return err;
	}
	err = b->fresh && !lazy ? CSV_IDENTITY : cbuf_expect(b, magic, owner);
	if (err != CSV_OK) {
		csv_buf_put(fs, &b->pub);
		return err;
	}
	CSV_ASSERT(!fs->locks || csv_res_eq(b->pub.res, res));
	*out = b;
	return CSV_OK;
}

enum csv_err csv_buf_get(struct csv_fs *fs, uint64_t block, uint32_t magic, uint64_t owner, struct csv_res res,
			 struct csv_buf **buf)
{
	struct csv_cbuf *b;
	enum csv_err err = buf_get(fs, block, magic, owner, res, false, &b);

	*buf = b ? &b->pub : NULL;
	return err;
}

enum csv_err csv_buf_get_lazy(struct csv_fs *fs, uint64_t block, uint32_t magic, uint64_t owner, struct csv_res res,
			      struct csv_buf **buf, bool *fresh)
{
	struct csv_cbuf *b;
	enum csv_err err = buf_get(fs, block, magic, owner, res, true, &b);

	*buf = b ? &b->pub : NULL;
	*fresh = b && b->fresh;
	return err;
}

void csv_buf_become(struct csv_fs *fs, struct csv_buf *buf, uint32_t magic, uint64_t owner, struct csv_res res)
{
	struct csv_cbuf *b = csv_cbuf_of(buf);
	uint64_t version = csv_le64_get(((struct csv_block_hdr *)buf->data)->version);

	if (owner == UINT64_MAX)
		owner = buf->block;
	if (res.id == UINT64_MAX)
		res.id = buf->block;
	csv_block_init(buf->data, fs->sb.uuid, magic, buf->block, owner, version);
	csv_journal_note_res(fs, b, res);
	csv_buf_retag(fs, b, res);
}
