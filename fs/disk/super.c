/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Superblock: three copies, checked field against field before anything is believed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/disk/geometry.h"
#include "fs/disk/super.h"

/* Where copy i lies: primary, first copy, second copy in the last block. */
static uint64_t copy_block(unsigned copy, uint64_t blocks)
{
	return copy == 0 ? CSV_SB_BLOCK : copy == 1 ? CSV_SB_COPY_BLOCK : blocks - 1;
}

static void super_decode(const struct csv_disk_super *d, struct csv_super *sb)
{
	memset(sb, 0, sizeof(*sb));
	memcpy(sb->uuid, d->hdr.uuid, 16);
	memcpy(sb->name, d->name, CSV_VOLNAME_MAX);
	memcpy(sb->cluster, d->cluster, CSV_CLUSTER_MAX);
	sb->blocks = csv_le64_get(d->blocks);
	sb->ag_start = csv_le64_get(d->ag_start);
	sb->ag_blocks = csv_le64_get(d->ag_blocks);
	sb->ag_count = csv_le32_get(d->ag_count);
	sb->slots = csv_le32_get(d->slots);
	sb->journal_blocks = csv_le32_get(d->journal_blocks);
	sb->mchunk_blocks = csv_le32_get(d->mchunk_blocks);
	sb->root_inode = csv_le64_get(d->root_inode);
	sb->hash_seed = csv_le64_get(d->hash_seed);
	sb->created_sec = csv_le64_get(d->created_sec);
	sb->features_compat = csv_le64_get(d->features_compat);
	sb->features_rocompat = csv_le64_get(d->features_rocompat);
	sb->features_incompat = csv_le64_get(d->features_incompat);
	sb->version = csv_le64_get(d->hdr.version);
}

static void super_encode(const struct csv_super *sb, struct csv_disk_super *d)
{
	csv_block_init(d, sb->uuid, CSV_MAGIC_SUPER, 0, 0, sb->version);
	d->format_version = csv_le32_of(CSV_FORMAT_VERSION);
	d->block_size = csv_le32_of(CSV_BLOCK_SIZE);
	d->features_compat = csv_le64_of(sb->features_compat);
	d->features_rocompat = csv_le64_of(sb->features_rocompat);
	d->features_incompat = csv_le64_of(sb->features_incompat);
	d->blocks = csv_le64_of(sb->blocks);
	d->ag_start = csv_le64_of(sb->ag_start);
	d->ag_blocks = csv_le64_of(sb->ag_blocks);
	d->ag_count = csv_le32_of(sb->ag_count);
	d->slots = csv_le32_of(sb->slots);
	d->journal_blocks = csv_le32_of(sb->journal_blocks);
	d->mchunk_blocks = csv_le32_of(sb->mchunk_blocks);
	d->root_inode = csv_le64_of(sb->root_inode);
	d->created_sec = csv_le64_of(sb->created_sec);
	memcpy(d->name, sb->name, CSV_VOLNAME_MAX);
	memcpy(d->cluster, sb->cluster, CSV_CLUSTER_MAX);
	d->hash_seed = csv_le64_of(sb->hash_seed);
}

/* Features and format are judged first: a newer format may mean the other fields otherwise. */
static enum csv_err super_check_features(const struct csv_disk_super *d, struct csv_why *why)
{
	uint64_t incompat = csv_le64_get(d->features_incompat) & ~CSV_FEATURES_INCOMPAT_KNOWN;

	if (csv_le32_get(d->format_version) != CSV_FORMAT_VERSION)
		return csv_fail(why, CSV_FEATURE, "use a csvfs of the version that made the volume",
				"volume has format version %u, this csvfs knows version %u",
				csv_le32_get(d->format_version), CSV_FORMAT_VERSION);
	if (incompat)
		return csv_fail(why, CSV_FEATURE, "use a newer csvfs",
				"volume has unknown incompatible feature incompat-%d (unknown bits 0x%llx)",
				__builtin_ctzll(incompat), (unsigned long long)incompat);
	if (csv_le32_get(d->block_size) != CSV_BLOCK_SIZE)
		return csv_fail(why, CSV_FEATURE, "", "volume has blocks of %u bytes, this csvfs knows %u",
				csv_le32_get(d->block_size), CSV_BLOCK_SIZE);
	return CSV_OK;
}

