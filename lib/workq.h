/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pool of worker threads for short pieces of work. */
#ifndef CSV_LIB_WORKQ_H
#define CSV_LIB_WORKQ_H

#include "csv/err.h"
#include "lib/list.h"

struct csv_work {
	struct csv_list link;
	void (*fn)(struct csv_work *work);
};

struct csv_workq;
enum csv_err csv_workq_new(unsigned threads, struct csv_workq **q);
/* FIFO start; never blocks. The work is the caller's until fn runs, then fn's. */
void csv_workq_add(struct csv_workq *q, struct csv_work *work);
/* Waits until all work is done, ends the threads. */
void csv_workq_free(struct csv_workq *q);

#endif
