/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Spans of blocks of one file in use: many at once shared, one alone exclusive.  Nobody waits
 * in a thread: who cannot have his span gets it later by granted().  First come, first
 * served: a request also waits behind an earlier waiter that it overlaps, so that a
 * stream of readers does not starve a writer.
 */
#ifndef CSV_DATA_SPAN_H
#define CSV_DATA_SPAN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/list.h"

struct csv_spans {
	pthread_mutex_t lock; /* covers both lists */
	struct csv_list held, waiting;
};

/* One holder or waiter; first, last and excl are set by the caller. */
struct csv_span {
	struct csv_list link, wake; /* private */
	uint64_t first, last;	    /* blocks, last included; UINT64_MAX: to the end */
	bool excl;
	void (*granted)(struct csv_span *r); /* in the thread of whoever unlocked: short, no lock of the file held */
};

void csv_spans_init(struct csv_spans *rs);
void csv_spans_destroy(struct csv_spans *rs);
/* True: held from now on. False: granted() will be called once it is. */
bool csv_span_lock(struct csv_spans *rs, struct csv_span *r);
/* Calls granted() of those whose turn has come. */
void csv_span_unlock(struct csv_spans *rs, struct csv_span *r);

#endif
