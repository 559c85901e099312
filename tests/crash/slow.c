/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device whose writes take their time, so that what goes on beside them really does. */
#include <stdlib.h>
#include <time.h>

#include "crash.h"

#define WRITE_NS 30000

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
