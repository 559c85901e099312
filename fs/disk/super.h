/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Superblock and its copies; slot blocks. Both are written directly, not through the journal. */
#ifndef CSV_DISK_SUPER_H
#define CSV_DISK_SUPER_H

#include "fs/fs.h"

/*
 * Reads the superblock: the primary if it is good, else the first good copy (sb->copy_used says which,
 * *why keeps what was wrong with the primary while the result is CSV_OK).  Checks every field against the
 * others and the size of the device.
 * Errors: NOTCSV (no copy has our magic), FEATURE (names the bits), DAMAGED, CHECKSUM, IO.
 */
enum csv_err csv_super_read(struct csv_bdev *dev, struct csv_super *sb, struct csv_why *why);
/* FEATURE: has features that a csvfs which does not know them may read past, but not write. */
enum csv_err csv_super_writable(const struct csv_super *sb, struct csv_why *why);
/* Calls fn with the name of each feature that is set: its kind and bit, as refusals name it; no bit has a better name yet. */
void csv_super_features(const struct csv_super *sb, void (*fn)(void *arg, const char *name), void *arg);
/* Writes all copies, each followed by a flush, primary last. */
enum csv_err csv_super_write(struct csv_bdev *dev, struct csv_super *sb);

/* A slot block in memory. */
struct csv_slot {
	uint32_t slot;
	enum csv_slot_state state;
	uint32_t incarnation;
	uint32_t nodeid;
	uint64_t pr_key;
	uint64_t journal_start, journal_blocks;
	uint64_t mounted_sec;
	char node[CSV_NODENAME_MAX + 1];
	uint32_t fenced_by;       /* slot, or CSV_SLOT_NONE */
	uint64_t version;
};
enum csv_err csv_slot_read(struct csv_bdev *dev, const struct csv_super *sb, uint32_t slot, struct csv_slot *s,
			   struct csv_why *why);
/* Writes with FUA or write + flush; version grows by one, also in *s. */
enum csv_err csv_slot_write(struct csv_bdev *dev, const struct csv_super *sb, struct csv_slot *s);
/* For struct csv_bdev_guard.judge: is this raw block the slot's block, alive in `incarnation`? */
enum csv_slot_verdict csv_slot_judge(const struct csv_super *sb, uint32_t slot, uint32_t incarnation, const void *block);

/* Key of one life in a cluster: 0xC5F5 | slot (16 bits) | incarnation (32 bits). Never 0. */
uint64_t csv_slot_pr_key(uint32_t slot, uint32_t incarnation);
/* Key of the life that the block tells of: a mount with lock=local has one of another kind (fs/disk/keys.h). */
uint64_t csv_slot_key(const struct csv_slot *s);

/* Block header helpers, for every metadata block (verify after each read, seal before each write). */
/* Zeroes the block and begins it: everything but CRC, slot, incarnation and sequence. */
void csv_block_init(void *block, const uint8_t uuid[16], uint32_t magic, uint64_t blkno, uint64_t owner, uint64_t version);
const char *csv_magic_name(uint32_t magic); /* "inode", "tree node", ... ; "unknown" */
void csv_block_seal(void *block, uint64_t blkno); /* block number and CRC, last thing before a write */
enum csv_err csv_block_verify(const void *block, const uint8_t uuid[16], uint64_t blkno, uint32_t magic,
			      struct csv_why *why); /* CHECKSUM or IDENTITY; magic 0: any known type */

/* ---- format ---------------------------------------------------------------- */
struct csv_format {
	const char *name;         /* volume */
	const char *cluster;      /* "" : local only */
	uint32_t slots;           /* 1..64 */
	uint32_t journal_blocks;
	uint64_t blocks;          /* 0: the whole device */
	uint64_t ag_blocks;       /* 0: chosen from the size */
	uint8_t uuid[16];         /* zero: random. Never one that this LUN had before: its old journals would fit. */
};
/* Writes a new, empty volume: superblock last. What was there is the caller's question (libblkid, live slots). */
enum csv_err csv_format_write(struct csv_bdev *dev, struct csv_env *env, const struct csv_format *f, struct csv_super *sb,
			      struct csv_why *why);

#endif
