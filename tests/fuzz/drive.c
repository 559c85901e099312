/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inputs without libFuzzer: they follow from a seed, so every failure can be run again. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/env.h"
#include "tests/fuzz/fuzz.h"

#define SEEDS_MAX 128u
#define CHANGES 8u

static uint8_t seeds[SEEDS_MAX][FUZZ_MAX];
static size_t lens[SEEDS_MAX];
static unsigned nseeds;

/* Said if the program dies in it. */
static char now[128];

static void on_death(int sig)
{
	ssize_t n = write(STDERR_FILENO, now, strlen(now));

	(void)n;
	signal(sig, SIG_DFL);
	raise(sig);
}

/* With the sanitizers there is no signal. */
void __sanitizer_set_death_callback(void (*fn)(void)) __attribute__((weak));

static void say_now(void)
{
	ssize_t n = write(STDERR_FILENO, now, strlen(now));

	(void)n;
}

static void load(const struct fuzz_target *t)
{
	for (nseeds = 0; nseeds < SEEDS_MAX; nseeds++) {
		lens[nseeds] = t->seed(nseeds, seeds[nseeds]);
		if (!lens[nseeds])
			break;
	}
	assert_true(nseeds > 0);
}

static uint64_t pick(uint64_t *rng, uint64_t n)
{
	return csv_rng_next(rng) % n;
}

static size_t insert(uint8_t *data, size_t len, uint64_t *rng)
{
	size_t at = pick(rng, len + 1), n = 1 + pick(rng, 8);

	if (len + n > FUZZ_MAX)
		return len;
	memmove(data + at + n, data + at, len - at);
	for (size_t i = 0; i < n; i++)
		data[at + i] = (uint8_t)pick(rng, 256);
	return len + n;
}

static size_t cut(uint8_t *data, size_t len, uint64_t *rng)
{
	size_t at = pick(rng, len), n = 1 + pick(rng, 16);

	if (n > len - at)
		n = len - at;
	memmove(data + at, data + at + n, len - at - n);
	return len - n;
}

/* A part of another seed over, or behind, what is there. */
static size_t splice(uint8_t *data, size_t len, uint64_t *rng)
{
	unsigned s = (unsigned)pick(rng, nseeds);
	size_t from = pick(rng, lens[s]), n = lens[s] - from, at = pick(rng, len + 1);

	if (n > FUZZ_MAX - at)
		n = FUZZ_MAX - at;
	memcpy(data + at, seeds[s] + from, n);
	return at + n > len ? at + n : len;
}

static size_t change(uint8_t *data, size_t len, uint64_t *rng)
{
	static const uint8_t odd[] = { 0, 1, 2, 0x7f, 0x80, 0xfe, 0xff };
	size_t at;

	if (!len)
		return insert(data, len, rng);
	at = pick(rng, len);
	switch (pick(rng, 8)) {
	case 0:
		return insert(data, len, rng);
	case 1:
		return cut(data, len, rng);
	case 2:
		return splice(data, len, rng);
	case 3:
		data[at] ^= (uint8_t)(1u << pick(rng, 8));
		return len;
	case 4:
		data[at] = odd[pick(rng, sizeof(odd))];
		return len;
	case 5:
		memset(data + at, odd[pick(rng, sizeof(odd))], len - at < 8 ? len - at : 8);
		return len;
	default:
		data[at] = (uint8_t)pick(rng, 256);
		return len;
	}
}

/* Input n follows from seed and n alone. */
static void run_one(const struct fuzz_target *t, uint64_t seed, uint64_t n)
{
	uint8_t data[FUZZ_MAX], *exact;
	uint64_t rng = seed ^ n * 0x9e3779b97f4a7c15ull;
	unsigned s = (unsigned)pick(&rng, nseeds), changes = 1 + (unsigned)pick(&rng, CHANGES);
	size_t len = lens[s];

	memcpy(data, seeds[s], len);
	while (changes--)
		len = change(data, len, &rng);
	/* Of its own size, so that the sanitizers see what is read beyond. */
	exact = malloc(len ? len : 1);
	assert_non_null(exact);
	memcpy(exact, data, len);
	snprintf(now, sizeof(now), "\nFUZZ_SEED=%llu FUZZ_ONE=%llu, target %s\n", (unsigned long long)seed,
		 (unsigned long long)n, t->name);
	t->run(exact, len);
	free(exact);
}

static uint64_t from_env(const char *name, uint64_t otherwise)
{
	const char *v = getenv(name);

	return v ? strtoull(v, NULL, 0) : otherwise;
}

static void test_target(void **state)
{
	const struct fuzz_target *t = *state;
	uint64_t seed = from_env("FUZZ_SEED", 1), n = from_env("FUZZ_N", 3000);

	load(t);
	signal(SIGABRT, on_death);
	signal(SIGSEGV, on_death);
	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(say_now);
	for (unsigned i = 0; i < nseeds; i++) {
		snprintf(now, sizeof(now), "\nsound input %u, target %s\n", i, t->name);
		t->run(seeds[i], lens[i]);
	}
	t->run(NULL, 0);
	if (getenv("FUZZ_ONE")) {
		run_one(t, seed, from_env("FUZZ_ONE", 0));
		return;
	}
	for (uint64_t i = 0; i < n; i++)
		run_one(t, seed, i);
}

static int write_corpus(const char *dir, const struct fuzz_target *const *targets, unsigned n)
{
	char path[512];

	for (unsigned i = 0; i < n; i++) {
		load(targets[i]);
		snprintf(path, sizeof(path), "%s/%s", dir, targets[i]->name);
		mkdir(path, 0755);
		for (unsigned s = 0; s < nseeds; s++) {
			FILE *f;

			snprintf(path, sizeof(path), "%s/%s/seed-%u", dir, targets[i]->name, s);
			f = fopen(path, "we");
			if (!f || fwrite(seeds[s], 1, lens[s], f) != lens[s] || fclose(f))
				return 1;
		}
	}
	return 0;
}

int fuzz_drive(const char *group, const struct fuzz_target *const *targets, unsigned n)
{
	struct CMUnitTest *tests = calloc(n, sizeof(*tests));
	int failed;

	if (!tests)
		return 1;
	if (getenv("FUZZ_CORPUS")) {
		free(tests);
		return write_corpus(getenv("FUZZ_CORPUS"), targets, n);
	}
	for (unsigned i = 0; i < n; i++)
		tests[i] = (struct CMUnitTest){ .name = targets[i]->name,
						.test_func = test_target,
						.initial_state = (void *)(uintptr_t)targets[i] };
	failed = _cmocka_run_group_tests(group, tests, n, NULL, NULL);
	free(tests);
	return failed;
}
