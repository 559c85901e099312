/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Waiting for space at the array: patient requests are sent again, less and less often. */
#include <time.h>

#include "lib/bdev_impl.h"

#define BACKOFF_MIN_MS 50u
#define BACKOFF_MAX_MS 2000u
#define TICK_MS 50u /* a device that is stopped is noticed so late */

void csv_bdev_on_full(struct csv_bdev *dev, struct csv_bdev_full *full, void (*tell)(void *arg, bool waits), void *arg)
{
	*full = (struct csv_bdev_full){ .tell = tell, .arg = arg };
	pthread_mutex_init(&full->lock, NULL);
	dev->full = full;
}

/* Told under the lock, or else "nobody waits" could overtake the next "somebody does". */
static void count(struct csv_bdev_full *full, int n)
{
	pthread_mutex_lock(&full->lock);
	full->waiting += (unsigned)n;
	if (full->waiting == (n > 0 ? 1u : 0u))
		full->tell(full->arg, n > 0);
	pthread_mutex_unlock(&full->lock);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void csv_bdev_full_at_most(struct csv_bdev *dev, unsigned ms)
{
	if (dev->full)
		__atomic_store_n(&dev->full->until_ms, now_ms() + ms, __ATOMIC_SEQ_CST);
}

static bool over(const struct csv_bdev *dev)
{
	uint64_t until = __atomic_load_n(&dev->full->until_ms, __ATOMIC_SEQ_CST);

	return csv_bdev_stopped(dev) || (until && now_ms() >= until);
}

/* False: the wait is over. */
static bool rest(const struct csv_bdev *dev, unsigned ms)
{
	struct timespec tick = { .tv_nsec = TICK_MS * 1000000 };

	for (unsigned t = 0; t < ms && !over(dev); t += TICK_MS)
		nanosleep(&tick, NULL);
	return !over(dev);
}

bool csv_bdev_wait_space(struct csv_bdev *dev, struct csv_space_wait *w, enum csv_err err)
{
	bool again = err == CSV_LUNFULL && dev->full;

	if (again && !w->backoff_ms) {
		w->backoff_ms = BACKOFF_MIN_MS;
		count(dev->full, 1);
	}
	if (again && rest(dev, w->backoff_ms)) {
		w->backoff_ms = w->backoff_ms * 2 < BACKOFF_MAX_MS ? w->backoff_ms * 2 : BACKOFF_MAX_MS;
		return true;
	}
	if (w->backoff_ms)
		count(dev->full, -1);
	w->backoff_ms = 0;
	return false;
}
