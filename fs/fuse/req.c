/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The course of a request: run, park, run again, answer. */
#include "fs/fuse/req.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "fs/lock/handoff.h"
#include "fs/lock/lease.h"
#include "fs/lock/vm.h"
#include "lib/log.h"

#define ROUNDS_MAX                                                                                                     \
	96u /* runs again for what ctx asks: each adds a group or a directory, all are among the op's holds */

static void op_run(struct csv_op *op);
static void op_fail(struct csv_op *op, enum csv_err err);

static struct csv_freq *of_op(struct csv_op *op)
{
	return csv_list_entry(op, struct csv_freq, op);
}

struct csv_freq *freq_new_own(struct csv_mount *m, freq_body body)
{
	struct csv_freq *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->m = m;
	r->body = body;
	r->ctx.fs = &m->fs;
	csv_op_init(&r->op, m->locks, op_run, op_fail);
	atomic_fetch_add(&m->ops, 1);
	return r;
}

struct csv_freq *freq_new(fuse_req_t req, freq_body body)
{
	const struct fuse_ctx *c = fuse_req_ctx(req);
	struct csv_freq *r = freq_new_own(freq_mount(req), body);

	if (!r) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	r->req = req;
	r->ctx.uid = c->uid;
	r->ctx.gid = c->gid;
	r->pid = (uint32_t)c->pid;
	return r;
}

static void freq_free(struct csv_freq *r)
{
	struct csv_mount *m = r->m;

	if (r->cleanup)
		r->cleanup(r);
	if (r->file)
		csv_file_put(m->data, r->file);
	free(r->name);
	free(r->name2);
	free(r->mem);
	free(r->up);
	free(r);
	atomic_fetch_sub(&m->ops, 1);
}

/* However the request ends: no share is left behind, no acquisition half-way. */
static void lease_drop(struct csv_freq *r)
{
	if (r->leasing)
		csv_lease_cancel(r->m->leases, &r->op);
	if (r->lease)
		csv_lease_forget(r->m->leases, &r->op, r->lease);
	r->leasing = false;
	r->lease = NULL;
}

/* Locks first, then the answer: what the caller does next finds them free. */
static void finish(struct csv_freq *r, enum csv_err err)
{
	lease_drop(r);
	csv_op_done(&r->op);
	if (r->succeeded)
		err = CSV_OK;
	if (err == CSV_OK && r->reply)
		r->reply(r);
	else if (r->req)
		fuse_reply_err(r->req, err == CSV_NOENT && r->noent ? r->noent : csv_err_errno(err));
	freq_free(r);
}

bool freq_names(struct csv_freq *r, const char *name, const char *name2)
{
	enum csv_err err = CSV_OK;

	if (strlen(name) > CSV_NAME_MAX || (name2 && strlen(name2) > CSV_NAME_MAX))
		err = CSV_NAMETOOLONG;
	if (err == CSV_OK && (!(r->name = strdup(name)) || (name2 && !(r->name2 = strdup(name2)))))
		err = CSV_NOMEM;
	if (err != CSV_OK)
		finish(r, err);
	return err == CSV_OK;
}

/* ---- running ------------------------------------------------------------------- */

static void run_work(struct csv_work *work)
{
	struct csv_freq *r = csv_list_entry(work, struct csv_freq, work);

	op_run(&r->op);
}

static void queue(struct csv_freq *r)
{
	r->work.fn = run_work;
	csv_workq_add(r->m->workq, &r->work);
}

/* From the start, without a lock: the new, larger set of locks is named from scratch (L7). */
void freq_again(struct csv_freq *r)
{
	csv_op_done(&r->op);
	csv_op_init(&r->op, r->m->locks, op_run, op_fail);
	queue(r);
}

static void pending_free(struct csv_commit_wait *w, enum csv_err err)
{
	struct csv_freq *r = csv_list_entry(w, struct csv_freq, commit);

	if (err != CSV_OK)
		finish(r, err);
	else
		queue(r);
}

