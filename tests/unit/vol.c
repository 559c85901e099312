/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/disk/super.h"
#include "vol.h"

static void open_core(struct vol *v)
{
	struct csv_why why;

	csv_why_init(&why);
	if (csv_fs_open(&v->fs, v->dev, csv_env_system(), false, 0, ++v->incarnation, &why) != CSV_OK)
		fail_msg("open: %s", why.text);
	v->ctx.fs = &v->fs;
}

void vol_make(struct vol *v, struct vol_shape shape)
{
	struct csv_format f = { .name = "test",
				.cluster = "",
				.slots = 2,
				.blocks = shape.blocks,
				.ag_blocks = shape.ag_blocks,
				.journal_blocks = shape.journal_blocks };
	struct csv_super sb;
	struct csv_why why;

	memset(v, 0, sizeof(*v));
	csv_why_init(&why);
	assert_int_equal(csv_bdev_mem(shape.blocks << CSV_BLOCK_SHIFT, 512, &v->dev), CSV_OK);
	if (csv_format_write(v->dev, csv_env_system(), &f, &sb, &why) != CSV_OK)
		fail_msg("format: %s", why.text);
	open_core(v);
}

void vol_remount(struct vol *v)
{
	assert_int_equal(csv_fs_close(&v->fs), CSV_OK);
	open_core(v);
}

void vol_free(struct vol *v)
{
	vol_hog_give_all(v);
	assert_int_equal(csv_fs_close(&v->fs), CSV_OK);
	csv_bdev_close(v->dev);
}

struct csv_iref vol_root(const struct vol *v)
{
	return (struct csv_iref){ v->fs.sb.root_inode, 0 };
}

void vol_drop_groups(struct vol *v)
{
	v->ctx.ags.n = 0;
}

void vol_hold_all(struct vol *v)
{
	for (uint32_t ag = 0; ag < v->fs.sb.ag_count; ag++)
		if (!csv_agset_has(&v->ctx.ags, ag))
			csv_agset_add(&v->ctx.ags, ag);
}

bool vol_again(struct vol *v, enum csv_err err, bool *committed)
{
	if (err != CSV_NOSPC && err != CSV_WAIT)
		return false;
	if (csv_ctx_take_need(&v->ctx))
		return true;
	if (err == CSV_WAIT || *committed || !csv_alloc_pending(&v->fs))
		return false;
	*committed = true;
	assert_int_equal(csv_journal_commit(&v->fs, 0), CSV_OK);
	return true;
}

uint64_t vol_seed(const char *test)
{
	const char *env = getenv("SEED");
	uint64_t seed = env ? strtoull(env, NULL, 0) : (uint64_t)time(NULL) * 1000003u + (uint64_t)clock();

	printf("%s: SEED=%llu\n", test, (unsigned long long)seed);
	return seed;
}