static enum csv_err super_check_fields(const struct csv_super *sb, uint64_t dev_blocks, uint64_t blkno,
				       struct csv_why *why)
{
	if (sb->blocks < CSV_VOLUME_BLOCKS_MIN || sb->blocks > UINT64_MAX >> CSV_BLOCK_SHIFT)
		return csv_fail_block(why, CSV_DAMAGED, blkno, "superblock: size of %llu blocks",
				      (unsigned long long)sb->blocks);
	if (sb->blocks > dev_blocks)
		return csv_fail_block(why, CSV_DAMAGED, blkno, "volume has %llu blocks, the device only %llu",
				      (unsigned long long)sb->blocks, (unsigned long long)dev_blocks);
	if (sb->slots < 1 || sb->slots > CSV_SLOTS_MAX)
		return csv_fail_block(why, CSV_DAMAGED, blkno, "superblock: %u slots", sb->slots);
	if (sb->journal_blocks < CSV_JOURNAL_BLOCKS_MIN || sb->journal_blocks > CSV_JOURNAL_BLOCKS_MAX)
		return csv_fail_block(why, CSV_DAMAGED, blkno, "superblock: journals of %u blocks", sb->journal_blocks);
	if (sb->ag_start != csv_geo_ag_start(sb->slots, sb->journal_blocks))
		return csv_fail_block(why, CSV_DAMAGED, blkno, "superblock: groups start at block %llu",
				      (unsigned long long)sb->ag_start);
	if (sb->ag_blocks < CSV_AG_BLOCKS_MIN || sb->ag_blocks > CSV_AG_BLOCKS_MAX)
		return csv_fail_block(why, CSV_DAMAGED, blkno, "superblock: groups of %llu blocks",
				      (unsigned long long)sb->ag_blocks);
	if (sb->ag_count < 1 || sb->ag_count > CSV_AG_COUNT_MAX ||
	    sb->ag_count != csv_geo_ag_count(sb->blocks, sb->ag_start, sb->ag_blocks))
		return csv_fail_block(why, CSV_DAMAGED, blkno, "superblock: %u groups", sb->ag_count);
	if (sb->mchunk_blocks < CSV_MCHUNK_BLOCKS_MIN || sb->mchunk_blocks > CSV_MCHUNK_BLOCKS_MAX)
		return csv_fail_block(why, CSV_DAMAGED, blkno, "superblock: metadata chunks of %u blocks",
				      sb->mchunk_blocks);
	if (!csv_geo_fits(sb, sb->root_inode, CSV_MAGIC_INODE))
		return csv_fail_block(why, CSV_DAMAGED, blkno, "superblock: root inode at block %llu",
				      (unsigned long long)sb->root_inode);
	return CSV_OK;
}

/* Reads one copy. NOTCSV: no magic of ours. */
static enum csv_err super_read_copy(struct csv_bdev *dev, void *page, uint64_t blkno, struct csv_super *sb,
				    struct csv_why *why)
{
	const struct csv_disk_super *d = page;
	uint64_t dev_blocks = dev->geo.size >> CSV_BLOCK_SHIFT;
	enum csv_err err;

	err = csv_bdev_read(dev, blkno << CSV_BLOCK_SHIFT, page, CSV_BLOCK_SIZE);
	if (err != CSV_OK)
		return csv_fail_block(why, err, blkno, "superblock cannot be read: %s", csv_err_text(err));
	if (csv_le32_get(d->hdr.magic) != CSV_MAGIC_SUPER)
		return csv_fail_block(why, CSV_NOTCSV, blkno, "no csvfs superblock");
	/* The volume's UUID is what the superblock says. */
	err = csv_block_verify(page, d->hdr.uuid, blkno, CSV_MAGIC_SUPER, why);
	if (err != CSV_OK)
		return err;
	err = super_check_features(d, why);
	if (err != CSV_OK)
		return err;
	super_decode(d, sb);
	return super_check_fields(sb, dev_blocks, blkno, why);
}

