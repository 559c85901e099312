/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Format and superblock: small and huge volumes, copies, damage, features, slots. */
#include <sys/stat.h>

#include "core.h"
#include "fs/disk/geometry.h"
#include "fs/meta/tree.h"

static void test_small(void **state)
{
	static const struct {
		uint64_t blocks;
		uint32_t journal;
	} sizes[] = { { 2048, 128 }, { 4096, 128 }, { 4096, 512 }, { 65536, 1024 } };
	struct csv_disk_inode root;
	uint64_t nfree;
	struct core c;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		core_make(&c, sizes[i].blocks, sizes[i].journal);
		core_open(&c);
		assert_int_equal(c.fs.sb.copy_used, 0);
		assert_string_equal(c.fs.sb.name, "test");
		assert_memory_equal(c.fs.sb.uuid, c.sb.uuid, 16);
		assert_ok(csv_alloc_free_blocks(&c.fs, &nfree));
		assert_true(nfree > sizes[i].blocks / 4 && nfree < sizes[i].blocks);
		core_close(&c);
		core_read(&c, c.sb.root_inode, &root);
		assert_ok(csv_block_verify(&root, c.sb.uuid, c.sb.root_inode, CSV_MAGIC_INODE, NULL));
		assert_ok(csv_verifier_of(CSV_MAGIC_INODE)(&c.sb, &root, NULL));
		assert_int_equal(csv_le32_get(root.mode), S_IFDIR | 0755);
		assert_int_equal(csv_le64_get(root.parent), c.sb.root_inode);
		core_free(&c);
	}
}

static void test_too_small(void **state)
{
	struct csv_format f = { .name = "x", .slots = 16, .journal_blocks = 1024 };
	struct csv_bdev *dev;
	struct csv_super sb;
	struct csv_why why;

	assert_ok(csv_bdev_mem(16 << 20, 4096, &dev));
	csv_why_init(&why);
	assert_int_equal(csv_format_write(dev, csv_env_system(), &f, &sb, &why), CSV_INVAL);
	assert_non_null(strstr(why.text, "too small"));
	f.slots = 0;
	assert_int_equal(csv_format_write(dev, csv_env_system(), &f, &sb, NULL), CSV_INVAL);
	f.slots = 1;
	f.name = "";
	assert_int_equal(csv_format_write(dev, csv_env_system(), &f, &sb, NULL), CSV_INVAL);
	csv_bdev_close(dev);
}

/* Every group header of a 64 TiB volume, and what they add up to. */
static void test_huge(void **state)
{
	struct csv_format f = { .name = "huge", .slots = 16, .journal_blocks = CSV_JOURNAL_BLOCKS_DEFAULT };
	uint64_t size = 64ull << 40, begun, sum = 0, nfree;
	struct csv_bdev *dev;
	struct csv_super sb;
	struct csv_fs fs;

	/* A sanitizer leaves less address space: then as much as there is. */
	while (csv_bdev_mem(size, 4096, &dev) != CSV_OK) {
		size /= 2;
		assert_true(size >= 1ull << 32);
	}
	begun = csv_env_system()->mono_ns(csv_env_system());
	assert_ok(csv_format_write(dev, csv_env_system(), &f, &sb, NULL));
	print_message("format of %llu GiB: %u groups, %llu ms, %llu writes\n", (unsigned long long)(size >> 30),
		      sb.ag_count, (unsigned long long)(csv_env_system()->mono_ns(csv_env_system()) - begun) / 1000000,
		      (unsigned long long)dev->stats.writes);
	assert_true(sb.ag_blocks <= CSV_AG_BLOCKS_MAX && csv_ag_bitmaps(sb.ag_blocks) <= CSV_AG_BITMAPS_MAX);
	for (uint32_t ag = 0; ag < sb.ag_count; ag++)
		sum += csv_ag_len(&sb, ag) - csv_ag_own(csv_ag_len(&sb, ag));
	assert_ok(csv_fs_open(&fs, dev, csv_env_system(), true, CSV_SLOT_NONE, 0, NULL));
	assert_ok(csv_alloc_free_blocks(&fs, &nfree));
	assert_int_equal(nfree, sum - sb.mchunk_blocks);
	assert_ok(csv_fs_close(&fs));
	csv_bdev_close(dev);
}

static void spoil(struct core *c, uint64_t block)
{
	uint8_t page[CSV_BLOCK_SIZE];

	core_read(c, block, page);
	page[100] ^= 1;
	core_write(c, block, page);
}

