/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The namespace against a model in memory; large directories, collisions, full volumes. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/meta/dir.h"
#include "vol.h"

static const struct vol_shape shape = { .blocks = 16384, .ag_blocks = 4096, .journal_blocks = 1024 };

/* In place of the project's own, so that collisions can be forced: fewer bits of the same hash. */
static uint64_t hash_mask = ~0ull;

uint64_t csv_dir_hash(uint64_t seed, const char *name, size_t len)
{
	return csv_siphash(seed, seed ^ 0x6373766673646972ull, name, len) >> 1 & ~0xffffull & hash_mask;
}

/* ---- model ---------------------------------------------------------------------- */

#define NODES 400
#define NAMES 30
#define DIRS_MAX 24

enum { FREE, ORPHAN, DIR_, FILE_, LINK_ };
struct node {
	int kind;
	bool was_dir;
	struct csv_iref ref;
	unsigned nlink;
	int parent;	 /* of a directory */
	int name[NAMES]; /* directory: node of each name, -1: none */
};
struct model {
	struct node node[NODES]; /* 0: root */
	struct vol *v;
	uint64_t rng;
};

static const char *name_of(unsigned i)
{
	static char buf[4][CSV_NAME_MAX + 1];
	static unsigned turn;
	char *p = buf[turn++ % 4];

	snprintf(p, sizeof(buf[0]), "name-%u%s", i, i % 5 == 0 ? ".vhd" : "");
	if (i % 3 == 1) { /* up to the longest */
		memset(p, 'a' + (int)(i % 26), CSV_NAME_MAX);
		p[i % 2 ? CSV_NAME_MAX : 100 + i] = 0;
	}
	return p;
}

static unsigned rnd(struct model *m, unsigned n)
{
	return (unsigned)(csv_rng_next(&m->rng) >> 20) % n;
}

static int pick(struct model *m, bool dir)
{
	for (int tries = 0; tries < 1000; tries++) {
		int i = (int)rnd(m, NODES);

		if (dir ? m->node[i].kind == DIR_ : m->node[i].kind >= DIR_)
			return i;
	}
	return 0;
}

static int new_node(struct model *m)
{
	for (int i = 1; i < NODES; i++)
		if (m->node[i].kind == FREE)
			return i;
	return -1;
}

static unsigned count_dirs(const struct model *m)
{
	unsigned n = 0;

	for (int i = 0; i < NODES; i++)
		n += m->node[i].kind == DIR_;
	return n;
}

static bool dir_empty(const struct node *d)
{
	for (int i = 0; i < NAMES; i++)
		if (d->name[i] >= 0)
			return false;
	return true;
}

/* Whether b is a or below it. */
static bool is_below(const struct model *m, int b, int a)
{
	while (b != a && b != 0)
		b = m->node[b].parent;
	return b == a;
}

static void lose_name(struct model *m, int i)
{
	struct node *n = &m->node[i];

	n->was_dir = n->kind == DIR_;
	n->nlink = n->was_dir ? 0 : n->nlink - 1;
	if (n->nlink == 0)
		n->kind = ORPHAN;
}

static void model_init(struct model *m, struct vol *v, uint64_t seed)
{
	memset(m, 0, sizeof(*m));
	m->v = v;
	m->rng = seed;
	m->node[0].kind = DIR_;
	m->node[0].ref = vol_root(v);
	memset(m->node[0].name, -1, sizeof(m->node[0].name));
}

/* ---- operations on both ------------------------------------------------------------ */

static void do_create(struct model *m)
{
	static const uint32_t modes[] = { S_IFREG | 0644, S_IFDIR | 0755, S_IFLNK | 0777, S_IFIFO | 0600 };
	int d = pick(m, true), n = new_node(m);
	unsigned name = rnd(m, NAMES), kind = rnd(m, count_dirs(m) < DIRS_MAX ? 4 : 1);
	struct csv_new what = { .mode = modes[kind], .target = kind == 2 ? name_of(name) : NULL };
	struct node *dir = &m->node[d];
	struct csv_attr attr;
	enum csv_err err;

	if (n < 0)
		return;
	err = VOL_RUN(m->v, csv_create(&m->v->ctx, dir->ref, name_of(name), &what, &attr, NULL));
	assert_int_equal(err, dir->name[name] >= 0 ? CSV_EXIST : CSV_OK);
	if (err)
		return;
	m->node[n] = (struct node){ .kind = kind == 1	? DIR_
					    : kind == 2 ? LINK_
							: FILE_,
				    .ref = attr.ref,
				    .nlink = 1,
				    .parent = d };
	memset(m->node[n].name, -1, sizeof(m->node[n].name));
	dir->name[name] = n;
	assert_int_equal(attr.nlink, kind == 1 ? 2 : 1);
	assert_int_equal((attr.flags & CSV_INODE_IMAGE) != 0, kind == 0 && csv_name_is_image(name_of(name)));
}

