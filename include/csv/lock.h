/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names and modes of cluster locks, as fs/, lockd/ and the messages use them. docs/LOCKING.md has the order (L7). */
#ifndef CSV_LOCK_H
#define CSV_LOCK_H

#include <stdbool.h>
#include <stdint.h>

/* In lock order: an operation that needs several takes them in this order, within a type by number (L7). */
enum csv_res_type {
	CSV_RES_NONE = 0,
	CSV_RES_MOUNT,      /* id 0: held EX while a node mounts or the superblock changes */
	CSV_RES_SLOT,       /* id: slot number; held EX for the life of the mount; covers slot and orphan blocks */
	CSV_RES_RENAME,     /* id 0: EX for renames that move a directory */
	CSV_RES_INODE,      /* id: inode's block number; metadata of one inode */
	CSV_RES_OPEN,       /* id: inode; PR while a node has it open (U4) */
	CSV_RES_LEASE,      /* id: inode; EX as long as the node holds the image's lease (H1) */
	CSV_RES_AG,         /* id: number of the allocation group */
	CSV_RES_TYPES
};

struct csv_res {
	enum csv_res_type type;
	uint64_t id;
};

static inline struct csv_res csv_res(enum csv_res_type type, uint64_t id)
{
	return (struct csv_res){ type, id };
}

static inline bool csv_res_eq(struct csv_res a, struct csv_res b)
{
	return a.type == b.type && a.id == b.id;
}

/*
 * Who grants the locks of a volume, apart from `mount` and `slot`, which are always csvlockd's: its own engine on
 * corosync's total order, or the kernel's DLM.  All nodes that have a volume mounted use the same.
 */
enum csv_lock_engine { CSV_ENGINE_AUTO = 0, CSV_ENGINE_CPG, CSV_ENGINE_DLM, CSV_ENGINES };
const char *csv_lock_engine_name(enum csv_lock_engine e); /* "auto", "cpg", "dlm" */

/* Modes as in the DLM. csvfs itself uses NL, PR and EX. */
enum csv_mode { CSV_NL = 0, CSV_CR = 1, CSV_CW = 2, CSV_PR = 3, CSV_PW = 4, CSV_EX = 5 };

/* Whether two different holders may have these at once (the DLM's matrix). */
bool csv_mode_compatible(enum csv_mode a, enum csv_mode b);
/* Whether holding `have` covers a need of `want`. */
bool csv_mode_covers(enum csv_mode have, enum csv_mode want);
/* The one of them that covers the other; EX if neither does. */
enum csv_mode csv_mode_join(enum csv_mode a, enum csv_mode b);
const char *csv_mode_name(enum csv_mode mode);          /* "NL" .. "EX" */
const char *csv_res_type_name(enum csv_res_type type);  /* "mount", "slot", "inode", ... */

#endif
