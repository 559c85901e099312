/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clock and random numbers as a vtable, so that tests and the simulator can
 * replace them.  Pure state machines do not even take this: time reaches them
 * as events.
 */
#ifndef CSV_LIB_ENV_H
#define CSV_LIB_ENV_H
#include <stddef.h>
#include <stdint.h>
struct csv_env {
	uint64_t (*mono_ns)(struct csv_env *env);               /* CLOCK_MONOTONIC */
	void (*wall)(struct csv_env *env, int64_t *sec, uint32_t *nsec); /* CLOCK_REALTIME */
	void (*random)(struct csv_env *env, void *buf, size_t len);
};
/* The system's. */
struct csv_env *csv_env_system(void);
/* splitmix64: the project's one seeded generator for tests and simulation. */
static inline uint64_t csv_rng_next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}
#endif
