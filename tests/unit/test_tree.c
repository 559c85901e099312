/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The B+tree against a sorted array, with values of all lengths, and what a damaged one may not do. */
#include <stdlib.h>
#include <string.h>

#include "vol.h"

#define MODEL_MAX 6000

static const struct vol_shape shape = { .blocks = 16384, .ag_blocks = 4096, .journal_blocks = 1024 };

/* ---- model ------------------------------------------------------------------------ */

struct mrec {
	uint64_t key;
	unsigned len;
	uint8_t fill;
};
struct model {
	struct mrec rec[MODEL_MAX];
	unsigned n;
};

/* Index of the first record with a key >= key. */
static unsigned model_at(const struct model *m, uint64_t key)
{
	unsigned lo = 0, hi = m->n;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (m->rec[mid].key < key)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool model_has(const struct model *m, uint64_t key)
{
	unsigned i = model_at(m, key);

	return i < m->n && m->rec[i].key == key;
}

static void model_set(struct model *m, uint64_t key, unsigned len, uint8_t fill)
{
	unsigned i = model_at(m, key);

	if (!model_has(m, key)) {
		memmove(&m->rec[i + 1], &m->rec[i], (m->n - i) * sizeof(m->rec[0]));
		m->n++;
	}
	m->rec[i] = (struct mrec){ key, len, fill };
}

static void model_remove(struct model *m, uint64_t key)
{
	unsigned i = model_at(m, key);

	m->n--;
	memmove(&m->rec[i], &m->rec[i + 1], (m->n - i) * sizeof(m->rec[0]));
}

/* ---- the tree under test ------------------------------------------------------------ */

struct bed {
	struct vol v;
	struct csv_iref ref;
	bool xattr;
	struct csv_txn *txn;
	struct csv_tree t;
	struct model *m;
};

static void bed_make(struct bed *b, bool xattr)
{
	struct csv_new what = { .mode = S_IFREG | 0600 };
	struct csv_attr attr;

	memset(b, 0, sizeof(*b));
	vol_make(&b->v, shape);
	vol_hold_all(&b->v);
	VOL_OK(&b->v, csv_create(&b->v.ctx, vol_root(&b->v), "f", &what, &attr, NULL));
	b->ref = attr.ref;
	b->xattr = xattr;
	b->m = calloc(1, sizeof(*b->m));
	assert_non_null(b->m);
}

static void bed_free(struct bed *b)
{
	vol_free(&b->v);
	free(b->m);
}

static void begin(struct bed *b)
{
	assert_int_equal(csv_txn_begin(&b->v.fs, 0, &b->txn), CSV_OK);
	b->t = (struct csv_tree){ .fs = &b->v.fs, .xattr = b->xattr };
	assert_int_equal(csv_inode_get(&b->v.fs, b->ref, &b->t.inode), CSV_OK);
}

static void finish(struct bed *b, bool keep)
{
	csv_buf_put(&b->v.fs, b->t.inode);
	if (keep)
		csv_txn_end(b->txn);
	else
		csv_txn_abort(b->txn);
}

static enum csv_err put(struct bed *b, uint64_t key, unsigned len, uint8_t fill, bool insert)
{
	uint8_t value[CSV_TREE_VALUE_MAX];

	memset(value, fill, sizeof(value));
	if (insert)
		return csv_tree_insert(b->txn, &b->v.ctx.ags, &b->t, key, value, len);
	return csv_tree_set(b->txn, &b->v.ctx.ags, &b->t, key, value, len);
}

static void expect(const struct csv_tree_rec *rec, const struct mrec *want)
{
	assert_int_equal(rec->key, want->key);
	assert_int_equal(rec->len, want->len);
	for (unsigned i = 0; i < rec->len; i++)
		assert_int_equal(rec->value[i], want->fill);
}

static void compare_key(struct bed *b, uint64_t key)
{
	struct csv_tree_rec rec;
	unsigned i = model_at(b->m, key);
	bool has = model_has(b->m, key);
	enum csv_err err = csv_tree_get(&b->t, key, &rec);

	assert_int_equal(err, has ? CSV_OK : CSV_NOENT);
	if (has)
		expect(&rec, &b->m->rec[i]);
	err = csv_tree_ceil(&b->t, key, &rec);
	assert_int_equal(err, i < b->m->n ? CSV_OK : CSV_NOENT);
	if (!err)
		expect(&rec, &b->m->rec[i]);
	if (has)
		i++;
	err = csv_tree_floor(&b->t, key, &rec);
	assert_int_equal(err, i > 0 ? CSV_OK : CSV_NOENT);
	if (!err)
		expect(&rec, &b->m->rec[i - 1]);
}

struct count {
	struct bed *b;
	uint64_t nodes, recs, bytes;
};

static enum csv_err on_node(void *arg, uint64_t block, unsigned level)
{
	struct count *c = arg;

	c->nodes++;
	return CSV_OK;
}

static enum csv_err on_rec(void *arg, const struct csv_tree_rec *rec)
{
	struct count *c = arg;

	assert_true(c->recs < c->b->m->n);
	expect(rec, &c->b->m->rec[c->recs++]);
	c->bytes += rec->len + sizeof(struct csv_disk_tree_slot);
	return CSV_OK;
}

/* All of it; the number of node blocks. */
static uint64_t compare_all(struct bed *b)
{
	struct count c = { .b = b };
	struct csv_tree_walk w = { on_node, on_rec, &c };
	uint64_t blocks;

	assert_int_equal(csv_tree_walk(&b->t, &w), CSV_OK);
	assert_int_equal(c.recs, b->m->n);
	blocks = csv_le64_get(csv_inode_of(b->t.inode)->blocks);
	assert_int_equal(blocks, c.nodes);
	return blocks;
}

/* ---- tests ---------------------------------------------------------------------------- */

/* A random course: growing, shrinking, aborted operations, remounts. */
static void run_model(uint64_t seed, bool xattr, unsigned max_len, uint64_t keys, unsigned ops)
{
	struct model *before = calloc(1, sizeof(*before));
	struct bed b;

	bed_make(&b, xattr);
	for (unsigned op = 0; op < ops; op++) {
		bool grow = (op / 1500) % 2 == 0;
		bool keep = csv_rng_next(&seed) % 16 != 0;
		unsigned n = 1 + (unsigned)(csv_rng_next(&seed) % 4);

		memcpy(before, b.m, sizeof(*before));
		begin(&b);
		while (n--) {
			uint64_t key = csv_rng_next(&seed) % keys;
			unsigned len = (unsigned)(csv_rng_next(&seed) % (max_len + 1)), r = csv_rng_next(&seed) % 10;
			uint8_t fill = (uint8_t)csv_rng_next(&seed);
			bool has = model_has(b.m, key);
			enum csv_err err;

			if (r < (grow ? 5 : 2)) {
				err = put(&b, key, len, fill, true);
				assert_int_equal(err, has ? CSV_EXIST : CSV_OK);
				if (!has)
					model_set(b.m, key, len, fill);
			} else if (r < (grow ? 7 : 3)) {
				assert_int_equal(put(&b, key, len, fill, false), CSV_OK);
				model_set(b.m, key, len, fill);
			} else {
				unsigned i = model_at(b.m, key);

				if (i < b.m->n)
					key = b.m->rec[i].key;
				err = csv_tree_remove(b.txn, &b.v.ctx.ags, NULL, &b.t, key);
				assert_int_equal(err, i < b.m->n ? CSV_OK : CSV_NOENT);
				if (!err)
					model_remove(b.m, key);
			}
			compare_key(&b, csv_rng_next(&seed) % keys);
			compare_key(&b, key);
		}
		finish(&b, keep);
		if (!keep)
			memcpy(b.m, before, sizeof(*before));
		if (op % 400 == 399) {
			begin(&b);
			compare_all(&b);
			finish(&b, false);
		}
		if (op % 2000 == 1999)
			vol_remount(&b.v);
	}
	begin(&b);
	while (b.m->n) {
		assert_int_equal(csv_tree_remove(b.txn, NULL, NULL, &b.t, b.m->rec[b.m->n / 2].key), CSV_OK);
		model_remove(b.m, b.m->rec[b.m->n / 2].key);
		finish(&b, true);
		begin(&b);
	}
	assert_int_equal(compare_all(&b), 0);
	finish(&b, true);
	vol_check(&b.v, NULL);
	bed_free(&b);
	free(before);
}

static void test_model_mixed(void **state)
{
	run_model(vol_seed("tree_mixed"), false, CSV_TREE_VALUE_MAX, 3000, 8000);
}

static void test_model_extents(void **state)
{
	run_model(vol_seed("tree_extents"), false, 16, 20000, 8000);
}

static void test_model_xattr(void **state)
{
	run_model(vol_seed("tree_xattr"), true, CSV_TREE_VALUE_MAX, 400, 6000);
}

/* Ascending keys fill their nodes. */
static void test_sequential(void **state)
{
	struct bed b;
	uint64_t nodes;

	bed_make(&b, false);
	for (unsigned i = 0; i < 5000; i++) {
		begin(&b);
		assert_int_equal(put(&b, i, 16, 1, true), CSV_OK);
		model_set(b.m, i, 16, 1);
		finish(&b, true);
	}
	begin(&b);
	nodes = compare_all(&b);
	printf("5000 ascending extents: %llu nodes\n", (unsigned long long)nodes);
	assert_in_range(nodes, 5000 / 125, 5000 / 125 + 2);
	finish(&b, false);
	bed_free(&b);
}

static void fill_tree(struct bed *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		begin(b);
		assert_int_equal(put(b, i * 10, 100, 7, true), CSV_OK);
		finish(b, true);
	}
}