/* The volume looks full, but what was freed comes back with its commit (J2). */
static void wait_for_free(struct csv_freq *r)
{
	r->committed = true;
	csv_op_done(&r->op);
	csv_op_init(&r->op, r->m->locks, op_run, op_fail);
	r->commit.tid = csv_journal_last_tid(&r->m->fs);
	r->commit.fn = pending_free;
	csv_journal_commit_async(&r->m->fs, &r->commit);
}

/* A directory that the operation has to look at on its way up. */
static bool take_need_ino(struct csv_freq *r)
{
	uint64_t ino = r->ctx.need_ino;

	for (unsigned i = 0; i < r->nup; i++)
		if (r->up[i] == ino)
			return false;
	if (!ino || r->nup == ROUNDS_MAX)
		return false;
	if (!r->up && !(r->up = calloc(ROUNDS_MAX, sizeof(*r->up))))
		return false;
	r->up[r->nup++] = ino;
	return true;
}

static void settle(struct csv_freq *r, enum csv_err err)
{
	if (csv_op_waits(&r->op) && (err == CSV_OK || err == CSV_WAIT)) {
		csv_op_park(&r->op);
		return;
	}
	if (err == CSV_WAIT || err == CSV_NOSPC) {
		bool more = csv_ctx_take_need(&r->ctx);

		more |= take_need_ino(r);
		if (more && r->rounds++ < ROUNDS_MAX) {
			freq_again(r);
			return;
		}
		if (err == CSV_NOSPC && !r->committed && csv_alloc_pending(&r->m->fs) > 0) {
			wait_for_free(r);
			return;
		}
	}
	if (err == CSV_OK && r->ctx.ags.n > 0)
		atomic_store(&r->m->ag_hint, r->ctx.ags.ag[r->ctx.ags.n - 1]);
	finish(r, err);
}

static void op_run(struct csv_op *op)
{
	struct csv_freq *r = of_op(op);
	enum csv_err err = csv_fs_state(&r->m->fs);

	if (err == CSV_OK || r->always)
		err = r->body(r);
	if (err != FREQ_LATER)
		settle(r, err);
}

static void op_fail(struct csv_op *op, enum csv_err err)
{
	finish(of_op(op), err);
}

void freq_start(struct csv_freq *r)
{
	if (r->slow)
		queue(r);
	else
		op_run(&r->op);
}

void freq_end(struct csv_freq *r, enum csv_err err)
{
	settle(r, err);
}

void freq_next(struct csv_freq *r, freq_body body)
{
	r->body = body;
	freq_again(r);
}

/* ---- locks ---------------------------------------------------------------------- */

enum csv_err freq_hold(struct csv_freq *r, enum csv_res_type type, uint64_t id, enum csv_mode mode)
{
	enum csv_err err = csv_hold(&r->op, csv_res(type, id), mode);

	return err == CSV_WAIT ? CSV_OK : err;
}

static enum csv_err first_ag(struct csv_freq *r)
{
	uint32_t ag = atomic_load(&r->m->ag_hint);

	if (ag == UINT32_MAX && !csv_alloc_candidate(&r->m->fs, &r->ctx.ags, 1, &ag))
		ag = 0;
	return csv_agset_add(&r->ctx.ags, ag) ? CSV_OK : CSV_INTERNAL;
}

enum csv_err freq_hold_ags(struct csv_freq *r)
{
	enum csv_err err = r->ctx.ags.n ? CSV_OK : first_ag(r);

	for (unsigned i = 0; err == CSV_OK && i < r->ctx.ags.n; i++)
		err = freq_hold(r, CSV_RES_AG, r->ctx.ags.ag[i], CSV_EX);
	return err;
}

/* ---- node ids and attributes ------------------------------------------------------ */

#define NODE_BITS 40

struct csv_iref freq_ref(struct csv_mount *m, fuse_ino_t node)
{
	if (node == FUSE_ROOT_ID)
		return (struct csv_iref){ m->fs.sb.root_inode, 0 };
	return (struct csv_iref){ node & ((1ull << NODE_BITS) - 1), (uint32_t)(node >> NODE_BITS) };
}

