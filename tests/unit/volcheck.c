/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Walk over a whole volume: what is reachable must agree with itself and with the allocation groups. */
#include <stdlib.h>
#include <string.h>

#include "fs/data/map.h"
#include "fs/disk/geometry.h"
#include "fs/meta/dir.h"
#include "fs/meta/lease.h"
#include "vol.h"

struct seen_inode {
	uint64_t ino, parent;
	uint32_t names, subdirs; /* names that lead to it; directories in it */
};

struct check {
	struct vol *v;
	struct vol_sum sum;
	uint8_t *used; /* a byte for each block */
	struct seen_inode *inode;
	size_t n, room;
};

static void mix(struct check *c, const void *data, size_t len)
{
	c->sum.digest = csv_siphash(c->sum.digest, len, data, len);
}

static void use(struct check *c, uint64_t block, uint64_t len)
{
	for (; len; block++, len--) {
		assert_in_range(block, c->v->fs.sb.ag_start, c->v->fs.sb.blocks - 2);
		if (c->used[block]++)
			fail_msg("block %llu is used twice", (unsigned long long)block);
	}
}

/* Index of an inode, noted for a visit if it is new. */
static size_t note(struct check *c, uint64_t ino, uint64_t parent)
{
	for (size_t i = c->n; i-- > 0;)
		if (c->inode[i].ino == ino)
			return i;
	if (c->n == c->room) {
		c->room = c->room ? c->room * 2 : 64;
		c->inode = realloc(c->inode, c->room * sizeof(*c->inode));
		assert_non_null(c->inode);
	}
	c->inode[c->n] = (struct seen_inode){ .ino = ino, .parent = parent };
	return c->n++;
}

struct walk {
	struct check *c;
	size_t at; /* of the inode */
	uint64_t nodes, data, recs, next_lblk;
	uint32_t mode;
};

static enum csv_err on_node(void *arg, uint64_t block, unsigned level)
{
	struct walk *w = arg;

	use(w->c, block, 1);
	w->nodes++;
	return CSV_OK;
}

static void on_extent(struct walk *w, const struct csv_tree_rec *rec)
{
	struct csv_disk_extent d;

	assert_int_equal(rec->len, sizeof(d));
	memcpy(&d, rec->value, sizeof(d));
	assert_true(rec->key >= w->next_lblk);
	w->next_lblk = rec->key + csv_le32_get(d.len);
	w->data += csv_le32_get(d.len);
	use(w->c, csv_le64_get(d.phys), csv_le32_get(d.len));
}

static void on_name(struct walk *w, const struct csv_tree_rec *rec)
{
	struct check *c = w->c;
	struct csv_dirent e;
	size_t i;

	assert_int_equal(csv_dirent_decode(&c->v->fs, rec, &e), CSV_OK);
	assert_true(rec->key >> 16 == csv_dir_hash(c->v->fs.sb.hash_seed, e.name, strlen(e.name)) >> 16);
	i = note(c, e.ref.ino, c->inode[w->at].ino);
	c->inode[i].names++;
	if (e.type == DT_DIR)
		c->inode[w->at].subdirs++;
	c->sum.entries++;
}

static enum csv_err on_rec(void *arg, const struct csv_tree_rec *rec)
{
	struct walk *w = arg;

	w->recs++;
	mix(w->c, &rec->key, sizeof(rec->key));
	mix(w->c, rec->value, rec->len);
	if (S_ISDIR(w->mode))
		on_name(w, rec);
	else if (S_ISREG(w->mode))
		on_extent(w, rec);
	return CSV_OK;
}

static enum csv_err on_xrec(void *arg, const struct csv_tree_rec *rec)
{
	struct walk *w = arg;

	mix(w->c, rec->value, rec->len);
	return CSV_OK;
}

static void check_links(struct check *c, const struct seen_inode *s, const struct csv_disk_inode *di, uint64_t recs)
{
	bool root = s->ino == c->v->fs.sb.root_inode, dir = S_ISDIR(csv_le32_get(di->mode));

	if (dir) {
		assert_int_equal(csv_le64_get(di->size), recs);
		assert_int_equal(csv_le64_get(di->parent), s->parent);
		assert_int_equal(s->names, root ? 0 : csv_le32_get(di->nlink) ? 1 : 0);
		if (csv_le32_get(di->nlink))
			assert_int_equal(csv_le32_get(di->nlink), 2 + s->subdirs);
	}
}

