/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What takes its time, so that something else goes on beside it: writes, and transactions. */
#include <stdlib.h>
#include <time.h>

#include "crash.h"

#define WRITE_NS 30000
#define DRAG_NS 50000

struct slow {
	struct csv_bdev dev;
	struct csv_bdev *below;
};

static void slow_submit(struct csv_bdev *dev, struct csv_io *io)
{
	struct slow *s = (struct slow *)dev;
	const struct timespec ts = { .tv_nsec = WRITE_NS };

	if (io->op == CSV_IO_WRITE)
		nanosleep(&ts, NULL);
	csv_bdev_submit(s->below, io);
}

static void slow_close(struct csv_bdev *dev)
{
	struct slow *s = (struct slow *)dev;

	csv_bdev_close(s->below);
	free(s);
}

static const struct csv_bdev_ops slow_ops = {
	.name = "slow",
	.submit = slow_submit,
	.close = slow_close,
};

struct csv_bdev *crash_slow(struct csv_bdev *below)
{
	struct slow *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	s->dev.ops = &slow_ops;
	s->dev.geo = below->geo;
	s->below = below;
	return &s->dev;
}

static uint64_t env_mono(struct csv_env *env)
{
	(void)env;
	return csv_env_system()->mono_ns(csv_env_system());
}

/* Called with fs->meta held: a commit that waits for it gets it next. */
static void env_wall(struct csv_env *env, int64_t *sec, uint32_t *nsec)
{
	const struct timespec ts = { .tv_nsec = DRAG_NS };

	if (((struct crash *)env)->drag)
		nanosleep(&ts, NULL);
	csv_env_system()->wall(csv_env_system(), sec, nsec);
}

static void env_random(struct csv_env *env, void *buf, size_t len)
{
	(void)env;
	csv_env_system()->random(csv_env_system(), buf, len);
}

void crash_env_init(struct crash *c)
{
	c->env = (struct csv_env){ .mono_ns = env_mono, .wall = env_wall, .random = env_random };
}
