/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A scenario: recorded once, then cut many times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "fs/disk/super.h"
#include "crash.h"

#define IMAGES_DEFAULT 500u
#define BLOCKS_DEFAULT 4096u /* 16 MiB */

bool crash_failed(struct crash *c, const char *fmt, ...)
{
	va_list ap;

	if (c->failure[0])
		return false;
	va_start(ap, fmt);
	vsnprintf(c->failure, sizeof(c->failure), fmt, ap);
	va_end(ap);
	return false;
}

uint64_t crash_seed(void)
{
	const char *env = getenv("SEED");

	return env ? strtoull(env, NULL, 0) : (uint64_t)time(NULL) * 1000003u + (uint64_t)clock();
}

unsigned crash_budget(void)
{
	const char *env = getenv("CRASH_N");
	unsigned long n = env ? strtoul(env, NULL, 0) : 0;

	return n ? (unsigned)n : IMAGES_DEFAULT;
}

/* ---- recording ------------------------------------------------------------------------ */

static bool format(struct crash *c)
{
	struct csv_format f = { .name = "crash",
				.cluster = "",
				.slots = CRASH_NODES,
				.blocks = c->shape.blocks,
				.ag_blocks = c->shape.ag_blocks,
				.journal_blocks = c->shape.journal_blocks };
	struct csv_bdev *mem;
	struct csv_why why;

	csv_why_init(&why);
	if (csv_bdev_mem(c->shape.blocks << CSV_BLOCK_SHIFT, c->shape.sector, &mem) != CSV_OK)
		return crash_failed(c, "no memory device");
	mem->geo.fua = !c->shape.no_fua;
	if (csv_format_write(mem, csv_env_system(), &f, &c->sb, &why) != CSV_OK) {
		csv_bdev_close(mem);
		return crash_failed(c, "format: %s", why.text);
	}
	if (c->shape.slow)
		mem = crash_slow(mem);
	if (csv_record_open(mem, &c->dev) != CSV_OK) {
		csv_bdev_close(mem);
		return crash_failed(c, "no recorder");
	}
	return true;
}

static bool setup(struct crash *c)
{
	c->states_room = 64;
	c->state = calloc(c->states_room, sizeof(*c->state));
	if (!c->state || csv_workq_new(3, &c->workq) != CSV_OK)
		return crash_failed(c, "no memory");
	c->me = &c->node[0];
	if (!format(c) || !crash_mount(c, c->dev, 0, c->me) || !crash_walk(c, &c->me->fs, &c->state[0]))
		return false;
	/* From here on; what a cut between format and mount leaves is another test. */
	return csv_record_reset(c->dev) == CSV_OK || crash_failed(c, "recorder");
}

/* ---- cutting --------------------------------------------------------------------------- */

/* Places where to cut: after and right before each flush or FUA write, in *cuts, which is to be freed. */
static size_t list_cuts(struct crash *c, size_t **cuts)
{
	size_t n = csv_record_count(c->dev), found = 0;
	size_t *list = malloc((2 * n + 2) * sizeof(*list));

	if (!list)
		abort();
	for (size_t i = 0; i < n; i++) {
		const struct csv_record_entry *e = csv_record_entry(c->dev, i);

		if (e->kind == CSV_RECORD_FLUSH || (e->kind == CSV_RECORD_WRITE && e->flags & CSV_IO_FUA)) {
			if (i > 0 && (!found || list[found - 1] != i - 1))
				list[found++] = i - 1;
			list[found++] = i;
		}
	}
	if (n && (!found || list[found - 1] != n - 1))
		list[found++] = n - 1;
	*cuts = list;
	return found;
}

/*
 * The first two rounds visit every cut, however small the budget: all that was not flushed is there, and none of it.
 * Then cuts at random, every fifth anywhere at all, that lose, tear and reorder, until the budget is used up.
 */
static bool cut_all(struct crash *c, unsigned images)
{
	size_t *cuts, n = list_cuts(c, &cuts), total = csv_record_count(c->dev);
	bool good = n > 0 || crash_failed(c, "nothing was written");
	unsigned number = 0;

	c->cuts = (unsigned)n;
	for (uint64_t seed = 0; seed < 2; seed++) {
		for (size_t i = 0; good && i < n; i++)
			good = crash_image(c, cuts[i], seed, number++);
	}
	while (good && number < images) {
		size_t cut = number % 5 == 4 ? csv_rng_next(&c->rng) % total : cuts[csv_rng_next(&c->rng) % n];

		good = crash_image(c, cut, csv_rng_next(&c->rng) | 2, number++);
	}
	free(cuts);
	return good;
}

static uint64_t now_ns(void)
{
	struct csv_env *env = csv_env_system();

	return env->mono_ns(env);
}

bool crash_run(struct crash *c, const struct crash_scenario *s, uint64_t seed, unsigned images)
{
	uint64_t start = now_ns();
	bool good;

	memset(c, 0, sizeof(*c));
	crash_env_init(c);
	c->name = s->name;
	c->seed = seed;
	c->rng = seed;
	c->shape = s->shape;
	if (!c->shape.blocks)
		c->shape.blocks = BLOCKS_DEFAULT;
	if (!c->shape.ag_blocks)
		c->shape.ag_blocks = 1024;
	if (!c->shape.journal_blocks)
		c->shape.journal_blocks = CSV_JOURNAL_BLOCKS_MIN;
	if (!c->shape.sector)
		c->shape.sector = 512;
	good = setup(c);
	if (good) {
		s->run(c);
		good = crash_good(c);
	}
	for (unsigned i = 0; i < CRASH_NODES; i++)
		crash_kill(&c->node[i]); /* writes nothing more */
	good = good && cut_all(c, images ? images : crash_budget());
	c->ns = now_ns() - start;
	return good;
}

void crash_free(struct crash *c)
{
	for (unsigned i = 0; i < CRASH_NODES; i++)
		crash_kill(&c->node[i]);
	csv_workq_free(c->workq);
	for (uint32_t i = 0; c->state && i <= c->op; i++)
		crash_state_free(&c->state[i]);
	free(c->state);
	free(c->event);
	free(c->synced);
	csv_bdev_close(c->dev);
}

/* ---- tests -------------------------------------------------------------------------------- */

static void run_one(const struct crash_scenario *s, uint64_t seed, unsigned images)
{
	static struct crash c;
	bool good = crash_run(&c, s, seed, images);

	printf("crash %s: sectors %u%s, %u operations, %u cuts, %u images (%u mounted on, %u cut in replay), %.2f s, "
	       "SEED=%llu\n",
	       s->name, c.shape.sector, c.shape.no_fua ? ", no FUA" : "", c.op, c.cuts, c.images, c.remounts,
	       c.torn_replays, (double)c.ns / 1e9, (unsigned long long)seed);
	if (!good)
		print_error("crash %s: %s\n", s->name, c.failure);
	crash_free(&c);
	if (!good)
		fail_msg("crash %s: SEED=%llu", s->name, (unsigned long long)seed);
}

void crash_test(const struct crash_scenario *s)
{
	struct crash_scenario one = *s;
	uint64_t seed = crash_seed();
	unsigned images = crash_budget();

	run_one(&one, seed, images / 2 + 1);
	one.shape.sector = 4096;
	run_one(&one, seed, images / 4 + 1);
	one.shape.sector = 512;
	one.shape.no_fua = true;
	run_one(&one, seed, images / 4 + 1);
}
