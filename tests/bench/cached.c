// SPDX-License-Identifier: GPL-2.0-or-later
/* A lock that the mount's cache has: what an operation pays for naming it. No message, so the engine does not matter.
 */
#include "fs/lock/cache.h"
#include "tests/bench/bench.h"

#define BATCH 100u /* holds in one sample: one alone is about as long as reading the clock */

void cached_measure(size_t n)
{
	struct csv_fs fs = { .env = csv_env_system() };
	struct csv_res res = csv_res(CSV_RES_INODE, 10);
	struct bench_samples s;
	struct csv_workq *workq;
	struct csv_engine *engine;
	struct csv_locks *locks;
	uint64_t began;

	if (csv_workq_new(1, &workq) != CSV_OK || csv_engine_local(&engine) != CSV_OK ||
	    csv_locks_new(&fs, workq, engine, NULL, &locks) != CSV_OK)
		bench_fail("no lock cache");
	bench_begin(&s, n);
	do {
		began = bench_now();
		for (unsigned i = 0; i < BATCH; i++) {
			struct csv_op op;

			csv_op_init(&op, locks, NULL, NULL);
			if (csv_hold(&op, res, CSV_EX) != CSV_OK)
				bench_fail("a cached lock is not there");
			csv_op_done(&op);
		}
	} while (!bench_add(&s, (bench_now() - began) / BATCH));
	csv_locks_free(locks);
	csv_workq_free(workq);
	bench_tell(&s);
}
