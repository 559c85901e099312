/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Directories: their trees, every entry, and who names whom. */
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/meta/dir.h"
#include "tools/check/check_int.h"

struct name {
	struct name *next;
	uint8_t len;
	uint8_t bytes[];
};

struct directory {
	uint64_t ino;
	uint64_t entries;
	uint64_t hash;	    /* of the run of entries with one hash ... */
	struct name *names; /* ... and the names in it so far */
	bool bad;
};

static void names_drop(struct directory *dir)
{
	while (dir->names) {
		struct name *n = dir->names;

		dir->names = n->next;
		free(n);
	}
}

/* Entries of one hash stand together: a name that is there twice is found among them. */
static void check_twice(struct chk *c, struct directory *dir, uint64_t key, const uint8_t *bytes, uint8_t len)
{
	uint64_t hash = key & ~(uint64_t)(CSV_DIR_COLLISIONS - 1);
	struct name *n;

	if (hash != dir->hash)
		names_drop(dir);
	dir->hash = hash;
	for (n = dir->names; n; n = n->next) {
		if (n->len == len && memcmp(n->bytes, bytes, len) == 0) {
			chk_report(c, CSV_CHECK_DIRENT_TWICE, dir->ino, dir->ino, "two entries for %.*s", (int)len,
				   (const char *)bytes);
			return;
		}
	}
	n = malloc(sizeof(*n) + len);
	if (!chk_ok(c, n ? CSV_OK : CSV_NOMEM))
		return;
	n->len = len;
	memcpy(n->bytes, bytes, len);
	n->next = dir->names;
	dir->names = n;
}

static bool name_good(const uint8_t *bytes, uint8_t len)
{
	if (len == 0 || memchr(bytes, 0, len) || memchr(bytes, '/', len))
		return false;
	return bytes[0] != '.' || (len > 1 && (bytes[1] != '.' || len > 2));
}

/* The entry leads to inode e, which is there. */
static void check_target(struct chk *c, struct directory *dir, const struct csv_disk_dirent *d, const uint8_t *name,
			 struct chk_ient *e)
{
	int len = d->namelen;

	if (e->flags & CHK_I_BAD)
		return;
	if (csv_le32_get(d->gen) != e->gen) {
		chk_report(c, CSV_CHECK_DIRENT_GEN, dir->ino, dir->ino,
			   "%.*s leads to generation %u of inode %" PRIu64 ", which has %u", len, (const char *)name,
			   csv_le32_get(d->gen), e->ino, e->gen);
		return;
	}
	if (d->type != IFTODT(e->mode))
		chk_report(c, CSV_CHECK_DIRENT_TYPE, dir->ino, dir->ino,
			   "%.*s has type %u, inode %" PRIu64 " has mode %o", len, (const char *)name, d->type, e->ino,
			   e->mode);
	e->names++;
	if (!(e->flags & CHK_I_DIR))
		return;
	if (e->from || e->ino == c->sb.root_inode)
		chk_report(c, CSV_CHECK_DIR_TWICE, dir->ino, e->ino, "%.*s is one more name of directory %" PRIu64, len,
			   (const char *)name, e->ino);
	else
		e->from = dir->ino;
	chk_inodes_find(&c->inodes, dir->ino)->subdirs++;
}

static void entry_rec(struct chk *c, void *arg, const struct chk_rec *r)
{
	const unsigned fixed = offsetof(struct csv_disk_dirent, name);
	const uint8_t *name = r->value + fixed;
	struct directory *dir = arg;
	struct csv_disk_dirent d;
	struct chk_ient *e;

	dir->entries++;
	if (r->len > fixed)
		memcpy(&d, r->value, fixed);
	if (r->len <= fixed || r->len != fixed + d.namelen || r->key < CSV_DIR_KEY_MIN || r->key >> 63 ||
	    !name_good(name, d.namelen)) {
		chk_report(c, CSV_CHECK_DIRENT_BAD, dir->ino, dir->ino, "entry %016" PRIx64 " is no entry", r->key);
		c->hidden_names = true;
		return;
	}
	if ((r->key & ~(uint64_t)(CSV_DIR_COLLISIONS - 1)) !=
	    csv_dir_hash(c->sb.hash_seed, (const char *)name, d.namelen))
		chk_report(c, CSV_CHECK_DIRENT_HASH, dir->ino, dir->ino, "%.*s lies under the hash of another name",
			   (int)d.namelen, (const char *)name);
	check_twice(c, dir, r->key, name, d.namelen);
	e = chk_inodes_find(&c->inodes, csv_le64_get(d.inode));
	if (e)
		check_target(c, dir, &d, name, e);
	else if (!c->hidden_names)
		chk_report(c, CSV_CHECK_DIRENT_NO_INODE, dir->ino, dir->ino,
			   "%.*s leads to block %" PRIu64 ", which is no inode", (int)d.namelen, (const char *)name,
			   csv_le64_get(d.inode));
}

static void check_directory(struct chk *c, uint64_t ino, struct csv_disk_inode *d)
{
	struct directory dir = { .ino = ino, .hash = UINT64_MAX };
	struct chk_tree t = { .ino = ino, .size = CSV_INODE_TREE_SIZE, .rec = entry_rec, .arg = &dir };
	uint64_t xnodes;
	bool whole;

	c->sum->directories++;
	if (!chk_read(c, ino, CSV_MAGIC_INODE, ino, d, ino)) {
		c->hidden_names = true;
		return;
	}
	t.root = d->tree;
	chk_tree_walk(c, &t);
	names_drop(&dir);
	whole = chk_xattrs(c, d, &xnodes) && !t.broken;
	if (t.broken) {
		c->hidden_names = true;
		return;
	}
	if (whole)
		chk_inode_blocks(c, d, t.nodes + xnodes);
	if (csv_le64_get(d->size) != dir.entries)
		chk_report(c, CSV_CHECK_INODE_SIZE, ino, ino,
			   "directory says %" PRIu64 " entries, %" PRIu64 " are there", csv_le64_get(d->size),
			   dir.entries);
}

void chk_directories(struct chk *c)
{
	struct csv_disk_inode *page = chk_page(c);

	/* Nothing is added to the table from here on. */
	for (size_t i = 0; page && i < c->inodes.places && c->err == CSV_OK; i++)
		if (c->inodes.place[i].ino && c->inodes.place[i].flags & CHK_I_DIR)
			check_directory(c, c->inodes.place[i].ino, page);
	free(page);
}
