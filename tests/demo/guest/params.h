/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the guest's recorder is told on the kernel's command line. */
#ifndef CSV_DEMO_PARAMS_H
#define CSV_DEMO_PARAMS_H

#include <stdint.h>

struct params {
	uint64_t start;	/* csv.start=N: first sequence number, one more than the last acknowledged */
	int find_start;	/* csv.start=auto (default): the recorder finds it on the disk */
	uint64_t count;	/* csv.count=N: records to write in this boot, 0 (default) for ever */
	uint64_t seed;	/* csv.seed=N: the same for all boots of one disk; default 1 */
};

/* Reads the parameters from @path; 0, or -1 with errno set (EINVAL: a value is no number). */
int params_read(const char *path, struct params *params);

#endif
