// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lock-bench cpg|dlm SLOT CLUSTER a|b: one of two that measure on two nodes. It says "ready", then obeys standard
 * input, a measurement a line, "KIND ID COUNT", and answers each with a line of JSON. It ends with its input.
 *
 * KIND is cached, first, pingpong; cpg-own, cpg-pingpong; with the DLM also dlm-first, dlm-pingpong. The pingpongs must
 * run on both nodes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/bench.h"

#define NODES 2u

static char kind[32]; /* of the measurement that runs */

uint64_t bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

_Noreturn void bench_fail(const char *what)
{
	fprintf(stderr, "lock-bench: %s%s%s\n", kind, *kind ? ": " : "", what);
	exit(1);
}

void bench_begin(struct bench_samples *s, size_t want)
{
	s->ns = calloc(want, sizeof(*s->ns));
	s->n = 0;
	s->want = want;
	if (!s->ns || !want)
		bench_fail("no room for so many samples");
}

bool bench_add(struct bench_samples *s, uint64_t ns)
{
	if (s->n < s->want)
		s->ns[s->n++] = ns;
	return s->n == s->want;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

void bench_tell(struct bench_samples *s)
{
	qsort(s->ns, s->n, sizeof(*s->ns), by_size);
	printf("{\"n\": %zu, \"p50_us\": %.2f, \"p99_us\": %.2f}\n", s->n, (double)s->ns[s->n / 2] / 1e3,
	       (double)s->ns[s->n * 99 / 100] / 1e3);
	fflush(stdout);
	free(s->ns);
}

static void measure(uint64_t id, size_t n, bool a)
{
	if (!strcmp(kind, "cached"))
		cached_measure(n);
	else if (!strcmp(kind, "first"))
		engine_first(id, n);
	else if (!strcmp(kind, "pingpong"))
		engine_pingpong(id, n);
	else if (!strcmp(kind, "cpg-own"))
		cpg_own(n);
	else if (!strcmp(kind, "cpg-pingpong"))
		cpg_pingpong(id, n, a);
	else if (!strcmp(kind, "dlm-first"))
		dlm_first(id, n);
	else if (!strcmp(kind, "dlm-pingpong"))
		dlm_pingpong(id, n);
	else
		bench_fail("no such measurement");
}

int main(int count, char **words)
{
	char line[128];
	unsigned long long id;
	size_t n;

	if (count != 5) {
		fprintf(stderr, "usage: lock-bench cpg|dlm SLOT CLUSTER a|b\n");
		return 2;
	}
	bool dlm = !strcmp(words[1], "dlm");
	engine_open(words[1], (unsigned)atoi(words[2]), words[3]);
	cpg_open(NODES);
	if (dlm)
		dlm_open();
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "%31s %llu %zu", kind, &id, &n) != 3)
			bench_fail("KIND ID COUNT");
		measure(id, n, words[4][0] == 'a');
	}
	if (dlm)
		dlm_close();
	engine_close();
	return 0;
}
