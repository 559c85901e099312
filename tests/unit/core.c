/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <time.h>

#include "core.h"
#include "lib/bdev_impl.h"

static void watch_submit(struct csv_bdev *dev, struct csv_io *io)
{
	struct watch_dev *w = (struct watch_dev *)dev;
	enum csv_err err = w->watch ? w->watch(w->arg, io) : CSV_OK;

	if (err != CSV_OK)
		io->done(io, err);
	else
		csv_bdev_submit(w->below, io);
}

static const struct csv_bdev_ops watch_ops = { .name = "watch", .submit = watch_submit };

void core_make(struct core *c, uint64_t blocks, uint32_t journal_blocks)
{
	struct csv_format f = { .name = "test", .cluster = "", .slots = 2, .journal_blocks = journal_blocks };
	struct csv_why why;

	memset(c, 0, sizeof(*c));
	csv_why_init(&why);
	assert_ok(csv_bdev_mem(blocks << CSV_BLOCK_SHIFT, 4096, &c->mem));
	c->watch.below = c->mem;
	c->watch.dev.ops = &watch_ops;
	c->watch.dev.geo = c->mem->geo;
	c->dev = &c->watch.dev;
	if (csv_format_write(c->dev, csv_env_system(), &f, &c->sb, &why) != CSV_OK)
		fail_msg("format: %s", why.text);
	for (uint32_t ag = 0; ag < c->sb.ag_count; ag++)
		csv_agset_add(&c->ags, ag);
}

void core_open(struct core *c)
{
	struct csv_slot s;
	struct csv_why why;

	csv_why_init(&why);
	assert_ok(csv_slot_read(c->dev, &c->sb, 0, &s, &why));
	s.state = CSV_SLOT_LIVE;
	s.incarnation = ++c->incarnation;
	assert_ok(csv_slot_write(c->dev, &c->sb, &s));
	if (csv_fs_open(&c->fs, c->dev, csv_env_system(), false, 0, c->incarnation, &why) != CSV_OK)
		fail_msg("open: %s", why.text);
	csv_journal_set_interval(&c->fs, 0);
}

void core_close(struct core *c)
{
	assert_ok(csv_fs_close(&c->fs));
}

void core_crash(struct core *c)
{
	csv_fs_withdraw(&c->fs, CSV_IO, "the test pulls the plug");
	csv_fs_close(&c->fs);
}

void core_replay(struct core *c, struct csv_replay_result *res)
{
	struct csv_why why;

	csv_why_init(&why);
	if (csv_replay(c->dev, &c->sb, 0, true, NULL, res, &why) != CSV_OK)
		fail_msg("replay: %s", why.text);
}

void core_restart(struct core *c)
{
	core_crash(c);
	core_replay(c, NULL);
	core_open(c);
}

void core_free(struct core *c)
{
	csv_bdev_close(c->mem);
}

struct csv_res core_res(void)
{
	return csv_res(CSV_RES_LEASE, CORE_OWNER);
}

uint64_t core_block_new(struct core *c)
{
	struct csv_txn *txn;
	struct csv_buf *buf;
	uint64_t block;

	assert_ok(csv_txn_begin(&c->fs, 0, &txn));
	assert_ok(csv_alloc_meta(txn, &c->ags, 0, CSV_MAGIC_LEASE, CORE_OWNER, core_res(), &buf));
	block = buf->block;
	csv_buf_put(&c->fs, buf);
	csv_txn_end(txn);
	return block;
}

enum csv_err core_block_try_set(struct core *c, uint64_t block, uint64_t value, uint64_t *tid)
{
	struct csv_disk_lease *d;
	struct csv_txn *txn;
	struct csv_buf *buf;
	enum csv_err err;

	err = csv_txn_begin(&c->fs, 0, &txn);
	if (err != CSV_OK)
		return err;
	assert_ok(csv_buf_get(&c->fs, block, CSV_MAGIC_LEASE, CORE_OWNER, core_res(), &buf));
	assert_ok(csv_txn_dirty(txn, buf));
	d = buf->data;
	d->epoch = csv_le64_of(value);
	csv_buf_put(&c->fs, buf);
	*tid = csv_txn_end(txn);
	return CSV_OK;
}

uint64_t core_block_set(struct core *c, uint64_t block, uint64_t value)
{
	uint64_t tid = 0;

	assert_ok(core_block_try_set(c, block, value, &tid));
	return tid;
}

uint64_t core_block_get(struct core *c, uint64_t block)
{
	struct csv_buf *buf;
	uint64_t value;

	csv_fs_lock_shared(&c->fs);
	assert_ok(csv_buf_get(&c->fs, block, CSV_MAGIC_LEASE, CORE_OWNER, core_res(), &buf));
	value = csv_le64_get(((struct csv_disk_lease *)buf->data)->epoch);
	csv_buf_put(&c->fs, buf);
	csv_fs_unlock(&c->fs);
	return value;
}

void core_read(struct core *c, uint64_t block, void *page)
{
	assert_ok(csv_bdev_read(c->mem, block << CSV_BLOCK_SHIFT, page, CSV_BLOCK_SIZE));
}

void core_write(struct core *c, uint64_t block, const void *page)
{
	assert_ok(csv_bdev_write(c->mem, block << CSV_BLOCK_SHIFT, page, CSV_BLOCK_SIZE, 0));
}

uint64_t core_home_value(struct core *c, uint64_t block)
{
	struct csv_disk_lease d;

	core_read(c, block, &d);
	return csv_le64_get(d.epoch);
}

uint64_t core_home_version(struct core *c, uint64_t block)
{
	struct csv_disk_lease d;

	core_read(c, block, &d);
	return csv_le64_get(d.hdr.version);
}

uint64_t core_seed(const char *test)
{
	const char *env = getenv("SEED");
	uint64_t seed = env ? strtoull(env, NULL, 0) : (uint64_t)time(NULL);

	print_message("%s: SEED=%llu\n", test, (unsigned long long)seed);
	return seed;
}
