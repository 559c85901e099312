/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lease blocks: made with an image, written by transactions, seen past the cache, gone with the flag. */
#include <stdlib.h>
#include <string.h>

#include "fs/meta/lease.h"
#include "vol.h"

static const struct vol_shape shape = { .blocks = 8192, .ag_blocks = 2048, .journal_blocks = 1024 };

static struct csv_attr make(struct vol *v, const char *name)
{
	struct csv_new what = { .mode = S_IFREG | 0600 };
	struct csv_attr attr;

	VOL_OK(v, csv_create(&v->ctx, vol_root(v), name, &what, &attr, NULL));
	return attr;
}

static enum csv_err read_lease(struct vol *v, const struct csv_attr *a, struct csv_lease *l)
{
	enum csv_err err;

	csv_fs_lock_shared(&v->fs);
	err = csv_lease_read(&v->fs, a->ref, a->lease, l);
	csv_fs_unlock(&v->fs);
	return err;
}

static void write_lease(struct vol *v, const struct csv_lease *l, bool keep)
{
	struct csv_txn *txn;

	assert_int_equal(csv_txn_begin(&v->fs, 0, &txn), CSV_OK);
	assert_int_equal(csv_lease_write(txn, l), CSV_OK);
	if (keep)
		csv_txn_end(txn);
	else
		csv_txn_abort(txn);
}

static void same(const struct csv_lease *a, const struct csv_lease *b)
{
	assert_int_equal(a->block, b->block);
	assert_int_equal(a->image.ino, b->image.ino);
	assert_int_equal(a->image.gen, b->image.gen);
	assert_int_equal(a->mode, b->mode);
	assert_int_equal(a->epoch, b->epoch);
	assert_int_equal(a->slot, b->slot);
	assert_int_equal(a->incarnation, b->incarnation);
	assert_int_equal(a->nodeid, b->nodeid);
	assert_int_equal(a->run, b->run);
	assert_string_equal(a->vm, b->vm);
	assert_string_equal(a->node, b->node);
	assert_int_equal(a->since_sec, b->since_sec);
	assert_int_equal(a->mtime.tv_sec, b->mtime.tv_sec);
	assert_int_equal(a->ctime.tv_nsec, b->ctime.tv_nsec);
	assert_memory_equal(a->handoff, b->handoff, sizeof(a->handoff));
	assert_int_equal(a->size, b->size);
}

static struct csv_lease example(const struct csv_attr *a)
{
	struct csv_lease l = { .block = a->lease,
			       .image = a->ref,
			       .mode = CSV_LEASE_EXCLUSIVE,
			       .epoch = 41,
			       .slot = 1,
			       .incarnation = 17,
			       .nodeid = 3,
			       .run = true,
			       .since_sec = 1234567890,
			       .mtime = { 5, 6 },
			       .ctime = { 7, 8 },
			       .size = 1ull << 40 };

	memset(l.vm, 'v', CSV_VMNAME_MAX); /* the longest */
	strcpy(l.node, "node-a");
	memset(l.handoff, 0xa5, sizeof(l.handoff));
	return l;
}

static void test_life(void **state)
{
	struct csv_attr a, clear = { 0 };
	struct csv_lease l, got;
	struct vol v;

	vol_make(&v, shape);
	a = make(&v, "disk.vhdx");
	assert_true(a.lease && a.flags & CSV_INODE_IMAGE);
	assert_int_equal(read_lease(&v, &a, &got), CSV_OK);
	assert_int_equal(got.mode, CSV_LEASE_NONE);
	assert_int_equal(got.epoch, 0);
	assert_string_equal(got.vm, "");
	assert_int_equal(got.image.ino, a.ref.ino);
	assert_int_equal(got.image.gen, a.ref.gen);
	l = example(&a);
	write_lease(&v, &l, true);
	assert_int_equal(read_lease(&v, &a, &got), CSV_OK);
	same(&l, &got);
	l.epoch++;
	write_lease(&v, &l, false);
	assert_int_equal(read_lease(&v, &a, &got), CSV_OK);
	assert_int_equal(got.epoch, 41);
	vol_remount(&v);
	assert_int_equal(read_lease(&v, &a, &got), CSV_OK);
	l.epoch--;
	same(&l, &got);
	vol_check(&v, NULL);
	VOL_OK(&v, csv_setattr(&v.ctx, a.ref, CSV_SET_FLAGS, &clear, NULL));
	assert_int_not_equal(read_lease(&v, &a, &got), CSV_OK);
	vol_check(&v, NULL);
	vol_free(&v);
}

static void test_peek(void **state)
{
	struct csv_lease l, got;
	struct csv_attr a, b;
	struct vol v;
	uint8_t byte[512];

	vol_make(&v, shape);
	a = make(&v, "disk.img");
	b = make(&v, "other.raw");
	assert_int_equal(csv_journal_checkpoint(&v.fs), CSV_OK);
	l = example(&a);
	write_lease(&v, &l, true);
	assert_int_equal(csv_lease_peek(&v.fs, a.ref, a.lease, &got), CSV_OK);
	assert_int_equal(got.epoch, 0); /* not home yet */
	assert_int_equal(csv_journal_sync_res(&v.fs, csv_res(CSV_RES_LEASE, a.ref.ino)), CSV_OK);
	assert_int_equal(csv_lease_peek(&v.fs, a.ref, a.lease, &got), CSV_OK);
	same(&l, &got);
	/* Another image's block, an inode's block, a generation that is over, a damaged block. */
	assert_int_equal(csv_lease_peek(&v.fs, a.ref, b.lease, &got), CSV_STALE);
	assert_int_equal(csv_lease_peek(&v.fs, a.ref, a.ref.ino, &got), CSV_IDENTITY);
	a.ref.gen++;
	assert_int_equal(csv_lease_peek(&v.fs, a.ref, a.lease, &got), CSV_STALE);
	assert_int_equal(read_lease(&v, &a, &got), CSV_STALE);
	a.ref.gen--;
	assert_int_equal(csv_bdev_read(v.dev, (a.lease << CSV_BLOCK_SHIFT) + 512, byte, 512), CSV_OK);
	byte[9] ^= 1;
	assert_int_equal(csv_bdev_write(v.dev, (a.lease << CSV_BLOCK_SHIFT) + 512, byte, 512, 0), CSV_OK);
	assert_int_equal(csv_lease_peek(&v.fs, a.ref, a.lease, &got), CSV_CHECKSUM);
	vol_free(&v);
}

/* Without the group of the lease block the flag stays, and the group is asked for. */
static void test_wait(void **state)
{
	struct csv_attr a, clear = { 0 };
	struct vol_sum before, after;
	struct vol v;

	vol_make(&v, shape);
	a = make(&v, "disk.img");
	vol_drop_groups(&v);
	vol_check(&v, &before);
	assert_int_equal(csv_setattr(&v.ctx, a.ref, CSV_SET_FLAGS, &clear, NULL), CSV_WAIT);
	assert_int_equal(v.ctx.need.n, 1);
	vol_check(&v, &after);
	assert_true(before.digest == after.digest);
	VOL_OK(&v, csv_setattr(&v.ctx, a.ref, CSV_SET_FLAGS, &clear, NULL));
	vol_free(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_peek),
		cmocka_unit_test(test_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
