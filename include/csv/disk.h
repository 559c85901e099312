/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What lies on the LUN: every structure, with its size and offsets asserted.
 * docs/FORMAT.md is this header in prose.  All integers are little-endian, all
 * blocks 4096 bytes, all block numbers count from the start of the LUN.
 *
 *   block 0            superblock
 *   1 .. 64            slot blocks, one a slot (always 64 places)
 *   65 .. 128          orphan blocks, one a slot
 *   129                superblock, first copy
 *   256 ..             journals, slots x journal_blocks, one after the other
 *   ag_start ..        allocation groups of ag_blocks each, the last may be shorter
 *   last block         superblock, second copy
 *
 * An allocation group is: header, its bitmap blocks (one per CSV_BITS_PER_BLOCK
 * blocks of the group), then data blocks and metadata chunks.
 */
#ifndef CSV_DISK_H
#define CSV_DISK_H

#include <assert.h>
#include <stddef.h>

#include "csv/limits.h"
#include "csv/types.h"

#define CSV_MAGIC4(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

/* Magic of each block type: csv_block_hdr.magic. */
#define CSV_MAGIC_SUPER CSV_MAGIC4('C', 'S', 'V', 'S')
#define CSV_MAGIC_SLOT CSV_MAGIC4('C', 'S', 'V', 'L')
#define CSV_MAGIC_ORPHAN CSV_MAGIC4('C', 'S', 'V', 'O')
#define CSV_MAGIC_JHEAD CSV_MAGIC4('C', 'S', 'J', 'H')   /* first block of a journal */
#define CSV_MAGIC_JDESC CSV_MAGIC4('C', 'S', 'J', 'D')   /* descriptor of a transaction */
#define CSV_MAGIC_JCOMMIT CSV_MAGIC4('C', 'S', 'J', 'C') /* its commit */
#define CSV_MAGIC_AG CSV_MAGIC4('C', 'S', 'V', 'A')
#define CSV_MAGIC_BITMAP CSV_MAGIC4('C', 'S', 'V', 'B')
#define CSV_MAGIC_MCHUNK CSV_MAGIC4('C', 'S', 'V', 'M')
#define CSV_MAGIC_FREE CSV_MAGIC4('C', 'S', 'V', 'F')    /* free block of a metadata chunk (tombstone) */
#define CSV_MAGIC_INODE CSV_MAGIC4('C', 'S', 'V', 'I')
#define CSV_MAGIC_TREE CSV_MAGIC4('C', 'S', 'V', 'T')    /* B+tree node */
#define CSV_MAGIC_LEASE CSV_MAGIC4('C', 'S', 'V', 'E')

#define CSV_SB_BLOCK 0u
#define CSV_SLOT_BLOCK(n) (1u + (n))
#define CSV_ORPHAN_BLOCK(n) (65u + (n))
#define CSV_SB_COPY_BLOCK 129u
#define CSV_JOURNAL_START 256u

#define CSV_FORMAT_VERSION 1u

/* Incompatible feature bits (unknown: refuse to mount), read-only compatible, compatible. None yet. */
#define CSV_FEATURES_INCOMPAT_KNOWN 0ull
#define CSV_FEATURES_ROCOMPAT_KNOWN 0ull

/*
 * Header of every metadata block, the journal's own included.  `crc` is the
 * CRC32C of the whole block with this field as zero.  `version` only grows over
 * the life of the block (J1); replay compares nothing else.  `slot`,
 * `incarnation` and `seq` say which life of which mount wrote this image in
 * which transaction, so that an image in a journal names its transaction.
 */
struct csv_block_hdr {
	csv_le32 magic;
	csv_le32 crc;
	uint8_t uuid[16];       /* the volume's */
	csv_le64 block;         /* own block number */
	csv_le64 owner;         /* inode (its block number) or AG number; 0 for superblock, slots, journals */
	csv_le64 version;
	csv_le32 incarnation;   /* of the slot that wrote it */
	csv_le16 slot;
	csv_le16 level;         /* B+tree: 0 leaf; else 0 */
	csv_le64 seq;           /* journal sequence of the transaction that wrote it; 0 if written directly */
};
static_assert(sizeof(struct csv_block_hdr) == 64, "header is 64 bytes");
static_assert(offsetof(struct csv_block_hdr, version) == 40, "version at 40");

