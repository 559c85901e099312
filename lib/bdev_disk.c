/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block device on a SCSI disk of the kernel: open, close, reservations. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "lib/disk_impl.h"
#include "lib/pr.h"
#include "lib/thread.h"

/* ---- on the paths; pr_lock held ---------------------------------------------------------------- */

/* Any one path will do: the next one if the last does not answer. */
#define ON_A_PATH(d, err, call)                                                                                        \
	do {                                                                                                           \
		(err) = CSV_UNREACH;                                                                                   \
		for (unsigned tried_ = 0; (err) == CSV_UNREACH && tried_ < (d)->npaths; tried_++) {                    \
			struct csv_scsi_port *port = (d)->path[(d)->current % (d)->npaths];                            \
                                                                                                                       \
			(err) = (call);                                                                                \
			if ((err) == CSV_UNREACH)                                                                      \
				(d)->current++;                                                                        \
		}                                                                                                      \
	} while (0)

static enum csv_err remember(struct disk_dev *d)
{
	uint32_t generation;
	enum csv_err err;
	unsigned n;

	ON_A_PATH(d, err, csv_pr_count_key(port, 0, &n, &generation));
	if (err == CSV_OK)
		d->pr_generation = generation;
	return err;
}

enum csv_err csv_disk_look_for_key(struct disk_dev *d, uint64_t key, bool *lost)
{
	uint32_t generation;
	enum csv_err err;
	unsigned n;

	ON_A_PATH(d, err, csv_pr_count_key(port, key, &n, &generation));
	if (err != CSV_OK)
		return err;
	*lost = n == 0 || generation < d->pr_generation;
	d->pr_generation = generation;
	return CSV_OK;
}

enum csv_err csv_disk_register(struct disk_dev *d, uint64_t key)
{
	enum csv_err err = CSV_UNREACH;

	/* A path that does not answer registers when it is back and meets the conflict. */
	for (unsigned i = 0; i < d->npaths; i++) {
		enum csv_err e = csv_pr_register_lasting(d->path[i], key);

		if (e != CSV_OK && e != CSV_UNREACH)
			return e;
		if (e == CSV_OK)
			err = CSV_OK;
	}
	if (err == CSV_OK && key)
		err = remember(d);
	return err;
}

static enum csv_err reserve(struct disk_dev *d, uint64_t key, enum csv_pr_type type)
{
	enum csv_err err;

	ON_A_PATH(d, err, csv_pr_reserve(port, key, type));
	if (err == CSV_OK)
		d->held_type = type;
	return err;
}

enum csv_err csv_disk_reserve_again(struct disk_dev *d, uint64_t key)
{
	return d->held_type == CSV_PR_NONE ? CSV_OK : reserve(d, key, d->held_type);
}

static enum csv_err test_ready(struct csv_scsi_port *port)
{
	struct csv_scsi_cmd cmd = { .cdb_len = 6 };

	switch (csv_scsi_run(port, &cmd)) {
	case CSV_SCSI_GOOD:
	case CSV_SCSI_CONFLICT:
		return CSV_OK;
	case CSV_SCSI_REFUSED:
	case CSV_SCSI_ERROR:
	case CSV_SCSI_LOST:
		break;
	}
	return CSV_UNREACH;
}

enum csv_err csv_disk_test_ready(struct disk_dev *d)
{
	enum csv_err err;

	ON_A_PATH(d, err, test_ready(port));
	return err;
}

/*
 * The kernel has taken most unit attentions before we see any.  Power-on: what the cache held may be gone (J4).
 */
static void note_attention(struct csv_scsi_port *port, int asc)
{
	csv_disk_note_attention(port->owner, asc);
}

void csv_disk_note_attention(struct disk_dev *d, int asc)
{
	enum csv_attention kind = csv_scsi_attention(asc);

	if (kind == CSV_UA_POWER)
		csv_bdev_generation_bump(&d->dev);
	pthread_mutex_lock(&d->lock);
	if (d->has_guard && (kind == CSV_UA_POWER || kind == CSV_UA_RESET))
		csv_disk_want_check(d, "the LUN was reset");
	if (d->has_guard && kind == CSV_UA_RESERVATIONS)
		csv_disk_want_check(d, "reservations of the LUN have changed");
	pthread_mutex_unlock(&d->lock);
}

static void port_rest(struct csv_scsi_port *port, unsigned ms)
{
	poll(NULL, 0, (int)ms);
}

