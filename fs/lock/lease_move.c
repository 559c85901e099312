/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Leases that a handoff moves (fs/lock/lease_move.h): memory only, the blocks are the handoff's. */
#include "fs/lock/lease_move.h"

#include <stdlib.h>

#include "fs/lock/lease_int.h"

void csv_lease_gone(struct csv_leases *ls, struct csv_iref image)
{
	struct lease_image *im;
	bool pinned = false;

	pthread_mutex_lock(&ls->mutex);
	im = csv_lease_find(ls, image.ino, false);
	if (im && im->state == LEASE_HELD) {
		im->state = LEASE_GONE;
		im->times = false;
		pinned = true;
	}
	pthread_mutex_unlock(&ls->mutex);
	if (pinned)
		csv_hold_unpin(ls->cfg.locks, csv_res(CSV_RES_LEASE, image.ino));
}

/* An open that has begun to take the lease meanwhile waits for our caller's hold of lease.I, and then finds it pinned.
 */
static struct lease_image *enter(struct csv_leases *ls, const struct csv_lease *l, enum csv_err *err)
{
	struct lease_image *im = csv_lease_find(ls, l->image.ino, false);

	*err = im ? CSV_BUSY : CSV_OK;
	if (im)
		return NULL;
	im = csv_lease_image_new(ls, l->image);
	if (!im)
		*err = CSV_NOMEM;
	return im;
}

/* Nobody here has the image open any more: the block must not go on naming us. */
static enum csv_err let_go(struct csv_leases *ls, const struct csv_lease *l)
{
	struct csv_lease none = *l;
	struct csv_txn *txn;
	enum csv_err err = csv_txn_begin(ls->cfg.fs, 0, &txn);

	if (err)
		return err;
	none.mode = CSV_LEASE_NONE;
	none.run = false;
	err = csv_lease_write(txn, &none);
	if (err)
		csv_txn_abort(txn);
	else
		csv_txn_end(txn);
	return err;
}

enum csv_err csv_lease_again(struct csv_leases *ls, struct csv_op *op, const struct csv_lease *l)
{
	struct lease_image *im;
	bool shares;

	pthread_mutex_lock(&ls->mutex);
	im = csv_lease_find(ls, l->image.ino, true);
	shares = im != NULL;
	if (im) {
		im->state = LEASE_HELD;
		im->l = *l;
		im->times = l->mtime.tv_sec != 0;
	}
	pthread_mutex_unlock(&ls->mutex);
	if (!shares)
		return let_go(ls, l);
	csv_hold_pin(op, csv_res(CSV_RES_LEASE, l->image.ino));
	return CSV_OK;
}

enum csv_err csv_lease_adopt(struct csv_leases *ls, struct csv_op *op, const struct csv_lease *l,
			     struct csv_lease_ref **ref)
{
	struct lease_image *im;
	enum csv_err err;

	*ref = calloc(1, sizeof(**ref));
	if (!*ref)
		return CSV_NOMEM;
	pthread_mutex_lock(&ls->mutex);
	im = enter(ls, l, &err);
	if (im) {
		im->state = LEASE_HELD;
		im->l = *l;
		im->times = l->mtime.tv_sec != 0;
		im->shares = 1;
		(*ref)->im = im;
	}
	pthread_mutex_unlock(&ls->mutex);
	if (err) {
		free(*ref);
		*ref = NULL;
	} else {
		csv_hold_pin(op, csv_res(CSV_RES_LEASE, l->image.ino));
	}
	return err;
}

enum csv_err csv_lease_share(struct csv_leases *ls, struct csv_iref image, struct csv_lease_ref **ref)
{
	struct lease_image *im;

	*ref = calloc(1, sizeof(**ref));
	if (!*ref)
		return CSV_NOMEM;
	pthread_mutex_lock(&ls->mutex);
	im = csv_lease_find(ls, image.ino, false);
	if (im && im->state == LEASE_HELD && im->image.gen == image.gen) {
		im->shares++;
		(*ref)->im = im;
	}
	pthread_mutex_unlock(&ls->mutex);
	if ((*ref)->im)
		return CSV_OK;
	free(*ref);
	*ref = NULL;
	return CSV_STALE;
}
