/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small volume, unmounted or with a journal to be replayed, in whose blocks something is changed: superblock, slots,
 * journal, groups, inodes, trees, directories, leases.  Blocks are sealed again, or their damage would only ever be
 * told by the checksum.  Then it is checked, replayed, checked and mounted, and looked at.
 *
 * An input: which volume, then changes: block (of those that are metadata), offset, length, bytes.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/data/map.h"
#include "fs/disk/super.h"
#include "fs/meta/dir.h"
#include "lib/bdev_impl.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/vol.h"
#include "tools/check/check.h"

#define BLOCKS 8192u
#define META_MAX 2048u

/* Made once. */
static struct template
{
	int fd;
	struct csv_bdev_geometry geo;
	uint32_t meta[META_MAX];
	unsigned n;
}
templates[2];

static void note_meta(struct template *t, const uint8_t *image)
{
	for (uint32_t b = 0; b < BLOCKS && t->n < META_MAX; b++) {
		uint32_t magic =
		    csv_le32_get(((const struct csv_block_hdr *)(const void *)(image + (size_t)b * 4096))->magic);

		if (strcmp(csv_magic_name(magic), "unknown") != 0)
			t->meta[t->n++] = b;
	}
}

static void keep(struct template *t, struct csv_bdev *dev)
{
	const uint8_t *image = csv_bdev_mem_map(dev);
	size_t size = (size_t)BLOCKS * 4096;

	t->fd = memfd_create("csv-fuzz", MFD_CLOEXEC);
	CSV_ASSERT(t->fd >= 0 && !ftruncate(t->fd, (off_t)size));
	t->geo = dev->geo;
	t->n = 0;
	note_meta(t, image);
	for (size_t at = 0; at < size; at += 4096)
		if (image[at] || memcmp(image + at, image + at + 1, 4095))
			CSV_ASSERT(pwrite(t->fd, image + at, 4096, (off_t)at) == 4096);
}

static struct csv_iref make(struct vol *v, struct csv_iref dir, const char *name, uint32_t mode, const char *target)
{
	const struct csv_new what = { .mode = mode, .target = target };
	struct csv_attr a;

	CSV_ASSERT(VOL_RUN(v, csv_create(&v->ctx, dir, name, &what, &a, NULL)) == CSV_OK);
	return a.ref;
}

static void populate(struct vol *v)
{
	struct csv_iref root = vol_root(v), dir = make(v, root, "dir", S_IFDIR | 0755, NULL), disk;
	char name[64];

	disk = make(v, root, "disk.vhd", S_IFREG | 0644, NULL);
	for (unsigned i = 0; i < 40; i++)
		CSV_ASSERT(VOL_RUN(v, csv_fallocate(&v->ctx, disk, 0, i * 8192, 4096, NULL)) == CSV_OK);
	make(v, root, "link", S_IFLNK | 0777, "dir/name 1");
	for (unsigned i = 0; i < 120; i++) {
		snprintf(name, sizeof(name), "name %u, long enough for a tree of nodes", i);
		make(v, dir, name, i % 3 ? S_IFREG | 0644 : S_IFDIR | 0700, NULL);
	}
}

static void make_templates(void)
{
	static struct vol v;

	vol_make(&v, (struct vol_shape){ .blocks = BLOCKS, .ag_blocks = 4096, .journal_blocks = 128 });
	csv_journal_set_interval(&v.fs, 0);
	vol_hold_all(&v);
	populate(&v);
	vol_remount(&v);
	keep(&templates[0], v.dev);
	csv_journal_set_interval(&v.fs, 0);
	make(&v, vol_root(&v), "in the journal", S_IFREG | 0644, NULL);
	CSV_ASSERT(csv_journal_commit(&v.fs, 0) == CSV_OK);
	keep(&templates[1], v.dev);
	vol_free(&v);
}

static void change(struct csv_bdev *dev, const struct template *t, struct fuzz_in *in)
{
	uint16_t where = fuzz_u16(in);
	uint32_t block = t->meta[where % t->n];
	uint16_t how = fuzz_u16(in);
	uint8_t *page = (uint8_t *)csv_bdev_mem_map(dev) + (size_t)block * 4096, n = fuzz_u8(in) % 32 + 1;
	unsigned at = how % 4096;

	if (at + n > 4096)
		n = (uint8_t)(4096 - at);
	fuzz_take(in, page + at, n);
	if (how < 0xf000)
		csv_block_seal(page, block);
}