enum csv_err csv_super_read(struct csv_bdev *dev, struct csv_super *sb, struct csv_why *why)
{
	uint64_t dev_blocks = dev->geo.size >> CSV_BLOCK_SHIFT;
	enum csv_err err = CSV_NOTCSV, first = CSV_NOTCSV;
	struct csv_why one, kept;
	void *page;

	csv_why_init(&kept);
	if (dev_blocks < CSV_VOLUME_BLOCKS_MIN)
		return csv_fail(why, CSV_NOTCSV, "", "device of %llu bytes is too small for a csvfs volume",
				(unsigned long long)dev->geo.size);
	page = aligned_alloc(CSV_BLOCK_SIZE, CSV_BLOCK_SIZE);
	if (!page)
		return csv_fail(why, CSV_NOMEM, "", "no memory for the superblock");
	for (unsigned copy = 0; copy < 3; copy++) {
		csv_why_init(&one);
		err = super_read_copy(dev, page, copy_block(copy, dev_blocks), sb, &one);
		if (err == CSV_OK)
			sb->copy_used = copy;
		/* A good header with a feature we do not know is the truth about the volume; no copy can better it. */
		if (err == CSV_OK || err == CSV_FEATURE)
			break;
		if (copy == 0 || (first == CSV_NOTCSV && err != CSV_NOTCSV)) {
			first = err;
			kept = one;
		}
	}
	free(page);
	if (err == CSV_FEATURE) {
		if (why)
			*why = one;
		return err;
	}
	if (why && (err != CSV_OK || sb->copy_used != 0))
		*why = kept;
	return err == CSV_OK ? CSV_OK : first;
}

enum csv_err csv_super_writable(const struct csv_super *sb, struct csv_why *why)
{
	uint64_t unknown = sb->features_rocompat & ~CSV_FEATURES_ROCOMPAT_KNOWN;

	if (!unknown)
		return CSV_OK;
	return csv_fail(why, CSV_FEATURE, "mount read-only, or use a newer csvfs",
			"volume has unknown feature rocompat-%d (unknown bits 0x%llx)", __builtin_ctzll(unknown),
			(unsigned long long)unknown);
}

static void name_bits(const char *kind, uint64_t bits, void (*fn)(void *arg, const char *name), void *arg)
{
	char name[32];

	for (; bits; bits &= bits - 1) {
		snprintf(name, sizeof(name), "%s-%d", kind, __builtin_ctzll(bits));
		fn(arg, name);
	}
}

void csv_super_features(const struct csv_super *sb, void (*fn)(void *arg, const char *name), void *arg)
{
	name_bits("compat", sb->features_compat, fn, arg);
	name_bits("rocompat", sb->features_rocompat, fn, arg);
	name_bits("incompat", sb->features_incompat, fn, arg);
}

enum csv_err csv_super_write(struct csv_bdev *dev, struct csv_super *sb)
{
	struct csv_disk_super *d = aligned_alloc(CSV_BLOCK_SIZE, CSV_BLOCK_SIZE);
	enum csv_err err = CSV_OK;

	if (!d)
		return CSV_NOMEM;
	sb->version++;
	/* Copies first: a primary that is good is never older than what its writer had said to be done. */
	for (unsigned copy = 3; copy-- > 0 && err == CSV_OK;) {
		uint64_t blkno = copy_block(copy, sb->blocks);

		super_encode(sb, d);
		csv_block_seal(d, blkno);
		err = csv_bdev_write(dev, blkno << CSV_BLOCK_SHIFT, d, CSV_BLOCK_SIZE, 0);
		if (err == CSV_OK)
			err = csv_bdev_flush(dev);
	}
	free(d);
	return err;
}
