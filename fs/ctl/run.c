/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations of the mount itself, run by a thread that may wait. */
#include <pthread.h>

#include "fs/mount.h"

struct waited {
	struct csv_op op;
	struct csv_mount *m;
	enum csv_err (*body)(struct csv_mount *m, struct csv_op *op, void *arg);
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool over;
	enum csv_err err;
};

static void end(struct waited *w, enum csv_err err)
{
	csv_op_done(&w->op);
	pthread_mutex_lock(&w->lock);
	w->over = true;
	w->err = err;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
}

static void run(struct csv_op *op)
{
	struct waited *w = csv_list_entry(op, struct waited, op);
	enum csv_err err = w->body(w->m, op, w->arg);

	if (err == CSV_WAIT && csv_op_waits(op))
		csv_op_park(op);
	else
		end(w, err);
}

static void fail(struct csv_op *op, enum csv_err err)
{
	end(csv_list_entry(op, struct waited, op), err);
}

enum csv_err csv_mount_run(struct csv_mount *m, enum csv_err (*body)(struct csv_mount *m, struct csv_op *op, void *arg),
			   void *arg)
{
	struct waited w = { .m = m, .body = body, .arg = arg };

	pthread_mutex_init(&w.lock, NULL);
	pthread_cond_init(&w.wake, NULL);
	csv_op_init(&w.op, m->locks, run, fail);
	run(&w.op);
	pthread_mutex_lock(&w.lock);
	while (!w.over)
		pthread_cond_wait(&w.wake, &w.lock);
	pthread_mutex_unlock(&w.lock);
	pthread_cond_destroy(&w.wake);
	pthread_mutex_destroy(&w.lock);
	return w.err;
}

static enum csv_err pin_slot(struct csv_mount *m, struct csv_op *op, void *arg)
{
	struct csv_res res = csv_res(CSV_RES_SLOT, m->slot);
	enum csv_err err = csv_hold(op, res, CSV_EX);

	if (err == CSV_OK)
		csv_hold_pin(op, res);
	return err;
}

enum csv_err csv_mount_pin_slot(struct csv_mount *m)
{
	return csv_mount_run(m, pin_slot, NULL);
}