struct csv_disk_super {
	struct csv_block_hdr hdr;
	csv_le32 format_version;
	csv_le32 block_size;            /* 4096 */
	csv_le64 features_compat;
	csv_le64 features_rocompat;
	csv_le64 features_incompat;
	csv_le64 blocks;                /* size of the volume in blocks, second copy included */
	csv_le64 ag_start;              /* first block of group 0 */
	csv_le64 ag_blocks;             /* blocks per group */
	csv_le32 ag_count;
	csv_le32 slots;
	csv_le32 journal_blocks;        /* per slot, head included */
	csv_le32 mchunk_blocks;         /* blocks of a metadata chunk, its own header included; 16..64 */
	csv_le64 root_inode;            /* block number */
	csv_le64 created_sec;           /* Unix time */
	uint8_t name[64];               /* volume name, NUL-padded */
	uint8_t cluster[64];            /* cluster name, NUL-padded; empty: any (local only) */
	csv_le64 hash_seed;             /* of directory hashes */
	uint8_t pad[4096 - 64 - 80 - 136 - 16];
	csv_le64 reserved;
};
static_assert(sizeof(struct csv_disk_super) == 4096, "superblock is a block");

enum csv_slot_state {
	CSV_SLOT_CLEAN = 0,     /* no life; journal empty or fully home */
	CSV_SLOT_LIVE = 1,      /* mounted, or died without anybody having fenced it yet */
	CSV_SLOT_FENCED = 2,    /* its life is over; journal waits for replay */
};

/* Slot block, written directly, never journalled (J8). */
struct csv_disk_slot {
	struct csv_block_hdr hdr;
	csv_le32 state;                 /* enum csv_slot_state */
	csv_le32 incarnation;           /* only a mount increments it */
	csv_le32 nodeid;                /* corosync's; 0 with lock=local */
	csv_le32 reserved0;
	csv_le64 pr_key;                /* reservation key of this life; 0 if none */
	csv_le64 journal_start;         /* block */
	csv_le64 journal_blocks;
	csv_le64 mounted_sec;           /* Unix time, for people only */
	uint8_t node[64];               /* node name, NUL-padded */
	csv_le32 fenced_by_slot;        /* who marked it; CSV_SLOT_NONE if nobody */
	csv_le32 reserved1;
	uint8_t pad[4096 - 184];
};
static_assert(sizeof(struct csv_disk_slot) == 4096, "slot is a block");
#define CSV_SLOT_NONE 0xffffffffu

/* Inodes with no link that somebody may still have open (U4). */
struct csv_disk_orphan_entry {
	csv_le64 inode;
	csv_le32 gen;
	csv_le32 reserved;
};
#define CSV_ORPHANS_PER_BLOCK 251u
struct csv_disk_orphans {
	struct csv_block_hdr hdr;       /* owner: slot number */
	csv_le32 count;
	csv_le32 reserved;
	csv_le64 next;                  /* further block of the same kind, in a metadata chunk; 0: none */
	struct csv_disk_orphan_entry entry[CSV_ORPHANS_PER_BLOCK];
};
static_assert(sizeof(struct csv_disk_orphans) == 4096, "orphans are a block");

/* ---- journal -------------------------------------------------------------- */

/* First block of a journal, written directly.  Positions count blocks from the journal's start. */
struct csv_disk_jhead {
	struct csv_block_hdr hdr;       /* hdr.slot, hdr.incarnation: whose life */
	csv_le64 tail_pos;              /* 1 .. journal_blocks-1: where the oldest needed transaction starts */
	csv_le64 tail_seq;              /* its sequence */
	uint8_t pad[4096 - 64 - 16];
};
static_assert(sizeof(struct csv_disk_jhead) == 4096, "journal head is a block");

struct csv_disk_jdesc_entry {
	csv_le64 block;                 /* home */
	csv_le32 crc;                   /* CRC32C of the image that follows */
	csv_le32 reserved;
};
#define CSV_JDESC_ENTRIES 250u
/* A transaction is: desc, its images; possibly further desc with images; then one commit. */
struct csv_disk_jdesc {
	struct csv_block_hdr hdr;       /* hdr.seq: the transaction's sequence; version: index of this desc in it */
	csv_le32 count;                 /* entries in this block */
	csv_le32 more;                  /* 1: another desc follows these images; 0: the commit follows */
	csv_le64 reserved;
	struct csv_disk_jdesc_entry entry[CSV_JDESC_ENTRIES];
	uint8_t pad[4096 - 64 - 16 - 16 * CSV_JDESC_ENTRIES];
};
static_assert(sizeof(struct csv_disk_jdesc) == 4096, "descriptor is a block");