/* Prune frees all in bounded steps and asks for groups. */
static void test_prune(void **state)
{
	struct bed b;
	struct csv_agset none = { 0 }, need = { 0 };
	unsigned freed;
	bool more = true;

	bed_make(&b, false);
	fill_tree(&b, 3000);
	begin(&b);
	assert_int_equal(csv_tree_prune(b.txn, &none, &need, &b.t, 5, &freed, &more), CSV_WAIT);
	assert_int_equal(freed, 0);
	assert_true(need.n > 0);
	finish(&b, false);
	while (more) {
		begin(&b);
		assert_int_equal(csv_tree_prune(b.txn, NULL, NULL, &b.t, 5, &freed, &more), CSV_OK);
		assert_in_range(freed, 0, 7);
		finish(&b, true);
	}
	begin(&b);
	assert_int_equal(compare_all(&b), 0);
	finish(&b, false);
	vol_check(&b.v, NULL);
	bed_free(&b);
}

/* Without its group a node that runs empty is not freed, and nothing changes; others only shrink. */
static void test_remove_wait(void **state)
{
	struct csv_agset none = { 0 }, need = { 0 }, all = { 0 };
	unsigned waits = 0;
	struct bed b;

	bed_make(&b, false);
	fill_tree(&b, 1000);
	begin(&b);
	assert_int_equal(csv_tree_groups(&b.t, 0, UINT64_MAX, &all), CSV_OK);
	assert_true(all.n > 0);
	finish(&b, false);
	for (unsigned i = 0; i < 1000; i++) {
		enum csv_err err;

		begin(&b);
		need.n = 0;
		err = csv_tree_remove(b.txn, &none, &need, &b.t, i * 10);
		if (err) {
			struct csv_tree_rec rec;

			assert_int_equal(err, CSV_WAIT);
			assert_true(need.n > 0 && csv_agset_has(&all, need.ag[0]));
			assert_int_equal(csv_tree_get(&b.t, i * 10, &rec), CSV_OK);
			assert_int_equal(csv_tree_remove(b.txn, &need, &need, &b.t, i * 10), CSV_OK);
			waits++;
		}
		finish(&b, true);
	}
	assert_in_range(waits, 1, 100);
	begin(&b);
	assert_int_equal(compare_all(&b), 0);
	finish(&b, false);
	vol_check(&b.v, NULL);
	bed_free(&b);
}

