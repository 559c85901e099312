/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Verification of a whole volume that nobody has mounted.  Nothing is written:
 * journals of slots that are not clean are replayed on a copy-on-write overlay
 * in memory and the result is checked.
 */
#ifndef CSV_TOOLS_CHECK_H
#define CSV_TOOLS_CHECK_H

#include "fs/fs.h"

/* X(name, code: stable, for scripts and tests, what it means) */
#define CSV_CHECK_CODES(X)                                                                                             \
	/* single blocks */                                                                                            \
	X(BLOCK_IO, "block-io", "metadata block cannot be read")                                                       \
	X(BLOCK_CHECKSUM, "block-checksum", "metadata block with a bad checksum")                                      \
	X(BLOCK_IDENTITY, "block-identity", "metadata block of another type, place or volume")                         \
	X(BLOCK_OWNER, "block-owner", "metadata block of another owner")                                               \
	X(BLOCK_DAMAGED, "block-damaged", "field of a metadata block out of bounds")                                   \
	/* superblock, slots, journals */                                                                              \
	X(SUPER_PRIMARY, "super-primary", "primary superblock is damaged, a copy was used")                            \
	X(SUPER_COPY, "super-copy", "copy of the superblock is damaged or differs")                                    \
	X(SLOT, "slot-damaged", "slot block is damaged")                                                               \
	X(JOURNAL, "journal-damaged", "journal is damaged")                                                            \
	X(JOURNAL_GAP, "journal-gap", "damaged journal record before a valid commit")                                  \
	X(JOURNAL_DIRTY, "journal-dirty", "slot is not clean; its journal was replayed for the check (note)")          \
	/* space */                                                                                                    \
	X(AG_FREE, "ag-free-count", "free count of a group's stretch is not what its bitmap says")                     \
	X(AG_CHUNK_FREE, "ag-chunk-free", "free count of a metadata chunk is not what its header says")                \
	X(BITMAP_TAIL, "bitmap-tail", "bits beyond a group's end are clear")                                           \
	X(CROSSLINK, "block-crosslinked", "block has two owners")                                                      \
	X(LOST, "block-lost", "block is allocated but nothing refers to it")                                           \
	X(WRONGLY_FREE, "block-wrongly-free", "block is in use but free in the bitmap")                                \
	X(META_LOST, "meta-lost", "metadata block is in use in its chunk but nothing refers to it")                    \
	X(META_FREE, "meta-wrongly-free", "metadata block is referred to but free in its chunk")                       \
	X(META_OUTSIDE, "meta-outside-chunk", "metadata block lies in no metadata chunk")                              \
	X(META_NOT_FREE, "meta-no-tombstone", "free block of a chunk has no tombstone")                                \
	/* inodes */                                                                                                   \
	X(INODE_SIZE, "inode-size", "size does not fit the inode's type or content")                                   \
	X(INODE_BLOCKS, "inode-blocks", "count of blocks is not what the trees hold")                                  \
	X(INODE_NLINK, "inode-nlink", "link count is not the number of entries")                                       \
	X(INODE_FLAGS, "inode-flags", "flags do not fit the inode's type")                                             \
	X(INODE_UNREACHABLE, "inode-unreachable", "no directory and no orphan list names the inode")                   \
	X(INODE_PARENT, "inode-parent", "parent is not the directory that names this one")                             \
	X(SYMLINK, "symlink-damaged", "target of a symbolic link is damaged")                                          \
	/* trees and extents */                                                                                        \
	X(TREE_DAMAGED, "tree-damaged", "keys or values of a tree node out of order or bounds")                        \
	X(TREE_LEVEL, "tree-level", "tree node of another level than its parent says")                                 \
	X(TREE_BOUNDS, "tree-bounds", "keys of a tree node lie outside of what its parent says")                       \
	X(TREE_EMPTY, "tree-empty", "tree node without records")                                                       \
	X(EXTENT_BAD, "extent-damaged", "extent has impossible fields or place")                                       \
	X(EXTENT_OVERLAP, "extent-overlap", "two extents of a file overlap")                                           \
	X(EXTENT_BEYOND, "extent-beyond-size", "written blocks beyond the end of the file")                            \
	/* directories */                                                                                              \
	X(DIRENT_BAD, "dirent-damaged", "directory entry has impossible fields")                                       \
	X(DIRENT_NO_INODE, "dirent-no-inode", "directory entry names no inode")                                        \
	X(DIRENT_GEN, "dirent-generation", "directory entry has another generation than its inode")                    \
	X(DIRENT_TYPE, "dirent-type", "directory entry has another type than its inode")                               \
	X(DIRENT_HASH, "dirent-hash", "directory entry lies under the hash of another name")                           \
	X(DIRENT_TWICE, "dirent-duplicate", "two entries with one name")                                               \
	X(DIR_TWICE, "dir-two-names", "directory with two names")                                                      \
	/* orphans and leases */                                                                                       \
	X(ORPHAN_LINKED, "orphan-linked", "inode on an orphan list has links")                                         \
	X(ORPHAN_GONE, "orphan-gone", "orphan list names an inode that is gone (note)")                                \
	X(LEASE_MISSING, "lease-missing", "image has no lease")                                                        \
	X(LEASE_UNEXPECTED, "lease-unexpected", "lease of an inode that is no image")                                  \
	X(LEASE_GEN, "lease-generation", "lease is of another generation than its image")                              \
	X(LEASE_HOLDER, "lease-holder", "lease is held by a life of a slot that never was")                            \
	/* the check itself */                                                                                         \
	X(INCOMPLETE, "incomplete", "damage above hides what else would be looked at (note)")

