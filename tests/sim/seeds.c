/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process for each processor; the next seed is the next number for whoever is free.  Seeds are taken in ascending
 * order, so the lowest one that fails is the same whatever the processes do.  What a process counts lies in memory of
 * its own that all see; it is added up at the end.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/log.h"
#include "tests/sim/seeds.h"

#define WORKERS_MAX 16u
#define WHY_MAX 400u
/* Lines of a trace that are shown when not all are wanted. */
#define SHOWN 120

struct worker {
	pid_t pid;
	uint64_t running; /* seed; 0: none */
	uint64_t failed;
	char why[WHY_MAX];
};

/* Shared by all processes of a batch. The counts of all seeds and the workers' tallies follow. */
struct shared {
	_Atomic uint64_t next, failed;
	struct worker worker[WORKERS_MAX];
};

uint64_t sim_env(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s && *s ? strtoull(s, NULL, 10) : otherwise;
}

static size_t size_of(const struct sim_batch *b, unsigned workers)
{
	return sizeof(struct shared) + b->seeds * sizeof(struct sim_count) + workers * b->ntally * sizeof(uint64_t);
}

static uint64_t *tally_of(struct shared *sh, const struct sim_batch *b, unsigned worker)
{
	struct sim_count *counts = (struct sim_count *)(sh + 1);

	return (uint64_t *)(counts + b->seeds) + worker * b->ntally;
}

static void note_failure(struct shared *sh, struct worker *w, uint64_t seed, const char *why)
{
	uint64_t known = atomic_load(&sh->failed);

	w->failed = seed;
	snprintf(w->why, sizeof(w->why), "%s", why);
	while ((!known || seed < known) && !atomic_compare_exchange_weak(&sh->failed, &known, seed))
		;
}

static void work(struct shared *sh, const struct sim_batch *b, unsigned n)
{
	struct sim_count *counts = (struct sim_count *)(sh + 1);
	struct worker *w = &sh->worker[n];

	while (!atomic_load(&sh->failed) && (w->running = atomic_fetch_add(&sh->next, 1)) <= b->seeds) {
		char *why = b->run(w->running, tally_of(sh, b, n), &counts[w->running - 1]);

		if (why) {
			note_failure(sh, w, w->running, why);
			free(why);
			break;
		}
	}
	w->running = 0;
}

static void start(struct shared *sh, const struct sim_batch *b, unsigned n)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	CSV_ASSERT(pid >= 0);
	if (pid) {
		sh->worker[n].pid = pid;
		return;
	}
	work(sh, b, n);
	fflush(NULL);
	_exit(0);
}

/* A process that died did so in its seed: an assertion of the code under test. */
static void collect(struct shared *sh, unsigned n)
{
	struct worker *w = &sh->worker[n];
	char why[WHY_MAX];
	int status;

	while (waitpid(w->pid, &status, 0) != w->pid)
		;
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return;
	snprintf(why, sizeof(why), WIFSIGNALED(status) ? "killed by signal %d" : "exit status %d",
		 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	note_failure(sh, w, w->running, why);
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint32_t median(const struct sim_count *counts, size_t n, bool faults)
{
	uint32_t *v = malloc(n * sizeof(*v)), m;

	CSV_ASSERT(v);
	for (size_t i = 0; i < n; i++)
		v[i] = faults ? counts[i].faults : counts[i].events;
	qsort(v, n, sizeof(*v), by_number);
	m = v[n / 2];
	free(v);
	return m;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void print(const struct sim_batch *b, const struct shared *sh, unsigned workers, double took)
{
	const struct sim_count *counts = (const struct sim_count *)(sh + 1);

	printf("# %s: %llu schedules, %.0f a minute (%u processes), median %u events and %u faults a schedule\n",
	       b->name, (unsigned long long)b->seeds, (double)b->seeds * 60 / (took + 1e-9), workers,
	       median(counts, b->seeds, false), median(counts, b->seeds, true));
	fflush(stdout);
}

static char *why_of(const struct shared *sh, uint64_t seed)
{
	char *why = NULL;

	for (unsigned i = 0; i < WORKERS_MAX && !why; i++) {
		if (sh->worker[i].failed == seed)
			why = strdup(sh->worker[i].why);
	}
	CSV_ASSERT(why);
	return why;
}

uint64_t sim_batch_run(const struct sim_batch *b, uint64_t *tally, char **why)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned workers = cpus < 1 ? 1 : cpus > (long)WORKERS_MAX ? WORKERS_MAX : (unsigned)cpus;
	size_t size = size_of(b, workers);
	struct shared *sh = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double begin = seconds();
	uint64_t failed;

	CSV_ASSERT(sh != MAP_FAILED && b->seeds);
	atomic_init(&sh->next, 1);
	for (unsigned i = 0; i < workers; i++)
		start(sh, b, i);
	for (unsigned i = 0; i < workers; i++)
		collect(sh, i);
	for (unsigned i = 0; i < workers; i++) {
		for (size_t k = 0; k < b->ntally; k++)
			tally[k] += tally_of(sh, b, i)[k];
	}
	failed = atomic_load(&sh->failed);
	*why = failed ? why_of(sh, failed) : NULL;
	if (!failed)
		print(b, sh, workers, seconds() - begin);
	munmap(sh, size);
	return failed;
}

static void show(FILE *trace, bool all)
{
	unsigned lines = 0;
	int c;

	rewind(trace);
	while (!all && (c = getc(trace)) != EOF)
		lines += c == '\n';
	for (rewind(trace); lines > SHOWN && (c = getc(trace)) != EOF;)
		lines -= c == '\n';
	while ((c = getc(trace)) != EOF)
		putchar(c);
	fflush(stdout);
}

bool sim_replay(bool (*fn)(uint64_t seed, FILE *trace), uint64_t seed, bool all)
{
	FILE *trace = tmpfile();
	int status;
	pid_t pid;

	CSV_ASSERT(trace);
	setvbuf(trace, NULL, _IOLBF, 0); /* nothing is lost should it die */
	fflush(NULL);
	pid = fork();
	CSV_ASSERT(pid >= 0);
	if (!pid)
		_exit(!fn(seed, trace));
	while (waitpid(pid, &status, 0) != pid)
		;
	show(trace, all);
	fclose(trace);
	printf("replay: SEED=%llu\n", (unsigned long long)seed);
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

bool sim_batch_test(const struct sim_batch *b, uint64_t *tally, bool (*replay)(uint64_t seed, FILE *trace))
{
	uint64_t failed = sim_env("SEED", 0);
	char *why = NULL;

	if (failed) {
		assert_true(sim_replay(replay, failed, true));
		return false;
	}
	failed = sim_batch_run(b, tally, &why);
	if (failed) {
		sim_replay(replay, failed, false);
		fail_msg("seed %llu: %s", (unsigned long long)failed, why);
	}
	return true;
}