struct csv_disk_jcommit {
	struct csv_block_hdr hdr;       /* hdr.seq: the transaction's sequence */
	csv_le32 blocks;                /* desc and images of the transaction */
	csv_le32 crc;                   /* CRC32C over all of them in order */
	csv_le64 time_ns;               /* for people only */
	uint8_t pad[4096 - 64 - 16];
};
static_assert(sizeof(struct csv_disk_jcommit) == 4096, "commit is a block");

/* ---- allocation ----------------------------------------------------------- */

#define CSV_BITS_PER_BLOCK 32256u       /* (4096 - 64) * 8 */
#define CSV_AG_BITMAPS_MAX 640u         /* bitmap blocks of a group: 640 * 126 MiB = 78 GiB */
#define CSV_AG_MCHUNKS_MAX 310u

struct csv_disk_mchunk_ref {
	csv_le32 start;                 /* block, counted from the group's start */
	csv_le16 free;                  /* free blocks of the chunk */
	csv_le16 reserved;
};

/*
 * Group header.  free[i] is the number of free blocks under bitmap block i.
 * When it is 0 or the most it can be (the blocks that the bitmap block covers,
 * less the group's own header and bitmap blocks, which are all under bitmap 0),
 * the bitmap block itself is not looked at: its bits count as all set or all
 * clear but for the group's own.  So whole stretches are taken and given back
 * without touching bitmaps.  Bits beyond the end of the group are set.
 */
struct csv_disk_ag {
	struct csv_block_hdr hdr;       /* owner: number of the group */
	csv_le64 start;                 /* first block, this header */
	csv_le64 blocks;                /* length */
	csv_le64 free_total;            /* free data blocks, sum of free[] */
	csv_le32 bitmaps;               /* number of bitmap blocks */
	csv_le32 mchunks;               /* entries of mchunk[] in use */
	csv_le16 free[CSV_AG_BITMAPS_MAX];
	struct csv_disk_mchunk_ref mchunk[CSV_AG_MCHUNKS_MAX];
	uint8_t pad[4096 - 64 - 32 - 2 * CSV_AG_BITMAPS_MAX - 8 * CSV_AG_MCHUNKS_MAX];
};
static_assert(sizeof(struct csv_disk_ag) == 4096, "group header is a block");

struct csv_disk_bitmap {
	struct csv_block_hdr hdr;       /* owner: number of the group */
	uint8_t bits[4096 - 64];        /* 1 = allocated; bit i of byte i/8, lowest first */
};
static_assert(sizeof(struct csv_disk_bitmap) == 4096, "bitmap is a block");

/*
 * Metadata chunk: a run of mchunk_blocks blocks, taken from the data blocks of
 * its group, that only ever holds metadata while the volume is mounted (J1).
 * Its first block is this; the others begin as CSV_MAGIC_FREE.
 */
struct csv_disk_mchunk {
	struct csv_block_hdr hdr;       /* owner: number of the group */
	csv_le64 used;                  /* bit i: block i of the chunk is in use; bit 0 is this block */
	uint8_t pad[4096 - 64 - 8];
};
static_assert(sizeof(struct csv_disk_mchunk) == 4096, "chunk header is a block");

/* ---- B+tree ---------------------------------------------------------------- */

/*
 * One kind of tree for extents, directories and attributes.  Keys are u64,
 * unique; records have a value of 0..CSV_TREE_VALUE_MAX bytes.  A node is this
 * header, then an array of slots sorted by key, growing up, and values growing
 * down from the end of the area.  In a leaf a slot points to its value; in an
 * inner node the value is the csv_le64 block number of the child that holds
 * keys >= key (the first slot of a level counts as key 0).  The root lies in
 * the inode's tree area and has the same shape without a block header.
 */
#define CSV_TREE_VALUE_MAX 512u
#define CSV_TREE_LEVELS_MAX 12u

struct csv_disk_tree_head {
	csv_le16 count;                 /* slots */
	csv_le16 level;                 /* 0: leaf */
	csv_le16 free_end;              /* values occupy [free_end, area size) */
	csv_le16 garbage;               /* bytes of dead values within */
};
static_assert(sizeof(struct csv_disk_tree_head) == 8, "tree head is 8 bytes");

struct csv_disk_tree_slot {
	csv_le64 key;
	csv_le16 off;                   /* of the value, from the start of the area (its tree head) */
	csv_le16 len;
	csv_le32 reserved;
};
static_assert(sizeof(struct csv_disk_tree_slot) == 16, "slot is 16 bytes");

