/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the lock cache gets its locks from: `local` (this node alone: grants at once)
 * or `cluster` (csvlockd through lockd/client).  One vtable; upcalls may come from any
 * thread, also from within the call.
 */
#ifndef CSV_LOCK_ENGINE_H
#define CSV_LOCK_ENGINE_H

#include <stdbool.h>

#include "csv/err.h"
#include "csv/lock.h"

struct csv_engine;

struct csv_engine_up {
	/* May be stronger than what was asked for. */
	void (*granted)(void *arg, struct csv_res res, enum csv_mode mode);
	void (*denied)(void *arg, struct csv_res res, const char *holder_node); /* NOQUEUE only; node may be NULL */
	void (*bast)(void *arg, struct csv_res res, enum csv_mode wanted);
	void *arg;
};

struct csv_engine_ops {
	const char *name;
	/*
	 * One request per resource at a time; the resource is at NL. noqueue: denied instead of queued.
	 * NOTCONN: csvlockd is lost, the request is asked again after csv_locks_thaw().
	 */
	enum csv_err (*lock)(struct csv_engine *e, struct csv_res res, enum csv_mode mode, bool noqueue);
	/* Down-conversion, always possible: to NL or (EX) to PR. NOTCONN: the declaration will tell. */
	enum csv_err (*unlock)(struct csv_engine *e, struct csv_res res, enum csv_mode keep);
	void (*close)(struct csv_engine *e); /* no upcall comes after it */
	bool alone;			     /* no other node can ask */
};

struct csv_engine {
	const struct csv_engine_ops *ops;
	struct csv_engine_up up; /* set by the cache */
};

enum csv_err csv_engine_local(struct csv_engine **e);

#endif
