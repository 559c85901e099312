/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests to a kernel's disk.
 *
 * A request is held until the gate is open, then under way in the kernel, then ended; or held again, if its error says
 * that the way back is to be gone first:
 *
 *	conflict	our registration is gone, which may be the fence (F2) or the end of the session
 *	path lost	the kernel has waited for the path as long as it is told to, and given up
 *	EIO		either of the path, or of this request alone: the way back tells, for it needs a good path.
 *			If it fails so again, on a good path, it is the request's own error
 *
 * A flush, and a write with FUA where the disk has none, ends only after a look whether the target is still the one
 * that took the writes (J4, disk_guard.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/disk_impl.h"

uint64_t csv_disk_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static bool gate_open(const struct disk_dev *d)
{
	return !d->shut && !d->check;
}

void csv_disk_finish(struct disk_req *req, enum csv_err err)
{
	struct csv_io *user = req->user;

	free(req);
	user->done(user, err);
}

void csv_disk_want_check(struct disk_dev *d, const char *reason)
{
	if (!d->check)
		snprintf(d->reason, sizeof(d->reason), "%s", reason);
	d->check = true;
	pthread_cond_broadcast(&d->changed);
}

static bool is_flush(const struct disk_req *req)
{
	return req->io.op == CSV_IO_FLUSH || (req->io.op == CSV_IO_WRITE && (req->io.flags & CSV_IO_FUA));
}

/* ENODEV and ENXIO are those of a disk that is offline. */
static bool is_path_error(enum csv_err err)
{
	return err == CSV_UNREACH || err == CSV_TIMEOUT || err == CSV_NOENT || err == CSV_NOTCONN;
}

/* True: the request is held and the way back asked for. Lock held. */
static bool hold_for_check(struct disk_dev *d, struct disk_req *req, enum csv_err err)
{
	if (err == CSV_CONFLICT && d->has_guard) {
		if (!d->conflict_ms) {
			d->conflict_ms = csv_disk_now();
			csv_bdev_generation_bump(&d->dev); /* the registration is lost */
		}
		d->conflicted = true;
		csv_disk_want_check(d, "reservation conflict");
	} else if (is_path_error(err)) {
		csv_disk_want_check(d, "no path to the LUN");
	} else if (err == CSV_IO && d->has_guard && ++req->errors < DISK_IO_TRIES) {
		csv_disk_want_check(d, "an I/O error, of the path perhaps");
	} else {
		return false;
	}
	d->unknown_writes |= req->io.op != CSV_IO_READ && err != CSV_CONFLICT;
	csv_list_push_back(&d->held, &req->link);
	return true;
}

static void io_done(struct csv_io *io, enum csv_err err)
{
	struct disk_req *req = csv_list_entry(io, struct disk_req, io);
	struct disk_dev *d = req->d;
	bool later;

	pthread_mutex_lock(&d->lock);
	csv_list_del(&req->link);
	/*
	 * After a failed flush the kernel, or the disk, may have thrown away what it could not write, and let the next
	 * one succeed: that one must not count (J4).
	 */
	if (err != CSV_OK && is_flush(req))
		csv_bdev_generation_bump(&d->dev);
	if (err == CSV_OK && io->op == CSV_IO_WRITE)
		d->conflict_ms = d->checks = 0;
	later = err == CSV_OK && is_flush(req) && d->cached && d->key && !(io->op == CSV_IO_WRITE && d->dev.geo.fua);
	if (later)
		csv_list_push_back(&d->flushed, &req->link);
	else
		later = hold_for_check(d, req, err);
	if (!later) {
		pthread_mutex_unlock(&d->lock);
		csv_disk_finish(req, err);
		pthread_mutex_lock(&d->lock);
	}
	/* Last, for with it the device may be closed. */
	d->ninflight--;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
}

/* Lock held; it is given up to send, and taken again. */
static void send(struct disk_dev *d, struct disk_req *req)
{
	csv_list_push_back(&d->inflight, &req->link);
	d->ninflight++;
	req->sent_ms = csv_disk_now();
	pthread_mutex_unlock(&d->lock);
	csv_bdev_submit(d->inner, &req->io);
	pthread_mutex_lock(&d->lock);
}

void csv_disk_submit(struct csv_bdev *dev, struct csv_io *io)
{
	struct disk_dev *d = (struct disk_dev *)dev;
	enum csv_err err = csv_bdev_check(dev, io, d->rdonly);
	struct disk_req *req;

	if (err != CSV_OK || (io->op != CSV_IO_FLUSH && io->len == 0)) {
		io->done(io, err);
		return;
	}
	req = calloc(1, sizeof(*req));
	if (!req) {
		io->done(io, CSV_NOMEM);
		return;
	}
	req->d = d;
	req->user = io;
	req->io = *io;
	req->io.done = io_done;
	csv_list_init(&req->link);
	csv_bdev_count(dev, io);
	pthread_mutex_lock(&d->lock);
	if (csv_disk_dead(d, &err)) {
		pthread_mutex_unlock(&d->lock);
		csv_disk_finish(req, err);
		return;
	}
	if (gate_open(d))
		send(d, req);
	else
		csv_list_push_back(&d->held, &req->link);
	pthread_mutex_unlock(&d->lock);
}

void csv_disk_send_held(struct disk_dev *d)
{
	pthread_mutex_lock(&d->lock);
	while (gate_open(d) && !csv_list_empty(&d->held)) {
		struct disk_req *req = csv_list_entry(d->held.next, struct disk_req, link);

		csv_list_del(&req->link);
		send(d, req);
	}
	pthread_mutex_unlock(&d->lock);
}

void csv_disk_drain(struct disk_dev *d)
{
	pthread_mutex_lock(&d->lock);
	d->shut++;
	while (d->ninflight > 0)
		pthread_cond_wait(&d->changed, &d->lock);
	pthread_mutex_unlock(&d->lock);
}

void csv_disk_open_gate(struct disk_dev *d)
{
	pthread_mutex_lock(&d->lock);
	d->shut--;
	pthread_mutex_unlock(&d->lock);
	csv_disk_send_held(d);
}

void csv_disk_fail_all(struct disk_dev *d, enum csv_err err)
{
	pthread_mutex_lock(&d->lock);
	while (!csv_list_empty(&d->held) || !csv_list_empty(&d->flushed)) {
		struct csv_list *from = csv_list_empty(&d->held) ? &d->flushed : &d->held;
		struct disk_req *req = csv_list_entry(from->next, struct disk_req, link);

		csv_list_del(&req->link);
		d->verifying++; /* not idle while it ends */
		pthread_mutex_unlock(&d->lock);
		csv_disk_finish(req, err);
		pthread_mutex_lock(&d->lock);
		d->verifying--;
	}
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
}