void csv_disk_port_init(struct disk_dev *d, struct csv_scsi_port *port)
{
	port->owner = d;
	port->attention = note_attention;
	port->rest = port_rest;
}

/* ---- reservations --------------------------------------------------------------------------------- */

enum pr_op { PR_REGISTER, PR_RESERVE, PR_PREEMPT, PR_STATUS, PR_SCSI };

struct pr_call {
	enum pr_op op;
	uint64_t key, victim;
	enum csv_pr_type type;
	bool aborted;
	struct csv_pr_status *st;
	struct csv_scsi_cmd *cmd;
};

static enum csv_err once(struct disk_dev *d, struct pr_call *c)
{
	enum csv_err err = CSV_UNREACH;

	switch (c->op) {
	case PR_REGISTER:
		d->paths.look(d);
		return csv_disk_register(d, c->key);
	case PR_RESERVE:
		return reserve(d, c->key, c->type);
	case PR_PREEMPT:
		ON_A_PATH(d, err, csv_pr_fence(port, c->key, c->victim, c->type, &c->aborted));
		if (err == CSV_OK)
			d->held_type = c->type;
		return err;
	case PR_STATUS:
		ON_A_PATH(d, err, csv_pr_status(port, c->st));
		break;
	case PR_SCSI:
		ON_A_PATH(d, err, port->command(port, c->cmd));
		break;
	}
	return err;
}

/* Waits for the end of a way back, or of the device. Lock held. */
static void wait_for_path(struct disk_dev *d)
{
	uint64_t before = d->way_backs;
	enum csv_err err;

	csv_disk_want_check(d, "no path to the LUN");
	while (d->way_backs == before && !csv_disk_dead(d, &err))
		pthread_cond_wait(&d->changed, &d->lock);
}

static enum csv_err run(struct csv_bdev *dev, struct pr_call *c)
{
	struct disk_dev *d = (struct disk_dev *)dev;
	/* A fenced device may still look, and unregister. */
	bool last_rites = c->op == PR_STATUS || (c->op == PR_REGISTER && !c->key);
	enum csv_err err, dead_err;
	bool dead;

	for (;;) {
		pthread_mutex_lock(&d->lock);
		dead = csv_disk_dead(d, &dead_err);
		pthread_mutex_unlock(&d->lock);
		if (dead && !(last_rites && dead_err == CSV_FENCED))
			return dead_err;
		pthread_mutex_lock(&d->pr_lock);
		err = once(d, c);
		pthread_mutex_unlock(&d->pr_lock);
		if (err != CSV_UNREACH || dead)
			return err;
		pthread_mutex_lock(&d->lock);
		wait_for_path(d);
		pthread_mutex_unlock(&d->lock);
	}
}

static enum csv_err disk_pr_register(struct csv_bdev *dev, uint64_t key)
{
	struct disk_dev *d = (struct disk_dev *)dev;
	struct pr_call c = { .op = PR_REGISTER, .key = key };
	enum csv_err err = run(dev, &c);

	if (err == CSV_OK) {
		pthread_mutex_lock(&d->lock);
		d->key = key;
		pthread_mutex_unlock(&d->lock);
	}
	return err;
}

static enum csv_err disk_pr_reserve(struct csv_bdev *dev, uint64_t key, enum csv_pr_type type)
{
	struct pr_call c = { .op = PR_RESERVE, .key = key, .type = type };

	return run(dev, &c);
}

static enum csv_err disk_pr_preempt(struct csv_bdev *dev, uint64_t key, uint64_t victim, enum csv_pr_type type,
				    bool *aborted)
{
	struct pr_call c = { .op = PR_PREEMPT, .key = key, .victim = victim, .type = type };
	enum csv_err err = run(dev, &c);

	if (aborted)
		*aborted = c.aborted;
	return err;
}

static enum csv_err disk_pr_status(struct csv_bdev *dev, struct csv_pr_status *st)
{
	struct pr_call c = { .op = PR_STATUS, .st = st };

	return run(dev, &c);
}

static enum csv_err disk_scsi(struct csv_bdev *dev, struct csv_scsi_cmd *cmd)
{
	struct pr_call c = { .op = PR_SCSI, .cmd = cmd };

	return run(dev, &c);
}

