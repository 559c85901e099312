/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "lib/env.h"

static uint64_t system_mono_ns(struct csv_env *env)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void system_wall(struct csv_env *env, int64_t *sec, uint32_t *nsec)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	*sec = ts.tv_sec;
	*nsec = (uint32_t)ts.tv_nsec;
}

static void system_random(struct csv_env *env, void *buf, size_t len)
{
	unsigned char *p = buf;

	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			abort(); /* UUIDs and keys must not be guessable or repeated */
		p += n;
		len -= (size_t)n;
	}
}

struct csv_env *csv_env_system(void)
{
	static struct csv_env env = { system_mono_ns, system_wall, system_random };

	return &env;
}
