/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The header that every metadata block begins with: made, sealed before a write, verified after a read. */
#include <string.h>

#include "fs/disk/super.h"
#include "lib/crc32c.h"

static const struct {
	uint32_t magic;
	const char *name;
} magics[] = {
	{ CSV_MAGIC_SUPER, "superblock" },
	{ CSV_MAGIC_SLOT, "slot" },
	{ CSV_MAGIC_ORPHAN, "orphan list" },
	{ CSV_MAGIC_JHEAD, "journal head" },
	{ CSV_MAGIC_JDESC, "journal descriptor" },
	{ CSV_MAGIC_JCOMMIT, "journal commit" },
	{ CSV_MAGIC_AG, "group header" },
	{ CSV_MAGIC_BITMAP, "bitmap" },
	{ CSV_MAGIC_MCHUNK, "metadata chunk" },
	{ CSV_MAGIC_FREE, "free metadata block" },
	{ CSV_MAGIC_INODE, "inode" },
	{ CSV_MAGIC_TREE, "tree node" },
	{ CSV_MAGIC_LEASE, "lease" },
};

static const char *magic_find(uint32_t magic)
{
	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
		if (magics[i].magic == magic)
			return magics[i].name;
	return NULL;
}

const char *csv_magic_name(uint32_t magic)
{
	const char *name = magic_find(magic);

	return name ? name : "unknown";
}

void csv_block_init(void *block, const uint8_t uuid[16], uint32_t magic, uint64_t blkno, uint64_t owner,
		    uint64_t version)
{
	struct csv_block_hdr *h = block;

	memset(block, 0, CSV_BLOCK_SIZE);
	h->magic = csv_le32_of(magic);
	memcpy(h->uuid, uuid, 16);
	h->block = csv_le64_of(blkno);
	h->owner = csv_le64_of(owner);
	h->version = csv_le64_of(version);
}

/* CRC32C of the block with its crc field as zero. */
static uint32_t block_crc(const void *block)
{
	static const uint8_t zero[4];
	const uint8_t *b = block;
	uint32_t crc;

	static_assert(offsetof(struct csv_block_hdr, crc) == 4, "crc at 4");
	crc = csv_crc32c(0, b, 4);
	crc = csv_crc32c(crc, zero, 4);
	return csv_crc32c(crc, b + 8, CSV_BLOCK_SIZE - 8);
}

void csv_block_seal(void *block, uint64_t blkno)
{
	struct csv_block_hdr *h = block;

	h->block = csv_le64_of(blkno);
	h->crc = csv_le32_of(block_crc(block));
}

enum csv_err csv_block_verify(const void *block, const uint8_t uuid[16], uint64_t blkno, uint32_t magic,
			      struct csv_why *why)
{
	const struct csv_block_hdr *h = block;
	uint32_t found = csv_le32_get(h->magic);

	if (magic ? found != magic : !magic_find(found))
		return csv_fail_block(why, CSV_IDENTITY, blkno, "%s expected, %s found (magic %08x)",
				      magic ? csv_magic_name(magic) : "metadata block", csv_magic_name(found), found);
	if (csv_le32_get(h->crc) != block_crc(block))
		return csv_fail_block(why, CSV_CHECKSUM, blkno, "bad checksum of %s", csv_magic_name(found));
	if (memcmp(h->uuid, uuid, 16) != 0)
		return csv_fail_block(why, CSV_IDENTITY, blkno, "%s of another volume", csv_magic_name(found));
	if (csv_le64_get(h->block) != blkno)
		return csv_fail_block(why, CSV_IDENTITY, blkno, "%s says it is block %llu", csv_magic_name(found),
				      (unsigned long long)csv_le64_get(h->block));
	return CSV_OK;
}
