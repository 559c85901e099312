/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Home blocks under replay that fail their check (J6).  Either the dead node tore it, or it was never laid out, and
 *then the journal's image belongs there; or a living node is writing it at this moment, and what it writes is newer.
 *
 *	1. Read again for a while: a write of one block takes less, and then the versions decide.
 *	2. What fails still: ask who uses it, by the owner that the image names, and by the owner that the block itself
 *	   names now, as far as its header can be believed: it may have been freed and given to another since.
 *	3. Read once more.  What has changed since 2 is being written by somebody whom the question did not meet:
 *nothing is decided by it, and the replay is to be run again.
 */
#include <poll.h>
#include <string.h>

#include "fs/disk/geometry.h"
#include "fs/disk/super.h"
#include "fs/journal/journal_priv.h"
#include "lib/bug.h"
#include "lib/crc32c.h"

#define READ_TRIES 8u
#define READ_PAUSE_MS 20

void csv_rhome_judge(const struct csv_super *sb, struct csv_rhome *h)
{
	const struct csv_block_hdr *home = h->page;

	if (csv_block_verify(home, sb->uuid, h->home, 0, NULL) != CSV_OK)
		h->fate = CSV_RHOME_TORN;
	else if (CSV_BUG(REPLAY_IGNORES_VERSION) || csv_le64_get(h->image->version) > csv_le64_get(home->version))
		h->fate = CSV_RHOME_WRITE;
	else
		h->fate = CSV_RHOME_OLDER;
}

static enum csv_err read_torn(struct csv_bdev *dev, struct csv_rhome *h, size_t n)
{
	struct csv_bdev_batch *batch;
	enum csv_err err = csv_bdev_batch_begin(dev, &batch);

	if (err != CSV_OK)
		return err;
	for (size_t i = 0; i < n; i++) {
		if (h[i].fate == CSV_RHOME_TORN)
			csv_bdev_batch_read(batch, h[i].home << CSV_BLOCK_SHIFT, h[i].page, CSV_BLOCK_SIZE);
	}
	return csv_bdev_batch_wait(batch);
}

/* Reads the torn ones again and judges them. Returns how many are left in *left. */
static enum csv_err look_again(struct csv_bdev *dev, const struct csv_super *sb, struct csv_rhome *h, size_t n,
			       size_t *left)
{
	enum csv_err err = read_torn(dev, h, n);

	*left = 0;
	for (size_t i = 0; i < n && err == CSV_OK; i++) {
		if (h[i].fate != CSV_RHOME_TORN)
			continue;
		csv_rhome_judge(sb, &h[i]);
		*left += h[i].fate == CSV_RHOME_TORN;
	}
	return err;
}

/* What the header of a torn block says of type and owner can be true of this block, and is not what the image says. */
static bool other_owner(const struct csv_super *sb, const struct csv_rhome *h)
{
	const struct csv_block_hdr *home = h->page;
	uint32_t magic = csv_le32_get(home->magic);

	return csv_verifier_of(magic) && !memcmp(home->uuid, sb->uuid, sizeof(home->uuid)) &&
	       csv_le64_get(home->block) == h->home && csv_geo_fits(sb, h->home, magic) &&
	       (magic != csv_le32_get(h->image->magic) || csv_le64_get(home->owner) != csv_le64_get(h->image->owner));
}

static enum csv_err ask(const struct csv_replay_ops *ops, const struct csv_super *sb, struct csv_rhome *h)
{
	const struct csv_block_hdr *of[2] = { h->image, other_owner(sb, h) ? h->page : NULL };

	for (unsigned i = 0; i < 2 && of[i]; i++) {
		bool yes = false;
		enum csv_err err =
		    ops->in_use(ops->arg, h->home, csv_le32_get(of[i]->magic), csv_le64_get(of[i]->owner), &yes);

		if (err != CSV_OK)
			return err;
		if (yes) {
			h->fate = CSV_RHOME_IN_USE;
			return CSV_OK;
		}
	}
	h->crc = csv_crc32c(0, h->page, CSV_BLOCK_SIZE);
	return CSV_OK;
}

enum csv_err csv_rhome_torn(struct csv_bdev *dev, const struct csv_super *sb, const struct csv_replay_ops *ops,
			    struct csv_rhome *h, size_t n, struct csv_why *why)
{
	bool somebody = ops && ops->in_use;
	enum csv_err err = CSV_OK;
	size_t left = 0;

	for (size_t i = 0; i < n; i++)
		left += h[i].fate == CSV_RHOME_TORN;
	for (unsigned tries = 1; somebody && left && err == CSV_OK && tries < READ_TRIES; tries++) {
		poll(NULL, 0, READ_PAUSE_MS);
		err = look_again(dev, sb, h, n, &left);
	}
	for (size_t i = 0; somebody && left && i < n && err == CSV_OK; i++) {
		if (h[i].fate == CSV_RHOME_TORN)
			err = ask(ops, sb, &h[i]);
	}
	if (somebody && left && err == CSV_OK)
		err = look_again(dev, sb, h, n, &left);
	for (size_t i = 0; i < n && err == CSV_OK; i++) {
		if (h[i].fate != CSV_RHOME_TORN)
			continue;
		if (somebody && csv_crc32c(0, h[i].page, CSV_BLOCK_SIZE) != h[i].crc)
			err = csv_fail_block(why, CSV_BUSY, h[i].home, "block %llu is being written by a living node",
					     (unsigned long long)h[i].home);
		h[i].fate = CSV_RHOME_WRITE;
	}
	return err;
}