/* A leaf area with one good record, to be damaged. */
static void good_area(uint8_t *area, unsigned size)
{
	struct csv_disk_tree_head *h = (void *)area;
	struct csv_disk_tree_slot *s = (void *)(area + sizeof(*h));

	csv_tree_area_init(area, size);
	h->count = csv_le16_of(2);
	h->free_end = csv_le16_of((uint16_t)(size - 20));
	s[0] =
	    (struct csv_disk_tree_slot){ csv_le64_of(5), csv_le16_of((uint16_t)(size - 10)), csv_le16_of(10), { 0 } };
	s[1] =
	    (struct csv_disk_tree_slot){ csv_le64_of(6), csv_le16_of((uint16_t)(size - 20)), csv_le16_of(10), { 0 } };
}

static void test_area_verify(void **state)
{
	_Alignas(8) uint8_t area[CSV_INODE_XTREE_SIZE];
	struct csv_disk_tree_head *h = (void *)area;
	struct csv_disk_tree_slot *s = (void *)(area + sizeof(*h));
	uint64_t seed = vol_seed("tree_verify");

	csv_tree_area_init(area, sizeof(area));
	assert_int_equal(csv_tree_area_verify(area, sizeof(area), NULL), CSV_OK);
#define BAD(change)                                                                                                    \
	do {                                                                                                           \
		good_area(area, sizeof(area));                                                                         \
		assert_int_equal(csv_tree_area_verify(area, sizeof(area), NULL), CSV_OK);                              \
		change;                                                                                                \
		assert_int_equal(csv_tree_area_verify(area, sizeof(area), NULL), CSV_DAMAGED);                         \
	} while (0)
	BAD(h->count = csv_le16_of(3));
	BAD(h->count = csv_le16_of(0xffff));
	BAD(h->level = csv_le16_of(CSV_TREE_LEVELS_MAX));
	BAD(h->level = csv_le16_of(1));
	BAD(h->free_end = csv_le16_of(8));
	BAD(h->free_end = csv_le16_of(705));
	BAD(h->garbage = csv_le16_of(1));
	BAD(s[1].key = csv_le64_of(5));
	BAD(s[1].off = s[0].off);
	BAD(s[1].off = csv_le16_of(700));
	BAD(s[1].off = csv_le16_of(8));
	BAD(s[0].len = csv_le16_of(513));
	BAD(s[0].len = csv_le16_of(0xffff));
#undef BAD
	for (unsigned i = 0; i < 200000; i++) { /* noise never makes it look outside (with the address sanitizer) */
		for (unsigned k = 0; k < 48; k++)
			area[k] = (uint8_t)(csv_rng_next(&seed) % (k % 2 ? 4 : 256));
		csv_tree_area_verify(area, sizeof(area), NULL);
	}
}

