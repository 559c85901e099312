/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Open files of this mount, by registry number: what the kernel gets as file handle is
 * the number, never a pointer.  The kernel sends RELEASE after the last request that uses
 * a handle, so one that was found stays valid for its request.
 */
#ifndef CSV_FUSE_HANDLE_H
#define CSV_FUSE_HANDLE_H

#include "fs/data/io.h"
#include "lib/list.h"

struct csv_lease_ref; /* fs/lock */

struct csv_handle {
	struct csv_list link;           /* in its hash chain */
	uint64_t id;
	struct csv_iref ref;
	struct csv_file *file;          /* held */
	int flags;                      /* open(2)'s */
	bool writable;
	bool image;
	uint32_t pid;                   /* thread group that opened it */
	_Atomic uint64_t err_seen;      /* lost writes already told (J4): csv_data_req.err_seen */
	_Atomic bool revoked;           /* H5: its image has gone to another node; reads and writes fail, all else succeeds */
	_Atomic uint64_t last_io_ns;    /* image: CLOCK_MONOTONIC of the last acknowledged write; 0: none yet */
	_Atomic bool trace_first;       /* tell the next completion: the end of a handoff's blackout */
	uint8_t handoff[16];            /* whose, */
	uint64_t handoff_ns;            /* and when it ordered us to take up; both set before trace_first */
	struct csv_lease_ref *lease;    /* write handle of an image: its share in the lease */
};

struct csv_handles;
enum csv_err csv_handles_new(struct csv_handles **t);
void csv_handles_free(struct csv_handles *t);
/* Gives it a number, from 1 on, never used again in this mount. */
void csv_handle_add(struct csv_handles *t, struct csv_handle *h);
struct csv_handle *csv_handle_find(struct csv_handles *t, uint64_t id); /* NULL: no such handle */
void csv_handle_del(struct csv_handles *t, struct csv_handle *h);
unsigned csv_handle_count(struct csv_handles *t);
/*
 * A write of the handle has been acknowledged: the trace of guest I/O from which a handoff's blackout is told.
 * True: it was the first one after a handoff.
 */
bool csv_handle_note_io(struct csv_handle *h);
/* CLOCK_MONOTONIC, ns, as wall clock, ns since 1970. */
uint64_t csv_handle_wall_ns(uint64_t mono_ns);
/* Calls fn for each, under the table's lock. */
void csv_handle_each(struct csv_handles *t, void (*fn)(void *arg, struct csv_handle *h), void *arg);

#endif
