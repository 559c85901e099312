/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One crash image: recovered, checked, compared. */
#include <stdlib.h>
#include <string.h>

#include "fs/disk/super.h"
#include "tools/check/check.h"
#include "crash.h"

struct first_finding {
	bool any;
	struct csv_finding f;
};

static void on_finding(void *arg, const struct csv_finding *f)
{
	struct first_finding *first = arg;

	if (f->note || first->any)
		return;
	first->any = true;
	first->f = *f;
}

bool crash_check_clean(struct crash *c, struct csv_bdev *dev, const char *when)
{
	struct first_finding first = { 0 };
	struct csv_check_summary sum;
	struct csv_why why;

	csv_why_init(&why);
	if (csv_check_run(dev, csv_env_system(), NULL, on_finding, &first, &sum, &why) != CSV_OK)
		return crash_failed(c, "check %s: %s", when, why.text);
	if (sum.findings)
		return crash_failed(c, "check %s: %llu findings, first %s, block %lld, inode %llu: %s", when,
				    (unsigned long long)sum.findings, first.f.code, (long long)first.f.block,
				    (unsigned long long)first.f.inode, first.f.text);
	return true;
}

/* What the marks before the cut say. */
static void bounds_at(struct crash *c, size_t cut, struct crash_bounds *b)
{
	*b = (struct crash_bounds){ 0 };
	for (size_t i = 0; i <= cut; i++) {
		const struct csv_record_entry *e = csv_record_entry(c->dev, i);
		uint32_t n = (uint32_t)e->mark;

		if (e->kind != CSV_RECORD_MARK)
			continue;
		if (e->mark >> 32 == CRASH_META && n > b->meta)
			b->meta = n;
		else if (e->mark >> 32 == CRASH_BEGIN && n > b->begun)
			b->begun = n;
		else if (e->mark >> 32 == CRASH_DATA && n > b->syncs)
			b->syncs = n;
	}
}

static bool between(uint64_t v, uint64_t a, uint64_t b)
{
	return a < b ? v >= a && v <= b : v >= b && v <= a;
}

/* Whether what is there can be the state after operation k, or on the way to the next one. */
static bool state_is(const struct crash *c, const struct crash_state *now, uint32_t k, uint32_t begun)
{
	const struct crash_state *s = &c->state[k], *next = k < begun && s->steps ? &c->state[k + 1] : NULL;

	if (now->names != s->names || now->nfiles != s->nfiles)
		return false;
	for (unsigned i = 0; i < s->nfiles; i++) {
		const struct crash_file *f = crash_state_find(now, s->file[i].ref);
		const struct crash_file *to = next ? crash_state_find(next, s->file[i].ref) : NULL;

		if (!f || !(to ? between(f->size, s->file[i].size, to->size) : f->size == s->file[i].size))
			return false;
	}
	return true;
}

static bool compare(struct crash *c, struct csv_bdev *image, const struct crash_bounds *b)
{
	struct crash_state now;
	struct csv_fs fs;
	struct csv_why why;
	uint32_t k;
	bool good;

	csv_why_init(&why);
	if (csv_fs_open(&fs, image, csv_env_system(), true, CSV_SLOT_NONE, 0, &why) != CSV_OK)
		return crash_failed(c, "open: %s", why.text);
	good = crash_walk(c, &fs, &now);
	for (k = b->meta; good && k <= b->begun; k++)
		if (state_is(c, &now, k, b->begun))
			break;
	if (good && k > b->begun) {
		for (k = 0; k < b->meta && !state_is(c, &now, k, b->begun); k++)
			;
		if (k < b->meta)
			good =
			    crash_failed(c, "operation %u was acknowledged, but the state is that of %u", b->meta, k);
		else
			good =
			    crash_failed(c, "the state is none of those after operations %u to %u", b->meta, b->begun);
	}
	good = good && crash_check_data(c, &fs, &now, k, b);
	crash_state_free(&now);
	csv_fs_close(&fs);
	return good;
}

/* Cuts the power again, in the middle of the replay. */
static bool torn_replay(struct crash *c, struct csv_bdev **image, uint64_t seed)
{
	struct csv_bdev *rec, *again;
	uint64_t rng = seed;
	bool good;
	size_t n;

	if (csv_record_open(*image, &rec) != CSV_OK)
		return crash_failed(c, "no recorder for the replay");
	*image = rec;
	good = crash_replay(c, rec);
	n = csv_record_count(rec);
	if (!good || !n)
		return good;
	c->torn_replays++;
	if (csv_record_crash(rec, csv_rng_next(&rng) % n, seed + 2, &again) != CSV_OK)
		return crash_failed(c, "no image of the replay");
	csv_bdev_close(rec);
	*image = again;
	return true;
}

/* The volume is not only whole but goes on to work: mount, finish the orphans, change something, unmount. */
static bool live_on(struct crash *c, struct csv_bdev *image)
{
	struct crash_node *n = calloc(1, sizeof(*n));
	struct csv_new what = { .mode = S_IFREG | 0644 };
	struct csv_iref *orphan = NULL;
	size_t count = 0;
	bool good;

	if (!n)
		abort();
	c->remounts++;
	good = crash_mount(c, image, 0, n) && csv_orphan_list(&n->fs, 0, &orphan, &count) == CSV_OK;
	for (size_t i = 0; good && i < count; i++)
		good = CRASH_RUN(n, csv_inode_destroy(&n->ctx, orphan[i])) == CSV_OK;
	if (good) {
		enum csv_err err = CRASH_RUN(
		    n, csv_create(&n->ctx, (struct csv_iref){ c->sb.root_inode, 0 }, "live on.img", &what, NULL, NULL));

		good = err == CSV_OK || err == CSV_NOSPC;
	}
	if (!good)
		crash_failed(c, "the recovered volume does not take changes");
	free(orphan);
	good = crash_umount(c, n) && good;
	free(n);
	return good && crash_check_clean(c, image, "after going on");
}

bool crash_image(struct crash *c, size_t cut, uint64_t seed, unsigned number)
{
	struct crash_bounds b;
	struct csv_bdev *image;
	bool good = true;

	c->images++;
	bounds_at(c, cut, &b);
	if (csv_record_crash(c->dev, cut, seed, &image) != CSV_OK)
		return crash_failed(c, "no crash image");
	if (number % 8 == 1)
		good = crash_check_clean(c, image, "as found");
	if (good && number % 8 == 2)
		good = torn_replay(c, &image, seed);
	good = good && crash_recover(c, image) && crash_check_clean(c, image, "after replay") && compare(c, image, &b);
	if (good && number % 8 == 3)
		good = live_on(c, image);
	if (!good) {
		char what[sizeof(c->failure)];

		memcpy(what, c->failure, sizeof(what));
		snprintf(c->failure, sizeof(c->failure), "%.700s [cut %zu of %zu, seed %llu]", what, cut,
			 csv_record_count(c->dev), (unsigned long long)seed);
	}
	csv_bdev_close(image);
	return good;
}
