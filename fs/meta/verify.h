/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Verifiers of what belongs to inodes (csv_verifier, fs/disk/buf.h): run once after each read, when the header was
 * found good.  DAMAGED with the reason.  The table that names them by magic is csv_verifier_of().
 */
#ifndef CSV_META_VERIFY_H
#define CSV_META_VERIFY_H

#include "fs/disk/buf.h"

enum csv_err csv_verify_inode(const struct csv_super *sb, const void *block, struct csv_why *why);
enum csv_err csv_verify_tree(const struct csv_super *sb, const void *block, struct csv_why *why);
enum csv_err csv_verify_lease(const struct csv_super *sb, const void *block, struct csv_why *why);
enum csv_err csv_verify_orphans(const struct csv_super *sb, const void *block, struct csv_why *why);

#endif