static void do_link(struct model *m)
{
	int d = pick(m, true), f = pick(m, false);
	unsigned name = rnd(m, NAMES);
	struct node *dir = &m->node[d];
	enum csv_err err = VOL_RUN(m->v, csv_link(&m->v->ctx, m->node[f].ref, dir->ref, name_of(name), NULL, NULL));

	if (m->node[f].kind == DIR_) {
		assert_int_equal(err, CSV_PERM);
		return;
	}
	assert_int_equal(err, dir->name[name] >= 0 ? CSV_EXIST : CSV_OK);
	if (!err) {
		dir->name[name] = f;
		m->node[f].nlink++;
	}
}

static void do_remove(struct model *m)
{
	int d = pick(m, true), f;
	unsigned name = rnd(m, NAMES);
	struct node *dir = &m->node[d];
	bool rmdir = rnd(m, 2);
	uint32_t nlink = 99;
	enum csv_err err, want = CSV_OK;

	f = dir->name[name];
	if (f < 0) {
		err = VOL_RUN(m->v,
			      csv_unlink(&m->v->ctx, dir->ref, name_of(name), m->node[pick(m, false)].ref, NULL, NULL));
		assert_int_equal(err, CSV_NOENT);
		return;
	}
	if (rmdir)
		err = VOL_RUN(m->v, csv_rmdir(&m->v->ctx, dir->ref, name_of(name), m->node[f].ref, NULL));
	else
		err = VOL_RUN(m->v, csv_unlink(&m->v->ctx, dir->ref, name_of(name), m->node[f].ref, &nlink, NULL));
	if (rmdir != (m->node[f].kind == DIR_))
		want = rmdir ? CSV_NOTDIR : CSV_ISDIR;
	else if (rmdir && !dir_empty(&m->node[f]))
		want = CSV_NOTEMPTY;
	assert_int_equal(err, want);
	if (err)
		return;
	dir->name[name] = -1;
	lose_name(m, f);
	if (!rmdir)
		assert_int_equal(nlink, m->node[f].nlink);
}

/* What POSIX wants of a rename, in the order in which csv_rename finds it. */
static enum csv_err rename_expect(const struct model *m, int from, int to, int a, int b, unsigned flags)
{
	bool exchange = flags & RENAME_EXCHANGE, adir = m->node[a].kind == DIR_;

	if (b < 0 && exchange)
		return CSV_NOENT;
	if (b >= 0 && flags & RENAME_NOREPLACE)
		return CSV_EXIST;
	if (a == b)
		return CSV_OK;
	if (b >= 0 && !exchange) {
		bool bdir = m->node[b].kind == DIR_;

		if (adir != bdir)
			return bdir ? CSV_ISDIR : CSV_NOTDIR;
		if (bdir && !dir_empty(&m->node[b]))
			return CSV_NOTEMPTY;
	}
	if (from == to)
		return CSV_OK;
	if (adir && is_below(m, to, a))
		return CSV_INVAL;
	if (exchange && m->node[b].kind == DIR_ && is_below(m, from, b))
		return CSV_INVAL;
	return CSV_OK;
}

