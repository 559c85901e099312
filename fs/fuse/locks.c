/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fcntl, OFD and flock locks.  The kernel sends no unlock for OFD locks when their file is
 * closed: each lock bears the handle of its request and goes with it at RELEASE.  POSIX
 * locks go earlier, by their owner, at FLUSH.  Who decides is fs/lock/brl.h's affair.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>

#include "fs/fuse/caller.h"
#include "fs/fuse/ops.h"
#include "fs/lock/brl.h"

/* A request under way; freed with its last reference. */
struct lockreq {
	struct csv_range_req range;
	struct csv_list link; /* in waiting */
	struct csv_mount *m;
	fuse_req_t req;
	bool test;
	bool cancelled; /* waiting.lock */
	unsigned refs;	/* waiting.lock */
};

/* Requests that an INTERRUPT may have to find; by their FUSE request, for which libfuse vouches. */
static struct {
	pthread_mutex_t lock;
	struct csv_list list;
} waiting = { PTHREAD_MUTEX_INITIALIZER, CSV_LIST_INIT(waiting.list) };

static void put(struct lockreq *q)
{
	bool last;

	pthread_mutex_lock(&waiting.lock);
	last = --q->refs == 0;
	pthread_mutex_unlock(&waiting.lock);
	if (last)
		free(q);
}

static void reply_test(struct lockreq *q, enum csv_err err)
{
	struct flock l = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	if (err == CSV_LOCKED) {
		const struct csv_brl *b = &q->range.brl;

		l.l_type = (short)b->type;
		l.l_start = (off_t)b->start;
		l.l_len = b->end == UINT64_MAX ? 0 : (off_t)(b->end - b->start + 1);
		/* A process of another node has no number here. */
		l.l_pid = b->node == q->m->nodeid ? (pid_t)b->pid : -1;
	}
	fuse_reply_lock(q->req, &l);
}

static void done(struct csv_range_req *range, enum csv_err err)
{
	struct lockreq *q = csv_list_entry(range, struct lockreq, range);
	struct csv_mount *m = q->m;

	pthread_mutex_lock(&waiting.lock);
	csv_list_del(&q->link);
	pthread_mutex_unlock(&waiting.lock);
	if (q->test && (err == CSV_OK || err == CSV_LOCKED))
		reply_test(q, err);
	else
		fuse_reply_err(q->req, csv_err_errno(err));
	put(q);
	atomic_fetch_sub(&m->ops, 1);
}

static void interrupted(fuse_req_t req, void *arg)
{
	struct csv_mount *m = arg;
	struct lockreq *q = NULL;
	struct csv_list *pos;

	pthread_mutex_lock(&waiting.lock);
	csv_list_for_each(pos, &waiting.list) {
		struct lockreq *w = csv_list_entry(pos, struct lockreq, link);

		if (w->req == req) {
			w->refs++;
			w->cancelled = true;
			q = w;
			break;
		}
	}
	pthread_mutex_unlock(&waiting.lock);
	if (!q)
		return;
	csv_range_cancel(m->ranges, &q->range);
	put(q);
}

/* NULL: answered. */
static struct lockreq *lockreq_new(fuse_req_t req, struct fuse_file_info *fi, const struct flock *l)
{
	struct csv_mount *m = freq_mount(req);
	struct csv_handle *h = csv_handle_find(m->handles, fi->fh);
	struct lockreq *q = h ? calloc(1, sizeof(*q)) : NULL;

	if (!q) {
		fuse_reply_err(req, h ? ENOMEM : EBADF);
		return NULL;
	}
	q->m = m;
	q->req = req;
	q->refs = 2; /* done() and the one who starts it */
	q->range.done = done;
	q->range.brl = (struct csv_brl){
		.ino = h->ref.ino,
		.gen = h->ref.gen,
		.handle = h->id,
		.owner = fi->lock_owner,
		.start = (uint64_t)l->l_start,
		.end = l->l_len ? (uint64_t)l->l_start + (uint64_t)l->l_len - 1 : UINT64_MAX,
		.type = (uint32_t)l->l_type,
		.pid = (uint32_t)l->l_pid,
	};
	atomic_fetch_add(&m->ops, 1);
	return q;
}

static void start(struct lockreq *q)
{
	struct csv_mount *m = q->m;
	bool late;

	pthread_mutex_lock(&waiting.lock);
	csv_list_push_back(&waiting.list, &q->link);
	pthread_mutex_unlock(&waiting.lock);
	if (q->range.brl.type != F_UNLCK)
		fuse_req_interrupt_func(q->req, interrupted, m);
	if (q->test)
		csv_range_test(m->ranges, &q->range);
	else
		csv_range_set(m->ranges, &q->range);
	/* An interrupt that came before the set has found nothing to cancel. */
	pthread_mutex_lock(&waiting.lock);
	late = q->cancelled;
	pthread_mutex_unlock(&waiting.lock);
	if (late)
		csv_range_cancel(m->ranges, &q->range);
	put(q);
}

void op_getlk(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi, struct flock *lock)
{
	struct lockreq *q = lockreq_new(req, fi, lock);

	if (!q)
		return;
	q->test = true;
	start(q);
}

void op_setlk(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi, struct flock *lock, int sleep)
{
	struct lockreq *q = lockreq_new(req, fi, lock);

	if (!q)
		return;
	q->range.wait = sleep && lock->l_type != F_UNLCK;
	q->range.process = q->range.wait && csv_caller_is_process(fuse_req_ctx(req)->pid);
	start(q);
}

void op_flock(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi, int op)
{
	struct flock l = { .l_pid = fuse_req_ctx(req)->pid };
	struct lockreq *q;

	l.l_type = op & LOCK_UN ? F_UNLCK : op & LOCK_EX ? F_WRLCK : F_RDLCK;
	q = lockreq_new(req, fi, &l);
	if (!q)
		return;
	q->range.brl.flock = 1;
	q->range.wait = !(op & (LOCK_NB | LOCK_UN));
	start(q);
}

/* ---- the end of locks ------------------------------------------------------------------- */

static void dropped(struct csv_range_req *range, enum csv_err err)
{
	free(csv_list_entry(range, struct lockreq, range));
}

void locks_drop_owner(struct csv_mount *m, uint64_t handle, uint64_t owner)
{
	struct csv_handle *h = csv_handle_find(m->handles, handle);
	struct lockreq *q = h ? calloc(1, sizeof(*q)) : NULL;

	if (!q)
		return;
	q->range.done = dropped;
	q->range.brl = (struct csv_brl){ .ino = h->ref.ino,
					 .gen = h->ref.gen,
					 .handle = h->id,
					 .owner = owner,
					 .end = UINT64_MAX,
					 .type = F_UNLCK };
	csv_range_set(m->ranges, &q->range);
}

void locks_drop_handle(struct csv_mount *m, struct csv_handle *h)
{
	csv_range_drop(m->ranges, h->id);
}