/* Children that point astray: each access ends with DAMAGED, none loops. */
static void test_damaged_links(void **state)
{
	struct bed b;
	struct csv_tree_rec rec;
	struct csv_tree_walk w = { 0 };
	struct csv_disk_inode *di;
	struct csv_disk_tree_slot *s;
	csv_le64 first, second;

	bed_make(&b, false);
	fill_tree(&b, 2000);
	begin(&b);
	assert_int_equal(csv_txn_dirty(b.txn, b.t.inode), CSV_OK);
	di = csv_inode_of(b.t.inode);
	s = (void *)(di->tree + sizeof(struct csv_disk_tree_head));
	memcpy(&first, di->tree + csv_le16_get(s[0].off), 8);
	memcpy(&second, di->tree + csv_le16_get(s[1].off), 8);
	memcpy(di->tree + csv_le16_get(s[0].off), &second, 8); /* twice the same child */
	assert_int_equal(csv_tree_get(&b.t, 0, &rec), CSV_NOENT);
	assert_int_equal(csv_tree_ceil(&b.t, 0, &rec), CSV_OK);
	assert_int_equal(csv_tree_walk(&b.t, &w), CSV_DAMAGED);
	second = csv_le64_of(b.ref.ino); /* the inode itself */
	memcpy(di->tree + csv_le16_get(s[0].off), &second, 8);
	assert_int_not_equal(csv_tree_get(&b.t, 0, &rec), CSV_OK);
	second = csv_le64_of(UINT64_MAX);
	memcpy(di->tree + csv_le16_get(s[0].off), &second, 8);
	assert_int_equal(csv_tree_get(&b.t, 0, &rec), CSV_DAMAGED);
	assert_int_equal(csv_tree_walk(&b.t, &w), CSV_DAMAGED);
	memcpy(di->tree + csv_le16_get(s[0].off), &first, 8);
	((struct csv_disk_tree_head *)(void *)di->tree)->level =
	    csv_le16_of(5); /* level of the child is not one less */
	assert_int_equal(csv_tree_get(&b.t, 0, &rec), CSV_DAMAGED);
	finish(&b, false);
	bed_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_area_verify),   cmocka_unit_test(test_model_mixed),
		cmocka_unit_test(test_model_extents), cmocka_unit_test(test_model_xattr),
		cmocka_unit_test(test_sequential),    cmocka_unit_test(test_prune),
		cmocka_unit_test(test_remove_wait),   cmocka_unit_test(test_damaged_links),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