/* One inode with its trees. */
static void visit(struct check *c, size_t at)
{
	struct csv_fs *fs = &c->v->fs;
	struct walk w = { .c = c, .at = at };
	struct csv_tree_walk tw = { on_node, on_rec, &w }, xw = { on_node, on_xrec, &w };
	struct csv_disk_inode *di;
	struct csv_tree t = { .fs = fs };
	struct csv_attr attr;
	uint64_t lease;

	assert_int_equal(csv_inode_get(fs, (struct csv_iref){ c->inode[at].ino, 0 }, &t.inode), CSV_OK);
	use(c, t.inode->block, 1);
	di = csv_inode_of(t.inode);
	memset(&attr, 0, sizeof(attr));
	csv_inode_attr(t.inode, &attr);
	mix(c, (uint8_t *)di + sizeof(di->hdr), offsetof(struct csv_disk_inode, tree) - sizeof(di->hdr));
	w.mode = attr.mode;
	c->sum.inodes++;
	assert_int_equal(csv_tree_walk(&t, &tw), CSV_OK);
	check_links(c, &c->inode[at], di, w.recs);
	t.xattr = true;
	assert_int_equal(csv_tree_walk(&t, &xw), CSV_OK);
	assert_int_equal(attr.blocks, w.nodes + w.data);
	c->sum.nodes += w.nodes;
	c->sum.data += w.data;
	lease = csv_le64_get(di->lease);
	assert_int_equal(lease != 0, (attr.flags & CSV_INODE_IMAGE) != 0);
	if (lease) {
		struct csv_lease l;

		use(c, lease, 1);
		c->sum.leases++;
		assert_int_equal(csv_lease_read(fs, attr.ref, lease, &l), CSV_OK);
		mix(c, &l.epoch, sizeof(l.epoch));
	}
	csv_buf_put(fs, t.inode);
}

/* Names of a file can stand before and behind it in the walk: links are compared at the end. */
static void check_files(struct check *c)
{
	for (size_t i = 0; i < c->n; i++) {
		struct csv_buf *buf;
		struct csv_disk_inode *di;

		assert_int_equal(csv_inode_get(&c->v->fs, (struct csv_iref){ c->inode[i].ino, 0 }, &buf), CSV_OK);
		di = csv_inode_of(buf);
		if (!S_ISDIR(csv_le32_get(di->mode)))
			assert_int_equal(csv_le32_get(di->nlink), c->inode[i].names);
		csv_buf_put(&c->v->fs, buf);
	}
}

static uint64_t note_orphans(struct check *c)
{
	struct csv_iref *refs;
	size_t n;

	assert_int_equal(csv_orphan_list(&c->v->fs, 0, &refs, &n), CSV_OK);
	for (size_t i = 0; i < n; i++) {
		struct csv_buf *buf;

		mix(c, &refs[i].ino, sizeof(refs[i].ino));
		csv_fs_lock_shared(&c->v->fs);
		if (csv_inode_get(&c->v->fs, refs[i], &buf) == CSV_OK) {
			assert_int_equal(csv_le32_get(csv_inode_of(buf)->nlink), 0);
			note(c, refs[i].ino, csv_le64_get(csv_inode_of(buf)->parent));
			csv_buf_put(&c->v->fs, buf);
		}
		csv_fs_unlock(&c->v->fs);
	}
	free(refs);
	return n;
}

/* Blocks of the orphan chain beyond the fixed one. */
static uint64_t orphan_blocks(struct check *c)
{
	struct csv_fs *fs = &c->v->fs;
	uint64_t block = CSV_ORPHAN_BLOCK(0), n = 0;

	for (;;) {
		struct csv_buf *buf;

		assert_int_equal(csv_buf_get(fs, block, CSV_MAGIC_ORPHAN, 0, csv_res(CSV_RES_SLOT, 0), &buf), CSV_OK);
		block = csv_le64_get(((struct csv_disk_orphans *)buf->data)->next);
		csv_buf_put(fs, buf);
		if (!block)
			return n;
		use(c, block, 1);
		n++;
	}
}

/* What the groups say is taken must be what was seen. */
static void check_groups(struct check *c, uint64_t chain)
{
	struct csv_fs *fs = &c->v->fs;
	uint64_t data = 0, meta = 0, hog_data, hog_meta;

	for (uint32_t ag = 0; ag < fs->sb.ag_count; ag++) {
		uint64_t len = csv_ag_len(&fs->sb, ag);
		const struct csv_disk_ag *d;
		struct csv_buf *buf;
		uint32_t chunks;

		assert_int_equal(
		    csv_buf_get(fs, csv_ag_first(&fs->sb, ag), CSV_MAGIC_AG, ag, csv_res(CSV_RES_AG, ag), &buf),
		    CSV_OK);
		d = buf->data;
		chunks = csv_le32_get(d->mchunks);
		data += len - csv_ag_own(len) - csv_le64_get(d->free_total) - chunks * (uint64_t)fs->sb.mchunk_blocks;
		for (uint32_t i = 0; i < chunks; i++)
			meta += fs->sb.mchunk_blocks - 1 - csv_le16_get(d->mchunk[i].free);
		csv_buf_put(fs, buf);
	}
	vol_hog_count(c->v, &hog_data, &hog_meta);
	assert_int_equal(data, c->sum.data + hog_data);
	assert_int_equal(meta, c->sum.inodes + c->sum.nodes + c->sum.leases + chain + hog_meta);
}

void vol_check(struct vol *v, struct vol_sum *sum)
{
	struct check c = { .v = v };
	uint64_t chain;

	c.used = calloc(v->fs.sb.blocks, 1);
	assert_non_null(c.used);
	note(&c, v->fs.sb.root_inode, v->fs.sb.root_inode);
	note_orphans(&c);
	csv_fs_lock_shared(&v->fs);
	for (size_t i = 0; i < c.n; i++)
		visit(&c, i);
	check_files(&c);
	chain = orphan_blocks(&c);
	check_groups(&c, chain);
	csv_fs_unlock(&v->fs);
	if (sum)
		*sum = c.sum;
	free(c.used);
	free(c.inode);
}
