/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The jobs of a handoff: what is read and written on disk.
 *
 * Who may write is decided by one journal transaction over all lease blocks of the bundle: before its commit block is
 * durable the old holder, after it the new one.  So a job that writes ends in one of three ways: OK (durable and home),
 * NO (nothing of it reached the journal), UNKNOWN (the commit did not say; the journal has withdrawn the volume, the
 * slot's recovery will tell).
 */
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/journal/journal.h"
#include "fs/lock/handoff_int.h"
#include "fs/lock/lease_move.h"
#include "fs/meta/namei.h"
#include "lib/bug.h"

static enum csv_ho_job_end no(struct ho_bundle *b, enum csv_err err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static enum csv_ho_job_end no(struct ho_bundle *b, enum csv_err err, const char *fmt, ...)
{
	va_list ap;

	b->err = err;
	va_start(ap, fmt);
	vsnprintf(b->why, sizeof(b->why), fmt, ap);
	va_end(ap);
	return CSV_HO_JOB_NO;
}

static double now_ms(const struct csv_handoffs *hs)
{
	return (double)hs->cfg.fs->env->mono_ns(hs->cfg.fs->env) / 1e6;
}

/* ---- an operation that this thread waits for ---- */

struct job_op {
	struct csv_op op;
	struct csv_handoffs *hs;
	struct ho_bundle *b;
	enum csv_res_type type; /* of one lock a file */
	enum csv_mode mode;
	enum csv_err (*fn)(struct job_op *j); /* with all locks held */
	struct csv_lease lease[CSV_HO_FILES_MAX];
	enum csv_err err;
	sem_t done;
};

static void op_end(struct job_op *j, enum csv_err err)
{
	j->err = err;
	csv_op_done(&j->op);
	sem_post(&j->done);
}

static void op_fail(struct csv_op *op, enum csv_err err)
{
	op_end(csv_list_entry(op, struct job_op, op), err);
}

static void op_run(struct csv_op *op)
{
	struct job_op *j = csv_list_entry(op, struct job_op, op);
	enum csv_err err = CSV_OK;

	for (unsigned i = 0; i < j->b->nfiles && (err == CSV_OK || err == CSV_WAIT); i++)
		err = csv_hold(op, csv_res(j->type, j->b->file[i].ref.ino), j->mode);
	if (csv_op_waits(op)) {
		csv_op_park(op);
		return;
	}
	op_end(j, err == CSV_OK ? j->fn(j) : err);
}

static enum csv_err run_op(struct csv_handoffs *hs, struct ho_bundle *b, enum csv_res_type type, enum csv_mode mode,
			   enum csv_err (*fn)(struct job_op *j))
{
	struct job_op *j = calloc(1, sizeof(*j));
	enum csv_err err;

	if (!j)
		return CSV_NOMEM;
	j->hs = hs;
	j->b = b;
	j->type = type;
	j->mode = mode;
	j->fn = fn;
	sem_init(&j->done, 0, 0);
	csv_op_init(&j->op, hs->cfg.locks, op_run, op_fail);
	op_run(&j->op);
	while (sem_wait(&j->done))
		;
	err = j->err;
	sem_destroy(&j->done);
	free(j);
	return err;
}

/* ---- looking ---- */

static enum csv_err look_up(struct job_op *j)
{
	for (unsigned i = 0; i < j->b->nfiles; i++) {
		struct csv_ctx ctx = { .fs = j->hs->cfg.fs };
		struct csv_attr attr;
		enum csv_err err = csv_getattr(&ctx, j->b->file[i].ref, &attr);

		if (err == CSV_OK && !attr.lease)
			err = CSV_INVAL;
		if (err != CSV_OK)
			return err;
		j->b->file[i].block = attr.lease;
		j->b->file[i].size = attr.size;
	}
	return CSV_OK;
}

/* Where the leases lie; also warms the inodes. */
static enum csv_err find_leases(struct csv_handoffs *hs, struct ho_bundle *b)
{
	for (unsigned i = 0; i < b->nfiles; i++) {
		if (!b->file[i].block)
			return run_op(hs, b, CSV_RES_INODE, CSV_PR, look_up);
	}
	return CSV_OK;
}

static bool is_life(const struct csv_lease *l, const struct csv_ho_life *life)
{
	return l->mode != CSV_LEASE_NONE && l->slot == life->slot && l->incarnation == life->incarnation;
}

static bool is_ours(const struct ho_bundle *b, const struct csv_lease *l)
{
	return is_life(l, &b->dst) && !memcmp(l->handoff, b->id, sizeof(b->id));
}

static enum csv_ho_job_end arm(struct csv_handoffs *hs, struct ho_bundle *b)
{
	enum csv_err err = find_leases(hs, b);

	if (err != CSV_OK)
		return no(b, err, "the files cannot be served here: %s", csv_err_text(err));
	return CSV_HO_JOB_OK;
}

/* Without locks: nobody can be writing these leases now. */
static enum csv_ho_job_end resolve(struct csv_handoffs *hs, struct ho_bundle *b)
{
	enum csv_err err = find_leases(hs, b);
	unsigned dst = 0, src = 0;
	struct csv_lease l;

	for (unsigned i = 0; i < b->nfiles && err == CSV_OK; i++) {
		err = csv_lease_peek(hs->cfg.fs, b->file[i].ref, b->file[i].block, &l);
		dst += err == CSV_OK && is_ours(b, &l);
		src += err == CSV_OK && is_life(&l, &b->src);
	}
	if (err != CSV_OK) {
		no(b, err, "the leases cannot be read: %s", csv_err_text(err));
		return CSV_HO_JOB_UNKNOWN;
	}
	b->found = dst ? CSV_HO_EV_IS_DST : src ? CSV_HO_EV_IS_SRC : CSV_HO_EV_IS_OTHER;
	if (dst && src)
		csv_error("handoff %02x%02x%02x%02x: %u leases have moved, %u have not", b->id[0], b->id[1], b->id[2],
			  b->id[3], dst, src);
	return CSV_HO_JOB_OK;
}

/* ---- quiet: nothing of the bundle in flight, what was answered is on the LUN ---- */

struct sync_wait {
	struct csv_data_req req;
	sem_t done;
	enum csv_err err;
};

static void sync_done(struct csv_data_req *req, enum csv_err err)
{
	struct sync_wait *w = csv_list_entry(req, struct sync_wait, req);

	w->err = err;
	sem_post(&w->done);
}

static enum csv_err sync_file(struct csv_handoffs *hs, struct csv_file *f)
{
	struct sync_wait w = { .req = { .ctx = { .fs = hs->cfg.fs }, .file = f, .done = sync_done } };

	sem_init(&w.done, 0, 0);
	csv_data_sync(hs->cfg.data, &w.req, true);
	while (sem_wait(&w.done))
		;
	sem_destroy(&w.done);
	return w.err;
}

/* The gate keeps new I/O away. Pending times go into the lease. */
static enum csv_err quiet(struct csv_handoffs *hs, struct ho_bundle *b, struct timespec *mtime)
{
	enum csv_err err = CSV_OK;

	for (unsigned i = 0; i < b->nfiles && err == CSV_OK; i++) {
		struct csv_file *f;

		mtime[i] = (struct timespec){ 0 };
		err = csv_file_get(hs->cfg.data, b->file[i].ref, &f);
		if (err != CSV_OK)
			break;
		csv_data_drain(hs->cfg.data, f);
		err = sync_file(hs, f);
		if (!csv_file_times_pending(f, &mtime[i]))
			mtime[i] = (struct timespec){ 0 };
		csv_file_put(hs->cfg.data, f);
	}
	return err;
}

/*
 * J4: a flush said that all is well, but the target had lost what was written before.  Whoever wrote it hears of that
 * at his next fsync, here; on the revoked handle (H5) he never would.
 */
static enum csv_err all_told(struct csv_handoffs *hs, const struct ho_bundle *b)
{
	enum csv_err err = CSV_OK;

	for (unsigned i = 0; i < b->nfiles && err == CSV_OK; i++) {
		struct csv_file *f;

		err = csv_file_get(hs->cfg.data, b->file[i].ref, &f);
		if (err != CSV_OK)
			break;
		if (csv_file_err_untold(f))
			err = CSV_IO;
		csv_file_put(hs->cfg.data, f);
	}
	return err;
}

/* ---- giving ---- */

static void name_holder(struct csv_lease *l, const struct csv_ho_life *to, const uint8_t *id, struct timespec mtime)
{
	l->mode = CSV_LEASE_EXCLUSIVE;
	l->epoch++;
	l->slot = to->slot;
	l->incarnation = to->incarnation;
	l->nodeid = to->nodeid;
	memcpy(l->node, to->node, sizeof(l->node));
	l->run = false;
	if (id)
		memcpy(l->handoff, id, sizeof(l->handoff));
	else
		memset(l->handoff, 0, sizeof(l->handoff));
	if (mtime.tv_sec)
		l->mtime = l->ctime = mtime;
}

/* In the transaction, which nobody else's can overlap: what the block says now counts, not what is remembered. */
static enum csv_err give_one(struct csv_txn *txn, struct ho_bundle *b, unsigned i, bool back, struct timespec mtime)
{
	struct ho_file *f = &b->file[i];
	struct csv_lease l;
	enum csv_err err = csv_lease_read(csv_txn_fs(txn), f->ref, f->block, &l);

	if (err != CSV_OK)
		return err;
	if (back && is_life(&l, &b->src))
		return CSV_OK; /* given back by one who could not tell any more */
	if (back ? !is_ours(b, &l) : !is_life(&l, &b->src))
		return CSV_STALE;
	if (back && !csv_ho_may_return(l.run))
		return CSV_BUSY;
	name_holder(&l, back ? &b->src : &b->dst, back ? NULL : b->id, mtime);
	f->epoch = l.epoch;
	return csv_lease_write(txn, &l);
}

/* The point of no return: one transaction, all leases. lease.I EX is held or pinned for each. */
static enum csv_ho_job_end give(struct csv_handoffs *hs, struct ho_bundle *b, bool back, const struct timespec *mtime)
{
	struct csv_fs *fs = hs->cfg.fs;
	struct csv_txn *txn;
	enum csv_err err = csv_txn_begin(fs, 0, &txn);
	uint64_t tid;

	if (err != CSV_OK)
		return no(b, err, "no transaction: %s", csv_err_text(err));
	for (unsigned i = 0; i < b->nfiles && err == CSV_OK; i++)
		err = give_one(txn, b, i, back, mtime[i]);
	if (err != CSV_OK) {
		csv_txn_abort(txn);
		if (err == CSV_BUSY)
			return no(b, err, "the VM has written at the destination");
		return no(b, err, "the leases are not as they should be: %s", csv_err_text(err));
	}
	tid = csv_txn_end(txn);
	CSV_STOP(back ? "RETURN" : "COMMIT", "transaction");
	err = csv_journal_commit(fs, tid);
	if (err != CSV_OK) {
		no(b, err, "the commit's answer did not come: %s", csv_err_text(err));
		return CSV_HO_JOB_UNKNOWN;
	}
	return CSV_HO_JOB_OK;
}

/* Whoever gets lease.I next reads the block from the LUN. A failure has withdrawn the volume; the commit stands. */
static void bring_home(struct csv_handoffs *hs, const struct ho_bundle *b)
{
	for (unsigned i = 0; i < b->nfiles; i++)
		csv_journal_sync_res(hs->cfg.fs, csv_res(CSV_RES_LEASE, b->file[i].ref.ino));
}

/*
 * The leases are another node's now, durably.  Its process may lock the images' bytes as soon as it hears so: what our
 * handles had locked must be gone by then, whether we live to see them unlock or not.  csvlockd orders what we send,
 * and the answer to this job comes after it.
 */
static void let_go(struct csv_handoffs *hs, struct ho_bundle *b)
{
	for (unsigned i = 0; i < b->nfiles; i++) {
		hs->cfg.ranges(hs->cfg.arg, b->file[i].ref, true);
		csv_lease_gone(hs->cfg.leases, b->file[i].ref);
	}
}

/* How long the guest has been silent, ms; 0: it has never done any I/O. */
static double silence(const struct csv_handoffs *hs, const struct ho_bundle *b)
{
	uint64_t last = 0;

	for (unsigned i = 0; i < b->nfiles; i++) {
		uint64_t ns = hs->cfg.last_io(hs->cfg.arg, b->file[i].ref);

		if (ns > last)
			last = ns;
	}
	return last ? now_ms(hs) - (double)last / 1e6 : 0;
}

static enum csv_ho_job_end commit(struct csv_handoffs *hs, struct ho_bundle *b)
{
	struct timespec mtime[CSV_HO_FILES_MAX];
	double from = now_ms(hs), quiet_at, durable_at;
	enum csv_ho_job_end end;
	enum csv_err err = find_leases(hs, b);

	for (unsigned i = 0; i < b->nfiles && err == CSV_OK; i++) {
		if (!csv_lease_held(hs->cfg.leases, b->file[i].ref, NULL))
			err = CSV_STALE; /* or lease.I may not even be pinned here */
	}
	if (err != CSV_OK)
		return no(b, err, "not all leases are this node's: %s", csv_err_text(err));
	err = quiet(hs, b, mtime);
	if (err != CSV_OK)
		return no(b, err, "writes cannot be brought to the LUN: %s", csv_err_text(err));
	err = all_told(hs, b);
	if (err != CSV_OK)
		return no(b, err, "the LUN has lost writes and the VM has not been told: let it flush, then try again");
	quiet_at = now_ms(hs);
	CSV_STOP("COMMIT", "quiet");
	end = give(hs, b, false, mtime);
	if (end != CSV_HO_JOB_OK)
		return end;
	durable_at = now_ms(hs);
	CSV_STOP("COMMIT", "durable");
	bring_home(hs, b);
	CSV_STOP("COMMIT", "home");
	let_go(hs, b);
	b->times = (struct csv_ho_times){ .drain = quiet_at - from,
					  .journal = durable_at - quiet_at,
					  .home = now_ms(hs) - durable_at,
					  .silence = silence(hs, b) };
	return CSV_HO_JOB_OK;
}

/* ---- taking ---- */

static enum csv_err read_leases(struct job_op *j)
{
	struct csv_fs *fs = j->hs->cfg.fs;
	enum csv_err err = CSV_OK;

	csv_fs_lock_shared(fs);
	for (unsigned i = 0; i < j->b->nfiles && err == CSV_OK; i++)
		err = csv_lease_read(fs, j->b->file[i].ref, j->b->file[i].block, &j->lease[i]);
	csv_fs_unlock(fs);
	return err;
}

static enum csv_err take_up(struct job_op *j)
{
	struct ho_bundle *b = j->b;
	enum csv_err err = read_leases(j);

	for (unsigned i = 0; i < b->nfiles && err == CSV_OK; i++) {
		if (!is_ours(b, &j->lease[i]))
			return CSV_STALE;
	}
	for (unsigned i = 0; i < b->nfiles && err == CSV_OK; i++) {
		b->file[i].epoch = j->lease[i].epoch;
		if (!b->file[i].share)
			err = csv_lease_adopt(j->hs->cfg.leases, &j->op, &j->lease[i], &b->file[i].share);
	}
	return err;
}

static enum csv_ho_job_end activate(struct csv_handoffs *hs, struct ho_bundle *b)
{
	enum csv_err err = find_leases(hs, b);

	if (err == CSV_OK)
		err = run_op(hs, b, CSV_RES_LEASE, CSV_EX, take_up);
	if (err != CSV_OK)
		return no(b, err, "the leases cannot be taken up: %s", csv_err_text(err));
	CSV_STOP("ACTIVATE", "taken");
	return CSV_HO_JOB_OK;
}

/* ---- back ---- */

static enum csv_ho_job_end give_back(struct csv_handoffs *hs, struct ho_bundle *b)
{
	struct timespec mtime[CSV_HO_FILES_MAX];
	enum csv_ho_job_end end;
	enum csv_err err;

	for (unsigned i = 0; i < b->nfiles; i++) {
		if (!csv_lease_held(hs->cfg.leases, b->file[i].ref, NULL))
			return no(b, CSV_STALE, "not all leases are this node's any more");
	}
	err = quiet(hs, b, mtime);
	if (err != CSV_OK)
		return no(b, err, "writes cannot be brought to the LUN: %s", csv_err_text(err));
	CSV_STOP("RETURN", "quiet");
	end = give(hs, b, true, mtime);
	if (end != CSV_HO_JOB_OK)
		return end;
	CSV_STOP("RETURN", "durable");
	bring_home(hs, b);
	let_go(hs, b);
	csv_ho_drop_shares(hs, b);
	return CSV_HO_JOB_OK;
}

/* The destination is dead and recovered: lease.I can be had, and its leases be read and written here (H6). */
static enum csv_err take_back(struct job_op *j)
{
	struct timespec mtime[CSV_HO_FILES_MAX] = { 0 };
	struct csv_handoffs *hs = j->hs;
	struct ho_bundle *b = j->b;
	enum csv_ho_job_end end = give(hs, b, true, mtime);
	enum csv_err err;

	if (end != CSV_HO_JOB_OK)
		return end == CSV_HO_JOB_UNKNOWN ? CSV_INTERNAL : b->err == CSV_STALE ? CSV_BUSY : b->err;
	bring_home(hs, b);
	err = read_leases(j);
	if (err != CSV_OK)
		return err; /* the next try finds them given back */
	for (unsigned i = 0; i < b->nfiles && err == CSV_OK; i++)
		err = csv_lease_again(hs->cfg.leases, &j->op, &j->lease[i]);
	if (err != CSV_OK) /* some of them are held and some are not: no try can mend that */
		csv_fs_withdraw(hs->cfg.fs, err, "a lease that was taken back cannot be held");
	return err;
}

static enum csv_ho_job_end reclaim(struct csv_handoffs *hs, struct ho_bundle *b)
{
	enum csv_err err = find_leases(hs, b);

	if (err == CSV_OK)
		err = run_op(hs, b, CSV_RES_LEASE, CSV_EX, take_back);
	if (err == CSV_BUSY)
		return no(b, err, "the VM has written at the destination");
	if (err != CSV_OK) {
		no(b, err, "the leases cannot be taken back: %s", csv_err_text(err));
		return CSV_HO_JOB_UNKNOWN;
	}
	return CSV_HO_JOB_OK;
}

/* The lease came back to its old holder: by RETURN of the destination, before RESUME lets the handles go. */
static enum csv_err come_back(struct job_op *j)
{
	enum csv_err err = read_leases(j);

	for (unsigned i = 0; i < j->b->nfiles && err == CSV_OK; i++) {
		if (!is_life(&j->lease[i], &j->b->src))
			return CSV_STALE;
		err = csv_lease_again(j->hs->cfg.leases, &j->op, &j->lease[i]);
	}
	return err;
}

enum csv_err csv_ho_resume(struct csv_handoffs *hs, struct ho_bundle *b)
{
	enum csv_err err;

	if (csv_lease_held(hs->cfg.leases, b->file[0].ref, NULL))
		return CSV_OK; /* it never went */
	err = find_leases(hs, b);
	return err == CSV_OK ? run_op(hs, b, CSV_RES_LEASE, CSV_EX, come_back) : err;
}

/* ---- the run mark ---- */

static enum csv_err mark(struct csv_txn *txn, const struct ho_file *f)
{
	struct csv_fs *fs = csv_txn_fs(txn);
	struct csv_lease l;
	enum csv_err err = csv_lease_read(fs, f->ref, f->block, &l);

	if (err != CSV_OK)
		return err;
	if (l.mode == CSV_LEASE_NONE || l.slot != fs->slot || l.incarnation != fs->incarnation)
		return CSV_STALE;
	l.run = true;
	return csv_lease_write(txn, &l);
}

enum csv_err csv_ho_mark_run(struct csv_handoffs *hs, const struct ho_file *f)
{
	struct csv_txn *txn;
	enum csv_err err;

	if (!csv_lease_held(hs->cfg.leases, f->ref, NULL))
		return CSV_STALE;
	err = csv_txn_begin(hs->cfg.fs, 0, &txn);
	if (err != CSV_OK)
		return err;
	err = mark(txn, f);
	if (err != CSV_OK) {
		csv_txn_abort(txn);
		return err;
	}
	return csv_journal_commit(hs->cfg.fs, csv_txn_end(txn));
}

/* ---- shares of our own ---- */

struct close_op {
	struct csv_op op;
	struct csv_handoffs *hs;
	struct csv_lease_ref *share;
	sem_t done;
};

static void close_fail(struct csv_op *op, enum csv_err err)
{
	struct close_op *c = csv_list_entry(op, struct close_op, op);

	csv_lease_forget(c->hs->cfg.leases, op, c->share);
	sem_post(&c->done);
}

static void close_run(struct csv_op *op)
{
	struct close_op *c = csv_list_entry(op, struct close_op, op);

	if (csv_lease_close(c->hs->cfg.leases, op, c->share) == CSV_WAIT) {
		csv_op_park(op);
		return;
	}
	csv_op_done(op);
	sem_post(&c->done);
}

static void close_share(struct csv_handoffs *hs, struct csv_lease_ref *share)
{
	struct close_op *c = calloc(1, sizeof(*c));

	CSV_ASSERT(c);
	c->hs = hs;
	c->share = share;
	sem_init(&c->done, 0, 0);
	csv_op_init(&c->op, hs->cfg.locks, close_run, close_fail);
	close_run(&c->op);
	while (sem_wait(&c->done))
		;
	sem_destroy(&c->done);
	free(c);
}

void csv_ho_drop_shares(struct csv_handoffs *hs, struct ho_bundle *b)
{
	for (unsigned i = 0; i < b->nfiles; i++) {
		if (b->file[i].share)
			close_share(hs, b->file[i].share);
		b->file[i].share = NULL;
	}
}

enum csv_ho_job_end csv_ho_job(struct csv_handoffs *hs, struct ho_bundle *b, enum csv_ho_verb verb)
{
	switch (verb) {
	case CSV_HO_ARM:
		return arm(hs, b);
	case CSV_HO_COMMIT:
		return commit(hs, b);
	case CSV_HO_ACTIVATE:
		return activate(hs, b);
	case CSV_HO_RETURN:
		return give_back(hs, b);
	case CSV_HO_RECLAIM:
		return reclaim(hs, b);
	case CSV_HO_RESOLVE:
		return resolve(hs, b);
	case CSV_HO_NOTHING:
	case CSV_HO_WATCH:
	case CSV_HO_RESUME:
	case CSV_HO_REVOKE:
	case CSV_HO_DECIDED:
	case CSV_HO_SYNC:
	case CSV_HO_VERB_COUNT:
		break;
	}
	return CSV_HO_JOB_UNKNOWN;
}
