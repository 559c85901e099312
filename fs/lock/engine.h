/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the lock cache gets its locks from: `local` (this node alone: grants at once)
 * or `cluster` (csvlockd through lockd/client).  One vtable; upcalls may come from any
 * thread, also from within the call.
 */
#ifndef CSV_LOCK_ENGINE_H
#define CSV_LOCK_ENGINE_H

#include "csv/err.h"
#include "csv/lock.h"

struct csv_engine;

struct csv_engine_up {
	void (*granted)(void *arg, struct csv_res res, enum csv_mode mode);
	void (*denied)(void *arg, struct csv_res res, const char *holder_node); /* NOQUEUE only */
	void (*bast)(void *arg, struct csv_res res, enum csv_mode wanted);
	void *arg;
};

struct csv_engine_ops {
	const char *name;
	/* One request per resource at a time; the resource is at NL. noqueue: denied instead of queued. */
	enum csv_err (*lock)(struct csv_engine *e, struct csv_res res, enum csv_mode mode, bool noqueue);
	/* Down-conversion, always possible: to NL or (EX) to PR. */
	enum csv_err (*unlock)(struct csv_engine *e, struct csv_res res, enum csv_mode keep);
	void (*close)(struct csv_engine *e);
};

struct csv_engine {
	const struct csv_engine_ops *ops;
	struct csv_engine_up up;
};

enum csv_err csv_engine_local(struct csv_engine **e);

#endif