#define CSV_TREE_NODE_AREA (4096u - 64u) /* a block node: header, then the area */

/* Extent record: key = first logical block of the file. */
#define CSV_EXTENT_UNWRITTEN 1u
struct csv_disk_extent {
	csv_le64 phys;                  /* first block on the LUN */
	csv_le32 len;                   /* blocks, > 0 */
	csv_le32 flags;
};
static_assert(sizeof(struct csv_disk_extent) == 16, "extent is 16 bytes");

/* Directory record: key = hash of the name (bits 62..16) and collision number (bits 15..0); never 0..2. */
struct csv_disk_dirent {
	csv_le64 inode;                 /* block number */
	csv_le32 gen;
	uint8_t type;                   /* DT_* */
	uint8_t namelen;
	uint8_t name[];                 /* no NUL */
};

/* ---- inode ----------------------------------------------------------------- */

struct csv_disk_time {
	csv_le64 sec;                   /* signed, Unix time */
	csv_le32 nsec;
	csv_le32 reserved;
};
static_assert(sizeof(struct csv_disk_time) == 16, "time is 16 bytes");

#define CSV_INODE_IMAGE 1u              /* an image: has leases */
#define CSV_INODE_IMAGE_INHERIT 2u      /* directory: files made here are images */
#define CSV_INODE_SHARED 4u             /* image: shared lease (guest clusters) */

#define CSV_INODE_TREE_SIZE 3072u       /* data tree: extents, or directory, or symlink target */
#define CSV_INODE_XTREE_SIZE 704u       /* attribute tree */

struct csv_disk_inode {
	struct csv_block_hdr hdr;       /* owner: itself */
	csv_le32 gen;                   /* generation: grows each time this block becomes an inode */
	csv_le32 mode;                  /* type and permission bits as in stat(2) */
	csv_le32 uid;
	csv_le32 gid;
	csv_le32 nlink;
	csv_le32 flags;                 /* CSV_INODE_* */
	csv_le64 size;                  /* bytes; directory: number of entries */
	csv_le64 blocks;                /* data and tree blocks allocated, in 4096-byte blocks */
	csv_le64 parent;                /* directory: inode of the directory above; else 0 */
	csv_le64 lease;                 /* image: block number of its lease block; else 0 */
	csv_le32 rdev_major;
	csv_le32 rdev_minor;
	struct csv_disk_time atime, mtime, ctime, btime;
	csv_le64 dir_seq;               /* reserved for directories */
	csv_le64 reserved[7];
	uint8_t tree[CSV_INODE_TREE_SIZE];
	uint8_t xtree[CSV_INODE_XTREE_SIZE];
	uint8_t pad[4096 - 64 - 64 - 64 - 64 - CSV_INODE_TREE_SIZE - CSV_INODE_XTREE_SIZE];
};
static_assert(sizeof(struct csv_disk_inode) == 4096, "inode is a block");
static_assert(offsetof(struct csv_disk_inode, tree) == 256, "tree at 256");

/* ---- lease ----------------------------------------------------------------- */

enum csv_lease_mode {
	CSV_LEASE_NONE = 0,
	CSV_LEASE_EXCLUSIVE = 1,
	CSV_LEASE_SHARED = 2,
};

/* Lease of one image: changes only under EX of lease.I, by a journalled transaction (H1). */
struct csv_disk_lease {
	struct csv_block_hdr hdr;       /* owner: the inode */
	csv_le32 gen;                   /* of the inode */
	csv_le32 mode;                  /* enum csv_lease_mode */
	csv_le64 epoch;                 /* only grows: fencing token */
	csv_le32 slot;                  /* holder, if mode is not NONE */
	csv_le32 incarnation;
	csv_le32 nodeid;                /* for people */
	csv_le32 run;                   /* 1: the holder may have let a write through in this epoch (H6) */
	uint8_t vm[64];                 /* VM id, NUL-padded */
	uint8_t node[64];               /* node name, for people */
	csv_le64 since_sec;             /* Unix time, for people */
	struct csv_disk_time mtime, ctime; /* of the image, while it is leased; later than the inode's */
	uint8_t handoff[16];            /* id of the handoff that gave the lease; zero: none */
	csv_le64 size;                  /* last known size, for people */
	uint8_t pad[4096 - 64 - 32 - 128 - 8 - 32 - 16 - 8];
};
static_assert(sizeof(struct csv_disk_lease) == 4096, "lease is a block");

#endif
