/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Beginning and end of an operation of the core: one transaction, undone wholly on any error. Used by meta/ and data/. */
#ifndef CSV_META_OP_H
#define CSV_META_OP_H

#include "fs/meta/inode.h"

/* Clears what the context asks for and begins a transaction (which holds fs->meta). */
enum csv_err csv_op_begin(struct csv_ctx *ctx, struct csv_txn **txn);
/*
 * Ends it if err is CSV_OK, *tid (if not NULL) gets its number; else aborts. NOSPC: ctx->need gets groups that may have
 * room for `want` blocks. Returns err.
 */
enum csv_err csv_op_end(struct csv_ctx *ctx, struct csv_txn *txn, enum csv_err err, uint64_t want, uint64_t *tid);

/*
 * Before an operation of several steps: CSV_OK if all of `groups` are held, or are more than the context can hold (then
 * each step asks for its own); else WAIT with all of them in ctx->need.
 */
enum csv_err csv_op_groups(struct csv_ctx *ctx, const struct csv_agset *groups);
/* Within a step: CSV_OK if the block's group is held, else WAIT with it in ctx->need. */
enum csv_err csv_op_group_of(struct csv_ctx *ctx, uint64_t block);

#define CSV_TOUCH_M 1u
#define CSV_TOUCH_C 2u
/* Sets mtime, ctime of a dirty inode to now. */
void csv_inode_touch(struct csv_fs *fs, struct csv_buf *buf, unsigned what);

#endif