fuse_ino_t freq_node(const struct csv_mount *m, struct csv_iref ref)
{
	if (ref.ino == m->fs.sb.root_inode)
		return FUSE_ROOT_ID;
	return ref.ino | (fuse_ino_t)ref.gen << NODE_BITS;
}

void freq_stat(const struct csv_mount *m, const struct csv_attr *attr, struct stat *st)
{
	*st = (struct stat){
		.st_ino = attr->ref.ino,
		.st_mode = attr->mode,
		.st_nlink = attr->nlink,
		.st_uid = attr->uid,
		.st_gid = attr->gid,
		.st_rdev = makedev(attr->rdev_major, attr->rdev_minor),
		.st_size = S_ISDIR(attr->mode) ? CSV_BLOCK_SIZE : (off_t)attr->size,
		.st_blksize = CSV_BLOCK_SIZE,
		.st_blocks = (blkcnt_t)(attr->blocks * (CSV_BLOCK_SIZE / 512)),
		.st_atim = attr->atime,
		.st_mtim = attr->mtime,
		.st_ctim = attr->ctime,
	};
}

void freq_entry(const struct csv_mount *m, const struct csv_attr *attr, struct fuse_entry_param *e)
{
	/* Time-outs 0: other nodes change things (U1). */
	*e = (struct fuse_entry_param){ .ino = freq_node(m, attr->ref), .generation = attr->ref.gen };
	freq_stat(m, attr, &e->attr);
}

void freq_reply_entry(struct csv_freq *r)
{
	struct fuse_entry_param e;

	freq_entry(r->m, &r->attr, &e);
	fuse_reply_entry(r->req, &e);
}

void freq_reply_attr(struct csv_freq *r)
{
	struct stat st;

	freq_stat(r->m, &r->attr, &st);
	fuse_reply_attr(r->req, &st, 0);
}

static void at_least(struct timespec *t, struct timespec least)
{
	if (least.tv_sec > t->tv_sec || (least.tv_sec == t->tv_sec && least.tv_nsec > t->tv_nsec))
		*t = least;
}

/* While an image is leased its times are its holder's. */
static void lease_times(struct csv_freq *r)
{
	struct timespec mtime, ctime;

	if (!csv_lease_times(r->m->leases, r->attr.ref, &mtime, &ctime))
		return;
	at_least(&r->attr.mtime, mtime);
	at_least(&r->attr.ctime, ctime);
}

enum csv_err freq_lease(struct csv_freq *r)
{
	char vm[CSV_VMNAME_MAX + 1];
	struct csv_why why;
	enum csv_err err;

	if (r->lease)
		return CSV_OK;
	csv_why_init(&why);
	csv_vm_of(r->m->vms, r->pid, vm);
	if (!r->leasing && r->m->handoffs && !csv_lease_held(r->m->leases, r->attr.ref, NULL) &&
	    !csv_handoffs_may_take(r->m->handoffs, r->attr.ref.ino))
		return CSV_LEASED; /* H3: a handoff decides whose it is */
	err = csv_lease_open(r->m->leases, &r->op, r->attr.ref, r->attr.lease, vm, &r->lease, &why);
	if (err == CSV_OK && r->leasing) /* home, where others find whose it is (csv_lease_peek) */
		err = csv_journal_sync_res(&r->m->fs, csv_res(CSV_RES_LEASE, r->attr.ref.ino));
	r->leasing = err == CSV_WAIT;
	if (err == CSV_LEASED)
		csv_warn("inode %llu, process %u of VM %s: open for writing refused: %s",
			 (unsigned long long)r->attr.ref.ino, r->pid, vm, why.text);
	return err;
}

enum csv_err freq_getattr(struct csv_freq *r, struct csv_iref ref)
{
	enum csv_err err = csv_getattr(&r->ctx, ref, &r->attr);

	if (err != CSV_OK || !S_ISREG(r->attr.mode))
		return err;
	if (r->attr.lease)
		lease_times(r);
	csv_data_overlay(r->m->data, &r->attr);
	return CSV_OK;
}

enum csv_err freq_file(struct csv_freq *r, struct csv_iref ref)
{
	return r->file ? CSV_OK : csv_file_get(r->m->data, ref, &r->file);
}