static void test_copies(void **state)
{
	struct csv_super sb;
	struct csv_why why;
	struct core c;

	core_make(&c, 4096, 128);
	csv_why_init(&why);
	assert_ok(csv_super_read(c.dev, &sb, &why));
	assert_int_equal(sb.copy_used, 0);
	assert_string_equal(why.text, "");

	spoil(&c, 0);
	assert_ok(csv_super_read(c.dev, &sb, &why));
	assert_int_equal(sb.copy_used, 1);
	assert_int_equal(why.err, CSV_CHECKSUM);
	assert_int_equal(why.block, 0);

	spoil(&c, CSV_SB_COPY_BLOCK);
	csv_why_init(&why);
	assert_ok(csv_super_read(c.dev, &sb, &why));
	assert_int_equal(sb.copy_used, 2);
	assert_memory_equal(sb.uuid, c.sb.uuid, 16);

	spoil(&c, 4095);
	csv_why_init(&why);
	assert_int_equal(csv_super_read(c.dev, &sb, &why), CSV_CHECKSUM);

	/* A good copy mends the others. */
	assert_ok(csv_super_write(c.dev, &c.sb));
	csv_why_init(&why);
	assert_ok(csv_super_read(c.dev, &sb, &why));
	assert_int_equal(sb.copy_used, 0);
	assert_int_equal(sb.version, 2);
	core_free(&c);
}

static void test_not_ours(void **state)
{
	struct csv_bdev *dev;
	struct csv_super sb;
	struct csv_why why;

	assert_ok(csv_bdev_mem(16 << 20, 4096, &dev));
	csv_why_init(&why);
	assert_int_equal(csv_super_read(dev, &sb, &why), CSV_NOTCSV);
	assert_int_equal(why.err, CSV_NOTCSV);
	csv_bdev_close(dev);
}

static void test_features(void **state)
{
	struct csv_fs fs;
	struct csv_super sb;
	struct csv_why why;
	struct core c;

	core_make(&c, 4096, 128);
	c.sb.features_incompat = 1ull << 5;
	assert_ok(csv_super_write(c.dev, &c.sb));
	csv_why_init(&why);
	assert_int_equal(csv_super_read(c.dev, &sb, &why), CSV_FEATURE);
	assert_non_null(strstr(why.text, "incompat-5"));

	c.sb.features_incompat = 0;
	c.sb.features_rocompat = 1ull << 3;
	assert_ok(csv_super_write(c.dev, &c.sb));
	csv_why_init(&why);
	assert_int_equal(csv_fs_open(&fs, c.dev, csv_env_system(), false, 0, 1, &why), CSV_FEATURE);
	assert_non_null(strstr(why.text, "rocompat-3"));
	assert_ok(csv_fs_open(&fs, c.dev, csv_env_system(), true, CSV_SLOT_NONE, 0, NULL));
	assert_ok(csv_fs_close(&fs));
	core_free(&c);
}

/* Every byte of the superblock changed, with a good checksum: refused or harmless, never believed into a crash. */
static void test_fields(void **state)
{
	uint8_t good[CSV_BLOCK_SIZE], zero[CSV_BLOCK_SIZE] = { 0 }, bad[CSV_BLOCK_SIZE];
	struct csv_super sb;
	struct csv_fs fs;
	struct core c;

	core_make(&c, 4096, 128);
	core_read(&c, 0, good);
	core_write(&c, CSV_SB_COPY_BLOCK, zero);
	core_write(&c, 4095, zero);
	for (unsigned at = 64; at < 350; at++)
		for (unsigned bit = 0; bit < 8; bit++) {
			memcpy(bad, good, sizeof(bad));
			bad[at] ^= (uint8_t)(1u << bit);
			csv_block_seal(bad, 0);
			core_write(&c, 0, bad);
			if (csv_super_read(c.dev, &sb, NULL) != CSV_OK)
				continue;
			if (csv_fs_open(&fs, c.dev, csv_env_system(), true, CSV_SLOT_NONE, 0, NULL) == CSV_OK)
				csv_fs_close(&fs);
		}
	core_free(&c);
}