static void do_rename(struct model *m)
{
	static const unsigned flag[] = { 0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
	int from = pick(m, true), to = rnd(m, 3) ? pick(m, true) : from, a, b;
	unsigned n1 = rnd(m, NAMES), n2 = rnd(m, NAMES);
	struct csv_rename r = { .from_dir = m->node[from].ref, .to_dir = m->node[to].ref, .flags = flag[rnd(m, 5)] };
	uint32_t left = 99;
	enum csv_err err;

	for (unsigned i = 0; i < NAMES && m->node[from].name[n1] < 0; i++)
		n1 = (n1 + 1) % NAMES;
	a = m->node[from].name[n1];
	b = m->node[to].name[n2];
	if (a < 0)
		return;
	r.from = name_of(n1);
	r.to = name_of(n2);
	r.moved = m->node[a].ref;
	if (b >= 0)
		r.replaced = m->node[b].ref;
	err = VOL_RUN(m->v, csv_rename(&m->v->ctx, &r, &left, NULL));
	assert_int_equal(err, rename_expect(m, from, to, a, b, r.flags));
	if (err || a == b)
		return;
	m->node[to].name[n2] = a;
	m->node[from].name[n1] = r.flags & RENAME_EXCHANGE ? b : -1;
	m->node[a].parent = to;
	if (b >= 0 && r.flags & RENAME_EXCHANGE) {
		m->node[b].parent = from;
	} else if (b >= 0) {
		lose_name(m, b);
		assert_int_equal(left, m->node[b].nlink);
	}
}

static void do_destroy(struct model *m)
{
	for (int i = 1; i < NODES; i++) {
		if (m->node[i].kind != ORPHAN || rnd(m, 3) == 0)
			continue;
		VOL_OK(m->v, csv_inode_destroy(&m->v->ctx, m->node[i].ref));
		VOL_OK(m->v, csv_inode_destroy(&m->v->ctx, m->node[i].ref)); /* gone: nothing to do */
		m->node[i].kind = FREE;
	}
}

/* A listing in pieces of a few entries, against the model. */
struct listing {
	struct model *m;
	struct node *dir;
	uint64_t last;
	unsigned seen, left;
};

static bool on_entry(void *arg, const char *name, struct csv_iref ref, uint8_t type, uint64_t cookie)
{
	struct listing *l = arg;

	assert_true(cookie > l->last && cookie < 1ull << 63);
	l->last = cookie;
	l->seen++;
	if (cookie <= 2) {
		assert_string_equal(name, cookie == 1 ? "." : "..");
	} else {
		unsigned i = 0;

		while (i < NAMES && strcmp(name_of(i), name))
			i++;
		assert_in_range(i, 0, NAMES - 1);
		assert_true(l->dir->name[i] >= 0);
		assert_int_equal(l->m->node[l->dir->name[i]].ref.ino, ref.ino);
		assert_int_equal(l->m->node[l->dir->name[i]].kind == DIR_, type == DT_DIR);
	}
	return --l->left > 0;
}

static void compare_dir(struct model *m, int d)
{
	struct listing l = { .m = m, .dir = &m->node[d] };
	unsigned want = 2, before;
	struct csv_iref ref;

	for (unsigned i = 0; i < NAMES; i++) {
		enum csv_err err = csv_lookup(&m->v->ctx, l.dir->ref, name_of(i), &ref);

		assert_int_equal(err, l.dir->name[i] >= 0 ? CSV_OK : CSV_NOENT);
		if (!err)
			assert_int_equal(ref.ino, m->node[l.dir->name[i]].ref.ino);
		want += l.dir->name[i] >= 0;
	}
	assert_int_equal(csv_lookup(&m->v->ctx, l.dir->ref, "..", &ref), CSV_OK);
	assert_int_equal(ref.ino, d ? m->node[l.dir->parent].ref.ino : vol_root(m->v).ino);
	do {
		before = l.seen;
		l.left = 1 + rnd(m, 5);
		assert_int_equal(csv_readdir(&m->v->ctx, l.dir->ref, l.last, on_entry, &l), CSV_OK);
	} while (l.seen > before);
	assert_int_equal(l.seen, want);
}

static void compare(struct model *m)
{
	for (int i = 0; i < NODES; i++) {
		struct csv_attr attr;

		if (m->node[i].kind == FREE)
			continue;
		assert_int_equal(csv_getattr(&m->v->ctx, m->node[i].ref, &attr), CSV_OK);
		if (m->node[i].kind == DIR_)
			compare_dir(m, i);
		else
			assert_int_equal(attr.nlink, m->node[i].nlink);
	}
	vol_check(m->v, NULL);
}

static void run_model(uint64_t seed, unsigned ops)
{
	struct model *m = malloc(sizeof(*m));
	struct vol v;

	assert_non_null(m);
	vol_make(&v, shape);
	model_init(m, &v, seed);
	for (unsigned i = 0; i < ops; i++) {
		static void (*const op[])(struct model *) = { do_create, do_create, do_create, do_link,	 do_remove,
							      do_remove, do_rename, do_rename, do_rename };

		if (rnd(m, 4) == 0)
			vol_drop_groups(&v);
		op[rnd(m, sizeof(op) / sizeof(op[0]))](m);
		if (i % 300 == 299) {
			do_destroy(m);
			compare(m);
		}
		if (i % 1500 == 1499)
			vol_remount(&v);
	}
	compare(m);
	vol_free(&v);
	free(m);
}

static void test_model(void **state)
{
	hash_mask = ~0ull;
	run_model(vol_seed("namei"), 12000);
}

static void test_model_collisions(void **state)
{
	hash_mask = 1ull << 20; /* two hashes for all names, 0 is one of them */
	run_model(vol_seed("namei_collisions"), 6000);
	hash_mask = 0;
	run_model(vol_seed("namei_one_hash"), 3000);
	hash_mask = ~0ull;
}

/* ---- large ------------------------------------------------------------------------- */

static void long_name(char *p, unsigned i)
{
	int n = snprintf(p, CSV_NAME_MAX + 1, "file-%u-", i);

	if (i % 10 == 0) {
		memset(p + n, 'x', CSV_NAME_MAX - (size_t)n);
		p[CSV_NAME_MAX] = 0;
	}
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static bool count_entry(void *arg, const char *name, struct csv_iref ref, uint8_t type, uint64_t cookie)
{
	++*(unsigned *)arg;
	return true;
}

static void test_many_names(void **state)
{
	const unsigned n = 20000;
	struct vol_shape big = { .blocks = 131072, .ag_blocks = 32768, .journal_blocks = 4096 };
	struct csv_new what = { .mode = S_IFREG | 0644 };
	struct csv_iref *refs = calloc(n, sizeof(*refs));
	char name[CSV_NAME_MAX + 1];
	struct csv_attr attr;
	struct vol_sum sum;
	unsigned seen = 0;
	struct vol v;
	double t = now();

	assert_non_null(refs);
	vol_make(&v, big);
	for (unsigned i = 0; i < n; i++) {
		long_name(name, i);
		VOL_OK(&v, csv_create(&v.ctx, vol_root(&v), name, &what, &attr, NULL));
		refs[i] = attr.ref;
	}
	printf("create: %.1f us each\n", (now() - t) / n * 1e6);
	vol_remount(&v);
	t = now();
	for (unsigned i = 0; i < n; i++) {
		struct csv_iref ref;

		long_name(name, i);
		assert_int_equal(csv_lookup(&v.ctx, vol_root(&v), name, &ref), CSV_OK);
		assert_int_equal(ref.ino, refs[i].ino);
	}
	printf("lookup: %.1f us each\n", (now() - t) / n * 1e6);
	t = now();
	assert_int_equal(csv_readdir(&v.ctx, vol_root(&v), 0, count_entry, &seen), CSV_OK);
	assert_int_equal(seen, n + 2);
	printf("readdir: %.1f ms\n", (now() - t) * 1e3);
	vol_check(&v, &sum);
	printf("%u names in %llu tree blocks\n", n, (unsigned long long)sum.nodes);
	vol_drop_groups(&v);
	t = now();
	for (unsigned i = 0; i < n; i++) {
		long_name(name, i);
		VOL_OK(&v, csv_unlink(&v.ctx, vol_root(&v), name, refs[i], NULL, NULL));
		VOL_OK(&v, csv_inode_destroy(&v.ctx, refs[i]));
	}
	printf("unlink and destroy: %.1f us each\n", (now() - t) / n * 1e6);
	vol_check(&v, &sum);
	assert_int_equal(sum.inodes, 1);
	assert_int_equal(sum.nodes, 0);
	vol_free(&v);
	free(refs);
}

/* ---- single rules ------------------------------------------------------------------- */

static struct csv_iref make(struct vol *v, struct csv_iref dir, const char *name, uint32_t mode)
{
	struct csv_new what = { .mode = mode, .target = "t" };
	struct csv_attr attr;

	VOL_OK(v, csv_create(&v->ctx, dir, name, &what, &attr, NULL));
	return attr.ref;
}

static void test_names(void **state)
{
	char longest[CSV_NAME_MAX + 2];
	struct csv_new what = { .mode = S_IFREG | 0644 };
	struct csv_iref ref;
	struct vol v;

	vol_make(&v, shape);
	memset(longest, 0x80, sizeof(longest));
	longest[CSV_NAME_MAX + 1] = 0;
	assert_int_equal(VOL_RUN(&v, csv_create(&v.ctx, vol_root(&v), longest, &what, NULL, NULL)), CSV_NAMETOOLONG);
	assert_int_equal(csv_lookup(&v.ctx, vol_root(&v), longest, &ref), CSV_NAMETOOLONG);
	longest[CSV_NAME_MAX] = 0;
	VOL_OK(&v, csv_create(&v.ctx, vol_root(&v), longest, &what, NULL, NULL));
	assert_int_equal(VOL_RUN(&v, csv_create(&v.ctx, vol_root(&v), "", &what, NULL, NULL)), CSV_INVAL);
	assert_int_equal(VOL_RUN(&v, csv_create(&v.ctx, vol_root(&v), "a/b", &what, NULL, NULL)), CSV_INVAL);
	assert_int_equal(VOL_RUN(&v, csv_create(&v.ctx, vol_root(&v), ".", &what, NULL, NULL)), CSV_EXIST);
	assert_int_equal(VOL_RUN(&v, csv_create(&v.ctx, vol_root(&v), "..", &what, NULL, NULL)), CSV_EXIST);
	ref = make(&v, vol_root(&v), "...", S_IFREG | 0644);
	assert_int_equal(csv_lookup(&v.ctx, ref, "x", &ref), CSV_NOTDIR);
	what.mode = 0644;
	assert_int_equal(VOL_RUN(&v, csv_create(&v.ctx, vol_root(&v), "y", &what, NULL, NULL)), CSV_INVAL);
	assert_true(csv_name_is_image("a.vhd") && csv_name_is_image("b.VHDX") && csv_name_is_image("x.y.qcow2"));
	assert_false(csv_name_is_image(".vhd") || csv_name_is_image("vhd") || csv_name_is_image("a.vhd.txt"));
	vol_check(&v, NULL);
	vol_free(&v);
}

static void test_symlinks(void **state)
{
	static const unsigned lens[] = { 1, 511, 512, 513, 3000, CSV_SYMLINK_MAX };
	char target[CSV_SYMLINK_MAX + 2], name[8], *got;
	struct csv_new what = { .mode = S_IFLNK | 0777, .target = target };
	struct csv_attr attr;
	struct vol v;

	vol_make(&v, shape);
	for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		for (unsigned k = 0; k < lens[i]; k++)
			target[k] = (char)('a' + (k + i) % 26);
		target[lens[i]] = 0;
		snprintf(name, sizeof(name), "l%u", i);
		VOL_OK(&v, csv_create(&v.ctx, vol_root(&v), name, &what, &attr, NULL));
		assert_int_equal(attr.size, lens[i]);
		vol_remount(&v);
		assert_int_equal(csv_readlink(&v.ctx, attr.ref, &got), CSV_OK);
		assert_string_equal(got, target);
		free(got);
		vol_check(&v, NULL);
		VOL_OK(&v, csv_unlink(&v.ctx, vol_root(&v), name, attr.ref, NULL, NULL));
		VOL_OK(&v, csv_inode_destroy(&v.ctx, attr.ref));
		assert_int_equal(csv_readlink(&v.ctx, attr.ref, &got), CSV_STALE);
	}
	memset(target, 'x', CSV_SYMLINK_MAX + 1);
	target[CSV_SYMLINK_MAX + 1] = 0;
	assert_int_equal(VOL_RUN(&v, csv_create(&v.ctx, vol_root(&v), "l", &what, NULL, NULL)), CSV_NAMETOOLONG);
	vol_check(&v, NULL);
	vol_free(&v);
}

static void test_attributes(void **state)
{
	struct csv_attr attr, set = { .mode = 0640, .uid = 7, .gid = 8, .flags = CSV_INODE_IMAGE_INHERIT };
	struct csv_iref d, f;
	struct vol v;

	vol_make(&v, shape);
	v.ctx.gid = 100;
	d = make(&v, vol_root(&v), "d", S_IFDIR | 0755);
	set.mode = 02750;
	set.mtime = (struct timespec){ -5, 999999999 };
	VOL_OK(&v, csv_setattr(&v.ctx, d, CSV_SET_MODE | CSV_SET_UID | CSV_SET_GID | CSV_SET_MTIME | CSV_SET_FLAGS,
			       &set, NULL));
	assert_int_equal(csv_getattr(&v.ctx, d, &attr), CSV_OK);
	assert_int_equal(attr.mode, S_IFDIR | 02750);
	assert_int_equal(attr.uid, 7);
	assert_int_equal(attr.mtime.tv_sec, -5);
	assert_int_equal(attr.mtime.tv_nsec, 999999999);
	/* Group and image flag come down from the directory. */
	f = make(&v, make(&v, d, "sub", S_IFDIR | 0755), "plain", S_IFREG | 0644);
	assert_int_equal(csv_getattr(&v.ctx, f, &attr), CSV_OK);
	assert_int_equal(attr.gid, 8);
	assert_true(attr.flags & CSV_INODE_IMAGE && attr.lease);
	/* The flag goes and comes with the lease block. */
	set.flags = 0;
	VOL_OK(&v, csv_setattr(&v.ctx, f, CSV_SET_FLAGS, &set, NULL));
	assert_int_equal(csv_getattr(&v.ctx, f, &attr), CSV_OK);
	assert_true(!attr.flags && !attr.lease);
	vol_check(&v, NULL);
	set.flags = CSV_INODE_IMAGE | CSV_INODE_SHARED;
	VOL_OK(&v, csv_setattr(&v.ctx, f, CSV_SET_FLAGS, &set, NULL));
	vol_check(&v, NULL);
	assert_int_equal(VOL_RUN(&v, csv_setattr(&v.ctx, d, CSV_SET_FLAGS, &set, NULL)), CSV_INVAL);
	vol_free(&v);
}

static void test_stale(void **state)
{
	struct csv_iref f, other, ref;
	struct csv_attr attr;
	struct vol v;

	vol_make(&v, shape);
	f = make(&v, vol_root(&v), "f", S_IFREG | 0644);
	other = make(&v, vol_root(&v), "g", S_IFREG | 0644);
	assert_int_equal(VOL_RUN(&v, csv_unlink(&v.ctx, vol_root(&v), "f", other, NULL, NULL)), CSV_STALE);
	VOL_OK(&v, csv_unlink(&v.ctx, vol_root(&v), "f", f, NULL, NULL));
	assert_int_equal(csv_getattr(&v.ctx, f, &attr), CSV_OK); /* still there for who has it open */
	assert_int_equal(VOL_RUN(&v, csv_link(&v.ctx, f, vol_root(&v), "h", NULL, NULL)), CSV_NOENT);
	VOL_OK(&v, csv_inode_destroy(&v.ctx, f));
	assert_int_equal(csv_getattr(&v.ctx, f, &attr), CSV_STALE);
	for (unsigned i = 0; i < 40; i++) { /* the block comes to new use under another generation */
		char name[16];

		snprintf(name, sizeof(name), "n%u", i);
		ref = make(&v, vol_root(&v), name, S_IFREG | 0644);
		if (ref.ino == f.ino)
			assert_int_not_equal(ref.gen, f.gen);
	}
	assert_int_equal(csv_getattr(&v.ctx, f, &attr), CSV_STALE);
	ref.ino = 5;
	assert_int_equal(csv_getattr(&v.ctx, ref, &attr), CSV_STALE);
	assert_int_equal(VOL_RUN(&v, csv_inode_destroy(&v.ctx, other)), CSV_INVAL);
	vol_free(&v);
}

/* Operations in a directory that was removed while open. */
static void test_removed_dir(void **state)
{
	struct csv_new what = { .mode = S_IFREG | 0644 };
	struct csv_iref d, ref;
	unsigned seen = 0;
	struct vol v;

	vol_make(&v, shape);
	d = make(&v, vol_root(&v), "d", S_IFDIR | 0755);
	VOL_OK(&v, csv_rmdir(&v.ctx, vol_root(&v), "d", d, NULL));
	assert_int_equal(VOL_RUN(&v, csv_create(&v.ctx, d, "x", &what, NULL, NULL)), CSV_NOENT);
	assert_int_equal(csv_lookup(&v.ctx, d, "x", &ref), CSV_NOENT);
	assert_int_equal(csv_readdir(&v.ctx, d, 0, count_entry, &seen), CSV_OK);
	assert_int_equal(seen, 0);
	vol_check(&v, NULL);
	VOL_OK(&v, csv_inode_destroy(&v.ctx, d));
	vol_check(&v, NULL);
	vol_free(&v);
}

/* ---- cluster locks ------------------------------------------------------------------ */

/* Holds what a test says, and the groups of the context. */
struct held {
	struct csv_lockctx base;
	struct vol *v;
	unsigned n;
	struct csv_res res[8];
	enum csv_mode mode[8];
};

static bool holds(struct csv_lockctx *base, struct csv_res res, enum csv_mode mode)
{
	struct held *h = (struct held *)base;

	if (res.type == CSV_RES_SLOT)
		return res.id == 0;
	if (res.type == CSV_RES_AG)
		return csv_agset_has(&h->v->ctx.ags, (uint32_t)res.id);
	for (unsigned i = 0; i < h->n; i++)
		if (csv_res_eq(h->res[i], res) && h->mode[i] >= mode)
			return true;
	return false;
}

static void hold(struct held *h, enum csv_res_type type, uint64_t id, enum csv_mode mode)
{
	h->res[h->n] = csv_res(type, id);
	h->mode[h->n++] = mode;
}

/* Each operation does with the locks that namei.h names: what lacks would fail an assertion. */
static void test_locks(void **state)
{
	struct held h = { .base.holds = holds };
	struct csv_new file = { .mode = S_IFREG | 0600 };
	struct csv_rename r = { .from = "f.vhd", .to = "g.vhd" };
	struct csv_iref d, e, f;
	struct csv_attr attr;
	struct vol v;

	vol_make(&v, shape);
	h.v = &v;
	d = make(&v, vol_root(&v), "d", S_IFDIR | 0755);
	e = make(&v, vol_root(&v), "e", S_IFDIR | 0755);
	assert_int_equal(csv_journal_checkpoint(&v.fs), CSV_OK);
	vol_drop_groups(&v);
	v.fs.locks = &h.base;
	hold(&h, CSV_RES_INODE, d.ino, CSV_EX);
	/* It asks for the new inode's own locks, and makes it once they are there. */
	assert_int_equal(VOL_RUN(&v, csv_create(&v.ctx, d, r.from, &file, &attr, NULL)), CSV_WAIT);
	hold(&h, CSV_RES_INODE, v.ctx.need_ino, CSV_EX);
	hold(&h, CSV_RES_LEASE, v.ctx.need_ino, CSV_EX);
	f.ino = v.ctx.need_ino;
	VOL_OK(&v, csv_create(&v.ctx, d, r.from, &file, &attr, NULL));
	assert_int_equal(attr.ref.ino, f.ino);
	f = attr.ref;
	VOL_OK(&v, csv_link(&v.ctx, f, d, "h", NULL, NULL));
	VOL_OK(&v, csv_unlink(&v.ctx, d, "h", f, NULL, NULL));
	hold(&h, CSV_RES_INODE, e.ino, CSV_EX);
	r.from_dir = d;
	r.to_dir = e;
	r.moved = f;
	VOL_OK(&v, csv_rename(&v.ctx, &r, NULL, NULL));
	h.n = 0;
	hold(&h, CSV_RES_INODE, e.ino, CSV_EX);
	hold(&h, CSV_RES_INODE, f.ino, CSV_EX);
	VOL_OK(&v, csv_unlink(&v.ctx, e, "g.vhd", f, NULL, NULL));
	h.n = 0;
	hold(&h, CSV_RES_INODE, f.ino, CSV_EX);
	hold(&h, CSV_RES_LEASE, f.ino, CSV_EX);
	VOL_OK(&v, csv_inode_destroy(&v.ctx, f));
	v.fs.locks = NULL;
	vol_check(&v, NULL);
	vol_free(&v);
}

/* A directory moves deep down: the way up is asked for, one directory after the other. */
static void test_rename_walk(void **state)
{
	struct held h = { .base.holds = holds };
	struct csv_rename r = { .from = "m", .to = "m" };
	struct csv_iref way[4], moved;
	struct vol v;
	enum csv_err err;

	vol_make(&v, shape);
	h.v = &v;
	moved = make(&v, vol_root(&v), "m", S_IFDIR | 0755);
	for (unsigned i = 0; i < 4; i++)
		way[i] = make(&v, i ? way[i - 1] : vol_root(&v), "w", S_IFDIR | 0755);
	v.fs.locks = &h.base;
	hold(&h, CSV_RES_RENAME, 0, CSV_EX);
	hold(&h, CSV_RES_INODE, vol_root(&v).ino, CSV_EX);
	hold(&h, CSV_RES_INODE, moved.ino, CSV_EX);
	hold(&h, CSV_RES_INODE, way[3].ino, CSV_EX);
	r.from_dir = vol_root(&v);
	r.to_dir = way[3];
	r.moved = moved;
	for (unsigned i = 3; i-- > 0;) {
		err = csv_rename(&v.ctx, &r, NULL, NULL);
		assert_int_equal(err, CSV_WAIT);
		assert_int_equal(v.ctx.need_ino, way[i].ino);
		hold(&h, CSV_RES_INODE, v.ctx.need_ino, CSV_PR);
	}
	VOL_OK(&v, csv_rename(&v.ctx, &r, NULL, NULL));
	v.fs.locks = NULL;
	vol_check(&v, NULL);
	/* And not into itself, from wherever. */
	r = (struct csv_rename){ .from = "w", .to = "w", .from_dir = vol_root(&v), .moved = way[0], .to_dir = moved };
	assert_int_equal(VOL_RUN(&v, csv_rename(&v.ctx, &r, NULL, NULL)), CSV_INVAL);
	vol_check(&v, NULL);
	vol_free(&v);
}

/* ---- full volume ----------------------------------------------------------------------- */

static void test_nospc(void **state)
{
	char target[CSV_SYMLINK_MAX + 1], name[CSV_NAME_MAX + 1];
	struct csv_new dir = { .mode = S_IFDIR | 0755 }, link = { .mode = S_IFLNK | 0777, .target = target };
	struct csv_new file = { .mode = S_IFREG | 0644 };
	struct vol_shape small = { .blocks = 4096, .ag_blocks = 2048, .journal_blocks = 512 };
	struct csv_iref d, e, f;
	struct vol v;

	memset(target, 't', CSV_SYMLINK_MAX);
	target[CSV_SYMLINK_MAX] = 0;
	vol_make(&v, small);
	d = make(&v, vol_root(&v), "d", S_IFDIR | 0755);
	e = make(&v, vol_root(&v), "e", S_IFDIR | 0755);
	f = make(&v, d, "f", S_IFREG | 0644);
	printf("mkdir: %u failures\n", VOL_EVERY_NOSPC(&v, false, csv_create(&v.ctx, d, "sub", &dir, NULL, NULL)));
	printf("symlink: %u failures\n", VOL_EVERY_NOSPC(&v, false, csv_create(&v.ctx, d, "link", &link, NULL, NULL)));
	printf("image: %u failures\n",
	       VOL_EVERY_NOSPC(&v, false, csv_create(&v.ctx, d, "disk.vhd", &file, NULL, NULL)));
	/* Names of 255 bytes make the directories grow: at some of them a node is needed. */
	for (unsigned i = 0; i < 60; i++) {
		struct csv_rename r = { .from_dir = i % 2 ? e : d,
					.to_dir = i % 2 ? d : e,
					.moved = f,
					.to = name,
					.from = i ? target : "f" };

		memset(name, 'a' + (int)(i % 26), CSV_NAME_MAX);
		name[CSV_NAME_MAX] = 0;
		name[0] = (char)('A' + i / 26);
		VOL_EVERY_NOSPC(&v, false, csv_link(&v.ctx, f, e, name, NULL, NULL));
		name[1] = '_';
		VOL_EVERY_NOSPC(&v, false, csv_rename(&v.ctx, &r, NULL, NULL));
		memcpy(target, name, sizeof(name));
	}
	vol_remount(&v);
	vol_check(&v, NULL);
	vol_free(&v);
}

/* SipHash's own vector: key 00..0f, input 00..0e. */
static void test_siphash(void **state)
{
	uint8_t in[15];

	for (unsigned i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)i;
	assert_true(csv_siphash(0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull, in, sizeof(in)) == 0xa129ca6149be45e5ull);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_siphash),	   cmocka_unit_test(test_names),
		cmocka_unit_test(test_symlinks),   cmocka_unit_test(test_attributes),
		cmocka_unit_test(test_stale),	   cmocka_unit_test(test_removed_dir),
		cmocka_unit_test(test_model),	   cmocka_unit_test(test_model_collisions),
		cmocka_unit_test(test_many_names), cmocka_unit_test(test_nospc),
		cmocka_unit_test(test_locks),	   cmocka_unit_test(test_rename_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
