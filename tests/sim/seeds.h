/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many seeds, one after the other, on all processors.  A seed decides its whole run, so it does not matter which process
 * runs it: whatever fails fails again with SEED=n in one process.
 */
#ifndef CSV_TESTS_SEEDS_H
#define CSV_TESTS_SEEDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Of one schedule. */
struct sim_count {
	uint32_t events; /* that something under test was given */
	uint32_t faults;
};

/* Runs one seed. NULL: nothing wrong; else why, to be freed. */
typedef char *(*sim_seed_fn)(uint64_t seed, uint64_t *tally, struct sim_count *count);

struct sim_batch {
	const char *name; /* for people */
	sim_seed_fn run;
	uint64_t seeds; /* 1..seeds */
	size_t ntally;	/* counters of run's own */
};

/*
 * Runs the seeds.  tally: ntally counters, to which all seeds' are added.  0: all went well, and a line that begins with
 * '#' was printed; else the lowest seed that fails, and why, to be freed.
 */
uint64_t sim_batch_run(const struct sim_batch *b, uint64_t *tally, char **why);

/*
 * Runs a seed once more, in a process of its own, and prints its trace: the last lines of it, or all.  fn writes the
 * trace and ends with what went wrong.  An assertion that fails ends the trace too.  False: something went wrong.
 */
bool sim_replay(bool (*fn)(uint64_t seed, FILE *trace), uint64_t seed, bool all);

/*
 * What a test of seeds does first: with SEED in the environment it replays that one, with its whole trace, and that was
 * all (false).  Else it runs the batch, and fails with the trace of the lowest seed that does.
 */
bool sim_batch_test(const struct sim_batch *b, uint64_t *tally, bool (*replay)(uint64_t seed, FILE *trace));

/* A number from the environment, or what is to be taken without it. */
uint64_t sim_env(const char *name, uint64_t otherwise);

#endif