enum csv_check_code {
#define CSV_CHECK_ENUM(name, code, text) CSV_CHECK_##name,
	CSV_CHECK_CODES(CSV_CHECK_ENUM)
#undef CSV_CHECK_ENUM
	    CSV_CHECK_CODE_COUNT
};
const char *csv_check_code_name(enum csv_check_code code);
const char *csv_check_code_text(enum csv_check_code code);

struct csv_finding {
	enum csv_check_code id;
	const char *code; /* csv_check_code_name(id) */
	bool note;	  /* worth saying, not damage */
	uint64_t block;	  /* UINT64_MAX: none */
	uint64_t inode;	  /* 0: none */
	char text[240];
};

struct csv_check_opts {
	bool no_replay;	       /* look at the volume as it lies there; only for tests */
	unsigned max_per_code; /* further findings of one code are counted, not told; 0: all are told */
};

struct csv_check_summary {
	uint64_t findings; /* damage; 0: the volume is clean */
	uint64_t notes;
	uint64_t per_code[CSV_CHECK_CODE_COUNT];
	unsigned dirty_slots; /* slots that are not clean */
	uint64_t replayed;    /* blocks that replay wrote, on the overlay */
	uint64_t inodes, directories, images, leased;
	uint64_t blocks_used; /* of groups: data, metadata chunks, the groups' own */
	uint64_t ns;
	char name[CSV_VOLNAME_MAX + 1];
	uint8_t uuid[16];
	bool done; /* the whole volume was looked at */
};

/*
 * Looks at the whole volume; finding() is called for each finding, in no fixed order.  CSV_OK says that the check came
 * to its end, not that the volume is clean: sum->findings does.  Errors: NOTCSV, FEATURE, DAMAGED, CHECKSUM (no
 * superblock can be used; *why), NOMEM.  The device stays the caller's and is not written.
 */
enum csv_err csv_check_run(struct csv_bdev *dev, struct csv_env *env, const struct csv_check_opts *opts,
			   void (*finding)(void *arg, const struct csv_finding *f), void *arg,
			   struct csv_check_summary *sum, struct csv_why *why);

#endif
