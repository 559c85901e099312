/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lock-bench: what a lock costs, and what the messages below it cost. Each measurement is of one node, or of a pair. */
#ifndef TESTS_BENCH_H
#define TESTS_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t bench_now(void); /* ns, monotonic */
_Noreturn void bench_fail(const char *what);

/* Samples of one measurement, in ns; the measurement is over when it is full. */
struct bench_samples {
	uint64_t *ns;
	size_t n, want;
};
void bench_begin(struct bench_samples *s, size_t want);
bool bench_add(struct bench_samples *s, uint64_t ns); /* true: that was the last one */
/* A line of JSON with the percentiles, in us; frees them. */
void bench_tell(struct bench_samples *s);

/*
 * `a` and `b` in the pairs' measurements: both nodes run them at the same time with the same id, which no measurement
 * had before; `a` begins where somebody has to.
 */
void cached_measure(size_t n); /* a hold of a lock that the node's cache has */

void engine_open(const char *engine, unsigned slot, const char *cluster);
void engine_first(uint64_t id, size_t n);    /* LOCK EX of what nobody has, to its GRANT */
void engine_pingpong(uint64_t id, size_t n); /* a handover of a lock that both want */
void engine_close(void);

void cpg_open(unsigned members); /* returns when there are so many */
void cpg_own(size_t n);		 /* a message, to its delivery at the sender */
void cpg_pingpong(uint64_t id, size_t n, bool a);

void dlm_open(void);
void dlm_first(uint64_t id, size_t n);
void dlm_pingpong(uint64_t id, size_t n);
void dlm_close(void);

#endif