/* When this returns, no call-back of the guard before is running, nor will be. */
static void disk_set_guard(struct csv_bdev *dev, const struct csv_bdev_guard *guard)
{
	struct disk_dev *d = (struct disk_dev *)dev;

	pthread_mutex_lock(&d->guard_lock);
	pthread_mutex_lock(&d->lock);
	d->has_guard = guard != NULL;
	d->had_guard |= guard != NULL;
	if (guard)
		d->guard = *guard;
	pthread_mutex_unlock(&d->lock);
	pthread_mutex_unlock(&d->guard_lock);
}

/* ---- open and close -------------------------------------------------------------------------------- */

static void destroy(struct disk_dev *d)
{
	pthread_cond_destroy(&d->changed);
	pthread_mutex_destroy(&d->lock);
	pthread_mutex_destroy(&d->guard_lock);
	pthread_mutex_destroy(&d->pr_lock);
	free(d);
}

static void disk_close(struct csv_bdev *dev)
{
	struct disk_dev *d = (struct disk_dev *)dev;

	pthread_mutex_lock(&d->lock);
	d->closing = true;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
	pthread_join(d->thread, NULL);
	csv_bdev_close(d->inner);
	d->paths.close(d->paths.data);
	destroy(d);
}

static const struct csv_bdev_ops disk_ops = {
	.name = "disk",
	.submit = csv_disk_submit,
	.pr_register = disk_pr_register,
	.pr_reserve = disk_pr_reserve,
	.pr_preempt = disk_pr_preempt,
	.pr_status = disk_pr_status,
	.scsi = disk_scsi,
	.set_guard = disk_set_guard,
	.close = disk_close,
};

static void init_locks(struct disk_dev *d)
{
	pthread_mutexattr_t recursive;
	pthread_condattr_t monotonic;

	pthread_mutex_init(&d->pr_lock, NULL);
	pthread_mutex_init(&d->lock, NULL);
	/* A call-back may change the guard. */
	pthread_mutexattr_init(&recursive);
	pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&d->guard_lock, &recursive);
	pthread_mutexattr_destroy(&recursive);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&d->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

enum csv_err csv_disk_new(struct csv_bdev *inner, bool rdonly, bool cached, const struct disk_paths *paths,
			  struct csv_bdev **dev)
{
	struct disk_dev *d = calloc(1, sizeof(*d));

	if (!d) {
		paths->close(paths->data);
		return CSV_NOMEM;
	}
	d->dev.ops = &disk_ops;
	d->dev.geo = inner->geo;
	d->inner = inner;
	d->rdonly = rdonly;
	d->cached = cached;
	d->paths = *paths;
	d->state = CSV_PATH_ONLINE;
	csv_list_init(&d->held);
	csv_list_init(&d->inflight);
	csv_list_init(&d->flushed);
	init_locks(d);
	d->paths.look(d);
	if (csv_thread_start(&d->thread, csv_disk_thread, d)) {
		d->paths.close(d->paths.data);
		destroy(d);
		return CSV_NOMEM;
	}
	*dev = &d->dev;
	return CSV_OK;
}

/* Whether the disk has reservations at all; not all that look like SCSI have. */
static bool has_reservations(struct csv_bdev *dev)
{
	struct disk_dev *d = (struct disk_dev *)dev;
	enum csv_err err;

	pthread_mutex_lock(&d->pr_lock);
	err = remember(d);
	pthread_mutex_unlock(&d->pr_lock);
	return err != CSV_NOTSUP;
}

enum csv_err csv_bdev_disk_open(const char *path, unsigned flags, struct csv_bdev **dev, struct csv_why *why)
{
	bool rdonly = flags & CSV_BDEV_RDONLY, cached;
	struct csv_bdev *inner, *disk;
	struct disk_paths paths;
	enum csv_err err = csv_bdev_file_open(path, flags, &inner, why);

	if (err != CSV_OK)
		return err;
	err = csv_disk_sg_paths(path, rdonly, &paths, &cached);
	if (err == CSV_NOTSUP) {
		*dev = inner; /* a file, or a device without reservations */
		return CSV_OK;
	}
	if (err == CSV_OK)
		err = csv_disk_new(inner, rdonly, cached, &paths, &disk);
	if (err != CSV_OK) {
		csv_bdev_close(inner);
		return csv_fail(why, err, NULL, "cannot prepare %.150s: %s", path, csv_err_text(err));
	}
	*dev = disk;
	if (has_reservations(disk))
		return CSV_OK;
	csv_bdev_close(disk);
	return csv_bdev_file_open(path, flags, dev, why);
}