static void ignore(void *arg, const struct csv_finding *f)
{
}

static void check(struct csv_bdev *dev)
{
	static const struct csv_check_opts opts = { .max_per_code = 20 };
	struct csv_check_summary sum;
	struct csv_why why;

	csv_why_init(&why);
	csv_check_run(dev, csv_env_system(), &opts, ignore, NULL, &sum, &why);
}

static bool on_entry(void *arg, const char *name, struct csv_iref ref, uint8_t type, uint64_t cookie)
{
	unsigned *left = arg;

	return --*left > 0;
}

/* As a mount that is used does. */
static void use(struct csv_bdev *dev, const struct csv_super *sb)
{
	static struct vol v;
	struct csv_iref root = { sb->root_inode, 0 }, ref;
	struct csv_attr a;
	unsigned left = 500;
	uint32_t nlink;

	memset(&v, 0, sizeof(v));
	v.dev = dev;
	if (csv_fs_open(&v.fs, dev, csv_env_system(), false, 0, 9, NULL) != CSV_OK)
		return;
	csv_journal_set_interval(&v.fs, 0);
	v.ctx.fs = &v.fs;
	csv_readdir(&v.ctx, root, 0, on_entry, &left);
	if (csv_lookup(&v.ctx, root, "dir", &ref) == CSV_OK) {
		csv_getattr(&v.ctx, ref, &a);
		csv_lookup(&v.ctx, ref, "name 7, long enough for a tree of nodes", &ref);
	}
	for (uint32_t ag = 0; ag < v.fs.sb.ag_count && ag < 8; ag++)
		csv_agset_add(&v.ctx.ags, ag);
	if (csv_lookup(&v.ctx, root, "disk.vhd", &ref) == CSV_OK) {
		csv_getattr(&v.ctx, ref, &a);
		csv_fallocate(&v.ctx, ref, 0, 0, 1 << 20, NULL);
		csv_unlink(&v.ctx, root, "disk.vhd", ref, &nlink, NULL);
	}
	csv_fs_close(&v.fs);
}

static void run(const uint8_t *data, size_t len)
{
	struct fuzz_in in = { data, len };
	struct csv_super sb;
	struct csv_bdev *dev;
	struct csv_slot slot;
	struct csv_why why;
	const struct template *t;

	if (!templates[0].n)
		make_templates();
	t = &templates[fuzz_u8(&in) & 1];
	CSV_ASSERT(csv_bdev_mem_private(t->fd, &t->geo, &dev) == CSV_OK);
	for (unsigned i = 0; i < 16 && fuzz_more(&in); i++)
		change(dev, t, &in);
	check(dev);
	csv_why_init(&why);
	if (csv_super_read(dev, &sb, &why) == CSV_OK) {
		for (uint32_t s = 0; s < sb.slots && s < 3; s++) {
			csv_slot_read(dev, &sb, s, &slot, NULL);
			csv_replay(dev, &sb, s, true, NULL, NULL, NULL);
		}
		check(dev);
		use(dev, &sb);
	}
	csv_bdev_close(dev);
}

static size_t seed(unsigned i, uint8_t *data)
{
	/* A field of the header, one of the body, the end: of some blocks each. */
	const uint16_t at[] = { 32, 40, 64, 72, 80, 128, 4080, 0xf050 };
	struct fuzz_out out = { data, 0 };

	if (i >= 64)
		return 0;
	fuzz_put8(&out, (uint8_t)i);
	for (uint16_t k = 0; k < 4; k++) {
		uint16_t block = (uint16_t)(i * 5 + k * 3);

		fuzz_put(&out, &block, sizeof(block));
		fuzz_put(&out, &at[(i + k) % 8], sizeof(at[0]));
		fuzz_put8(&out, 3);
		fuzz_put(&out, "\x01\x00\x00\x00", 4);
	}
	return out.len;
}

const struct fuzz_target fuzz_volume = { "volume", run, seed };
