/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scenarios of file data and extent maps. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "fs/disk/super.h"

#include "scenarios.h"

#define KIB 1024u
#define FILES 3u

static void beside(struct crash *c, struct csv_iref ref)
{
	switch (crash_pick(c, 9)) {
	case 0:
	case 1:
		crash_sync(c, ref);
		break;
	case 2:
		crash_commit(c);
		break;
	case 3:
		crash_checkpoint(c);
		break;
	default:
		break;
	}
}

/* A name that makes an image, and one that does not. */
static bool make_files(struct crash *c, struct csv_iref *ref, unsigned n)
{
	char name[32];

	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s%u%s", i % 2 ? "file " : "disk ", i, i % 2 ? "" : ".vhd");
		if (!crash_expect(c, crash_create(c, crash_root(c), name, S_IFREG | 0644, &ref[i]), "create"))
			return false;
	}
	crash_commit(c);
	return true;
}

static uint64_t sectors_at_most(struct crash *c, uint64_t max)
{
	/* Small ones more often: they have the edges. */
	uint64_t n = 1 + crash_pick(c, (uint32_t)max);

	return crash_pick(c, 2) ? n : 1 + crash_pick(c, (uint32_t)n);
}

static void expect(struct crash *c, enum csv_err err, const char *what)
{
	if (err != CSV_NOSPC)
		crash_expect(c, err, what);
}

static void write_some(struct crash *c, struct csv_iref ref, uint64_t max_sector)
{
	uint64_t first = crash_pick(c, (uint32_t)max_sector), n = sectors_at_most(c, 64);

	expect(c, crash_write(c, ref, first * CRASH_SECTOR, n * CRASH_SECTOR, 1 + crash_pick(c, 4)), "write");
}

void crash_run_overwrite(struct crash *c)
{
	struct csv_iref ref[FILES];

	if (!make_files(c, ref, FILES))
		return;
	for (unsigned i = 0; i < FILES; i++) {
		expect(c, crash_write(c, ref[i], 0, 128 * KIB, 1), "write");
		crash_sync(c, ref[i]);
	}
	for (unsigned i = 0; i < 60 && crash_good(c); i++) {
		struct csv_iref f = ref[crash_pick(c, FILES)];
		uint64_t first = crash_pick(c, 224), n = 1 + crash_pick(c, 32);

		expect(c, crash_write(c, f, first * CRASH_SECTOR, n * CRASH_SECTOR, 1 + crash_pick(c, 3)), "write");
		beside(c, f);
	}
}

void crash_run_append(struct crash *c)
{
	struct csv_iref ref[FILES];
	uint64_t end[FILES] = { 0 };

	if (!make_files(c, ref, FILES))
		return;
	for (unsigned i = 0; i < 60 && crash_good(c); i++) {
		unsigned f = crash_pick(c, FILES);
		uint64_t n = sectors_at_most(c, 48);

		expect(c, crash_write(c, ref[f], end[f] * CRASH_SECTOR, n * CRASH_SECTOR, 1), "append");
		end[f] += n;
		beside(c, ref[f]);
	}
}

void crash_run_truncate(struct crash *c)
{
	struct csv_iref ref[FILES];

	if (!make_files(c, ref, FILES))
		return;
	for (unsigned i = 0; i < 70 && crash_good(c); i++) {
		struct csv_iref f = ref[crash_pick(c, FILES)];

		if (crash_pick(c, 3) == 0)
			expect(c, crash_truncate(c, f, (uint64_t)crash_pick(c, 600) * CRASH_SECTOR), "truncate");
		else
			write_some(c, f, 500);
		beside(c, f);
	}
}

void crash_run_convert(struct crash *c)
{
	struct csv_iref ref[FILES];

	if (!make_files(c, ref, FILES))
		return;
	for (unsigned i = 0; i < FILES; i++)
		expect(c, crash_fallocate(c, ref[i], i == 1 ? FALLOC_FL_KEEP_SIZE : 0, 0, 256 * KIB), "fallocate");
	for (unsigned i = 0; i < 80 && crash_good(c); i++) {
		struct csv_iref f = ref[crash_pick(c, FILES)];

		switch (crash_pick(c, 10)) {
		case 0:
			expect(c,
			       crash_fallocate(c, f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					       crash_pick(c, 400) * CRASH_SECTOR,
					       sectors_at_most(c, 64) * CRASH_SECTOR),
			       "punch");
			break;
		case 1:
			expect(c,
			       crash_fallocate(c, f, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
					       crash_pick(c, 400) * CRASH_SECTOR,
					       sectors_at_most(c, 64) * CRASH_SECTOR),
			       "zero range");
			break;
		default:
			write_some(c, f, 480);
			break;
		}
		if (crash_pick(c, 3) == 0)
			crash_sync(c, f);
		else
			beside(c, f);
	}
}

/* Commits all the time, so that the steps of one operation are in different transactions. */
struct nag {
	struct csv_fs *fs;
	pthread_t thread;
	atomic_bool stop;
};

static void *nag_main(void *arg)
{
	struct nag *n = arg;

	while (!atomic_load(&n->stop) && csv_journal_commit(n->fs, 0) == CSV_OK)
		;
	return NULL;
}

static void nag_start(struct crash *c, struct nag *n)
{
	*n = (struct nag){ .fs = &c->me->fs };
	c->drag = true;
	if (pthread_create(&n->thread, NULL, nag_main, n))
		abort();
}

