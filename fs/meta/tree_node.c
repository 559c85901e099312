/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Birth and death of tree nodes, and the inode's count of them. */
#include "fs/disk/geometry.h"
#include "fs/meta/tree_int.h"

void tree_account(const struct csv_tree *t, int n)
{
	struct csv_disk_inode *di = csv_inode_of(t->inode);

	di->blocks = csv_le64_of(csv_le64_get(di->blocks) + (uint64_t)(int64_t)n);
}

enum csv_err tree_node_new(struct csv_txn *txn, const struct csv_agset *ags, const struct csv_tree *t, uint64_t goal,
			   unsigned level, struct csv_buf **buf)
{
	uint64_t ino = tree_owner(t);
	struct csv_block_hdr *hdr;
	enum csv_err err;

	err = csv_alloc_meta(txn, ags, goal, CSV_MAGIC_TREE, ino, csv_res(CSV_RES_INODE, ino), buf);
	if (err)
		return err;
	hdr = (*buf)->data;
	hdr->level = csv_le16_of((uint16_t)level);
	tarea_reset(tree_node_area(*buf), level);
	tree_account(t, 1);
	return CSV_OK;
}

enum csv_err tree_node_free(struct csv_txn *txn, const struct csv_tree *t, struct csv_buf *buf)
{
	enum csv_err err = csv_free_meta(txn, buf);

	if (!err)
		tree_account(t, -1);
	return err;
}

bool tree_group_held(const struct csv_tree *t, const struct csv_agset *ags, uint64_t block)
{
	return !ags || csv_agset_has(ags, csv_fs_ag_of(t->fs, block));
}
