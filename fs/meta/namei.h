/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Namespace operations: each checks, runs one transaction (or one shared look) and returns.
 * The caller holds the cluster locks named at each (L7: in the strongest mode, from the start).
 * An operation that fails has changed nothing.  NOSPC and WAIT: see struct csv_ctx (fs/meta/inode.h).
 * Each changing call gives in *tid (if not NULL) the journal transaction that made it.
 * Permission checks are the kernel's (default_permissions), sticky and setgid rules ours where the kernel leaves them.
 */
#ifndef CSV_META_NAMEI_H
#define CSV_META_NAMEI_H

#include <dirent.h>

#include "fs/meta/inode.h"

/* dir PR. NOENT, NOTDIR, NAMETOOLONG. "." and ".." work; the generation of ".." is 0 (any). */
enum csv_err csv_lookup(struct csv_ctx *ctx, struct csv_iref dir, const char *name, struct csv_iref *ref);
/* inode PR. */
enum csv_err csv_getattr(struct csv_ctx *ctx, struct csv_iref ref, struct csv_attr *attr);

#define CSV_SET_MODE 1u
#define CSV_SET_UID 2u
#define CSV_SET_GID 4u
#define CSV_SET_ATIME 8u
#define CSV_SET_MTIME 16u
#define CSV_SET_CTIME 32u
#define CSV_SET_FLAGS 64u
/*
 * inode EX. Size is csv_truncate's (fs/data/map.h). ctime is set. FLAGS: setting CSV_INODE_IMAGE makes the lease block
 * (ctx->ags EX), clearing it takes it away (lease.I EX, its group EX); the caller has seen to it that nobody has it open.
 */
enum csv_err csv_setattr(struct csv_ctx *ctx, struct csv_iref ref, unsigned what, const struct csv_attr *attr,
			 uint64_t *tid);

struct csv_new {
	uint32_t mode;              /* type and bits, umask applied already */
	uint32_t rdev_major, rdev_minor;
	const char *target;         /* symlink */
};
/*
 * dir EX and ctx->ags EX. Makes a file, directory, symlink or special file.  The new blocks are covered by the new
 * inode's own lock (image: and its lease.I), held EX: else they would be neither written home nor dropped when another node
 * takes it.  The number is known only here: WAIT with ctx->need_ino, the caller takes these locks and runs it again.
 * A name with an image suffix (.vhd .vhdx .avhd .avhdx .qcow2 .raw .img) or a directory with CSV_INODE_IMAGE_INHERIT
 * makes an image with a lease block.
 * EXIST, NAMETOOLONG, MLINK, NOSPC, STALE, NOENT (dir is removed).
 */
enum csv_err csv_create(struct csv_ctx *ctx, struct csv_iref dir, const char *name, const struct csv_new *what,
			struct csv_attr *attr, uint64_t *tid);
/* dir EX, ref EX. Not for directories. */
enum csv_err csv_link(struct csv_ctx *ctx, struct csv_iref ref, struct csv_iref dir, const char *name,
		      struct csv_attr *attr, uint64_t *tid);
/*
 * dir EX, victim EX, slot.N EX. victim is what csv_lookup said; CSV_STALE if the name means another by now.  nlink 0: the
 * inode is on our orphan list.  WAIT if a node of the directory's tree runs empty in a group that is not held.
 */
enum csv_err csv_unlink(struct csv_ctx *ctx, struct csv_iref dir, const char *name, struct csv_iref victim,
			uint32_t *nlink, uint64_t *tid);
enum csv_err csv_rmdir(struct csv_ctx *ctx, struct csv_iref dir, const char *name, struct csv_iref victim,
		       uint64_t *tid);
/*
 * Both dirs EX, the moved inode EX, the replaced one (if any) EX; RENAME EX if a directory changes its parent.
 * flags: 0, RENAME_NOREPLACE, RENAME_EXCHANGE (replaced: the other one). INVAL: into itself.  STALE: a name means another
 * inode than given.  A directory that changes its parent: the way up from the new parent is read; WAIT with ctx->need_ino
 * asks for PR of a directory on it.
 */
struct csv_rename {
	struct csv_iref from_dir, to_dir, moved, replaced; /* replaced.ino 0: none */
	const char *from, *to;
	unsigned flags;
};
enum csv_err csv_rename(struct csv_ctx *ctx, const struct csv_rename *r, uint32_t *replaced_nlink, uint64_t *tid);
/* inode PR; *target is to be freed. */
enum csv_err csv_readlink(struct csv_ctx *ctx, struct csv_iref ref, char **target);

/*
 * dir PR. Calls fn for entries with cookie > `cookie`, "." (cookie 1) and ".." (cookie 2) first, until it returns
 * false. Cookies are below 2^63 and stay valid under change. fn runs with fs->meta held shared.
 */
typedef bool (*csv_dir_fn)(void *arg, const char *name, struct csv_iref ref, uint8_t type, uint64_t cookie);
enum csv_err csv_readdir(struct csv_ctx *ctx, struct csv_iref dir, uint64_t cookie, csv_dir_fn fn, void *arg);

/* Image flag by the file's name (see csv_create); upper and lower case alike. */
bool csv_name_is_image(const char *name);

#endif
