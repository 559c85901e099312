/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What unlink and rename share. */
#ifndef CSV_META_NAMEI_INT_H
#define CSV_META_NAMEI_INT_H

#include "fs/meta/namei.h"

/* Whether both name the same inode; generation 0 is any. */
bool namei_same(struct csv_iref a, struct csv_iref b);
/* NOTEMPTY if the directory has names. */
enum csv_err namei_check_empty(struct csv_fs *fs, struct csv_buf *dir);
/* Adds n to the links of a dirty inode. */
void namei_add_links(struct csv_buf *inode, int n);
/*
 * The victim has lost a name in dir (dirty): its links, and dir's if it is a directory (empty: checked); without
 * links it becomes our slot's orphan.
 */
enum csv_err namei_drop(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *dir, struct csv_buf *victim);

#endif