static void nag_stop(struct crash *c, struct nag *n)
{
	c->drag = false;
	atomic_store(&n->stop, true);
	pthread_join(n->thread, NULL);
}

void crash_run_fragments(struct crash *c)
{
	struct csv_iref ref[2];
	struct nag nag;
	char name[32];

	if (!make_files(c, ref, 2))
		return;
	for (unsigned round = 0; round < 2 && crash_good(c); round++) {
		struct csv_iref f = ref[round];

		/* More extents than an inode holds, some of them with data. */
		for (unsigned i = 0; i < 220 && crash_good(c); i++)
			expect(c, crash_fallocate(c, f, 0, i * 3ull * CSV_BLOCK_SIZE, CSV_BLOCK_SIZE), "fallocate");
		for (unsigned i = 0; i < 12; i++)
			write_some(c, f, 3 * 8 * 220);
		crash_sync(c, f);
		nag_start(c, &nag);
		expect(c, crash_truncate(c, f, (uint64_t)crash_pick(c, 3 * 8 * 160) * CRASH_SECTOR), "truncate");
		snprintf(name, sizeof(name), "%s%u%s", round ? "file " : "disk ", round, round ? "" : ".vhd");
		expect(c, crash_remove(c, crash_root(c), name), "unlink");
		nag_stop(c, &nag);
	}
}

/* Takes the space until only `left` blocks are free. */
static void fill_up(struct crash *c, uint64_t left)
{
	uint64_t nfree;
	struct csv_iref ref;

	if (!crash_expect(c, crash_create(c, crash_root(c), "filler", S_IFREG | 0600, &ref), "create"))
		return;
	crash_commit(c);
	if (!crash_expect(c, csv_alloc_free_blocks(&c->me->fs, &nfree), "free space") || nfree <= left)
		return;
	expect(c, crash_fallocate(c, ref, FALLOC_FL_KEEP_SIZE, 0, (nfree - left) * CSV_BLOCK_SIZE), "fallocate");
	crash_commit(c);
}

void crash_run_free_reuse(struct crash *c)
{
	struct csv_iref ref[FILES];

	if (!make_files(c, ref, FILES))
		return;
	fill_up(c, 40);
	for (unsigned i = 0; i < 70 && crash_good(c); i++) {
		struct csv_iref f = ref[crash_pick(c, FILES)];

		if (crash_pick(c, 5) < 2)
			expect(c, crash_truncate(c, f, crash_pick(c, 2) * 4 * KIB), "truncate");
		else
			expect(c, crash_write(c, f, 0, 4 * KIB * (1 + crash_pick(c, 24)), 1), "write");
		beside(c, f);
	}
}

/* A guest that knows the format fills its disk with headers of metadata blocks, each right for its place. */
static bool forge(struct crash *c, struct csv_iref ref, unsigned blocks)
{
	static const uint32_t magic[] = { CSV_MAGIC_INODE, CSV_MAGIC_TREE, CSV_MAGIC_FREE, CSV_MAGIC_MCHUNK,
					  CSV_MAGIC_LEASE };
	static const uint64_t version[] = { 1000, UINT64_MAX / 4 - 1, UINT64_MAX / 4, UINT64_MAX - 1, UINT64_MAX };
	uint8_t *page = aligned_alloc(4096, CSV_BLOCK_SIZE);

	for (unsigned i = 0; page && i < blocks && crash_good(c); i++) {
		struct csv_fs *fs = &c->me->fs;
		struct csv_map m = { 0 };
		struct csv_buf *buf;

		csv_fs_lock_shared(fs);
		if (crash_expect(c, csv_inode_get(fs, ref, &buf), "inode")) {
			crash_expect(c, csv_map_lookup(fs, buf, i, 1, &m), "map");
			csv_buf_put(fs, buf);
		}
		csv_fs_unlock(fs);
		csv_block_init(page, c->sb.uuid, magic[crash_pick(c, 5)], m.phys, m.phys, version[crash_pick(c, 5)]);
		csv_block_seal(page, m.phys);
		crash_expect(c, crash_write_raw(c, ref, (uint64_t)i * CSV_BLOCK_SIZE, CSV_BLOCK_SIZE, page), "write");
	}
	free(page);
	return crash_good(c);
}

void crash_run_forged_header(struct crash *c)
{
	struct csv_iref ref[2];
	char name[32];

	for (unsigned round = 0; round < 2 && crash_good(c); round++) {
		snprintf(name, sizeof(name), "forged %u", round);
		if (!crash_expect(c, crash_create(c, crash_root(c), name, S_IFREG | 0644, &ref[0]), "create"))
			return;
		expect(c, crash_write(c, ref[0], 0, 40 * CSV_BLOCK_SIZE, 1), "write");
		if (!forge(c, ref[0], 40))
			return;
		crash_sync(c, ref[0]);
		expect(c, crash_remove(c, crash_root(c), name), "unlink");
		crash_commit(c);
		for (unsigned i = 0; i < 24 && crash_good(c); i++) {
			snprintf(name, sizeof(name), "%u of %u.img", i, round);
			expect(c, crash_create(c, crash_root(c), name, S_IFREG | 0644, &ref[1]), "create");
			beside(c, ref[1]);
		}
	}
}