static void test_slot(void **state)
{
	uint8_t page[CSV_BLOCK_SIZE];
	struct csv_slot s, t;
	struct core c;

	core_make(&c, 4096, 128);
	assert_ok(csv_slot_read(c.dev, &c.sb, 1, &s, NULL));
	assert_int_equal(s.state, CSV_SLOT_CLEAN);
	assert_int_equal(s.incarnation, 0);
	assert_int_equal(s.fenced_by, CSV_SLOT_NONE);
	assert_int_equal(s.journal_start, 256 + 128);
	s.state = CSV_SLOT_LIVE;
	s.incarnation = 9;
	s.pr_key = csv_slot_pr_key(1, 9);
	strcpy(s.node, "n1");
	assert_ok(csv_slot_write(c.dev, &c.sb, &s));
	assert_int_equal(s.version, 2);
	assert_ok(csv_slot_read(c.dev, &c.sb, 1, &t, NULL));
	assert_memory_equal(&s, &t, sizeof(s));

	core_read(&c, CSV_SLOT_BLOCK(1), page);
	assert_int_equal(csv_slot_judge(&c.sb, 1, 9, page), CSV_VERDICT_ALIVE);
	assert_int_equal(csv_slot_judge(&c.sb, 1, 8, page), CSV_VERDICT_FENCED);
	assert_int_equal(csv_slot_judge(&c.sb, 0, 9, page), CSV_VERDICT_UNSURE);
	page[200] ^= 1;
	assert_int_equal(csv_slot_judge(&c.sb, 1, 9, page), CSV_VERDICT_UNSURE);
	core_write(&c, CSV_SLOT_BLOCK(1), page);
	assert_int_equal(csv_slot_read(c.dev, &c.sb, 1, &t, NULL), CSV_CHECKSUM);
	assert_int_equal(csv_slot_read(c.dev, &c.sb, 2, &t, NULL), CSV_INVAL);
	assert_true(csv_slot_pr_key(0, 0) != 0);
	core_free(&c);
}

/* A device error at any write: the error comes back, and no volume, or a whole one, is there. */
struct fail_nth {
	unsigned left;
};

static enum csv_err fail_nth(void *arg, const struct csv_io *io)
{
	struct fail_nth *f = arg;

	if (io->op != CSV_IO_WRITE && io->op != CSV_IO_FLUSH)
		return CSV_OK;
	if (f->left == 0)
		return CSV_IO;
	f->left--;
	return CSV_OK;
}

static void test_format_cut(void **state)
{
	struct csv_format f = { .name = "again", .slots = 2, .journal_blocks = 128 };
	enum csv_err err = CSV_IO;
	struct csv_super sb;
	struct core c;

	for (unsigned n = 0; err != CSV_OK; n++) {
		struct fail_nth fail = { n };

		core_make(&c, 4096, 128);
		c.watch.watch = fail_nth;
		c.watch.arg = &fail;
		err = csv_format_write(c.dev, csv_env_system(), &f, &c.sb, NULL);
		c.watch.watch = NULL;
		if (err != CSV_OK)
			assert_int_equal(err, CSV_IO);
		if (n == 0) { /* nothing was written: the old volume is there */
			assert_ok(csv_super_read(c.dev, &sb, NULL));
			assert_string_equal(sb.name, "test");
		} else if (csv_super_read(c.dev, &sb, NULL) == CSV_OK) {
			if (strcmp(sb.name, "again") == 0) {
				core_open(&c);
				core_close(&c);
			}
		}
		core_free(&c);
		assert_true(n < 1000);
	}
}

static void test_lock_matrix(void **state)
{
	assert_true(csv_mode_compatible(CSV_PR, CSV_PR));
	assert_false(csv_mode_compatible(CSV_PR, CSV_EX));
	assert_true(csv_mode_compatible(CSV_NL, CSV_EX));
	for (int a = CSV_NL; a <= CSV_EX; a++)
		for (int b = CSV_NL; b <= CSV_EX; b++) {
			assert_int_equal(csv_mode_compatible((enum csv_mode)a, (enum csv_mode)b),
					 csv_mode_compatible((enum csv_mode)b, (enum csv_mode)a));
			/* What covers a mode conflicts with at least all that it conflicts with. */
			for (int x = CSV_NL; x <= CSV_EX; x++)
				if (csv_mode_covers((enum csv_mode)a, (enum csv_mode)b) &&
				    csv_mode_compatible((enum csv_mode)a, (enum csv_mode)x))
					assert_true(csv_mode_compatible((enum csv_mode)b, (enum csv_mode)x));
		}
	assert_int_equal(csv_mode_join(CSV_NL, CSV_PR), CSV_PR);
	assert_int_equal(csv_mode_join(CSV_EX, CSV_PR), CSV_EX);
	assert_int_equal(csv_mode_join(CSV_PR, CSV_CW), CSV_EX); /* neither covers the other */
	assert_string_equal(csv_mode_name(CSV_EX), "EX");
	assert_string_equal(csv_res_type_name(CSV_RES_LEASE), "lease");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small),	    cmocka_unit_test(test_too_small), cmocka_unit_test(test_huge),
		cmocka_unit_test(test_copies),	    cmocka_unit_test(test_not_ours),  cmocka_unit_test(test_features),
		cmocka_unit_test(test_fields),	    cmocka_unit_test(test_slot),      cmocka_unit_test(test_format_cut),
		cmocka_unit_test(test_lock_matrix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
