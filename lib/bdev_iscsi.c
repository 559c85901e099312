/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block device on an iSCSI LUN: open, close, submit, and the loop of its thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/env.h"
#include "lib/iscsi_impl.h"
#include "lib/thread.h"

static void wake(struct iscsi_dev *d)
{
	uint64_t one = 1;

	while (write(d->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void iscsi_submit(struct csv_bdev *dev, struct csv_io *io)
{
	struct iscsi_dev *d = (struct iscsi_dev *)dev;
	enum csv_err err = csv_bdev_check(dev, io, d->rdonly);
	struct iscsi_req *req;
	bool first;

	/* A discard is a hint. */
	if (err != CSV_OK || (io->op != CSV_IO_FLUSH && io->len == 0) ||
	    (io->op == CSV_IO_DISCARD && !dev->geo.discard)) {
		io->done(io, err);
		return;
	}
	req = calloc(1, sizeof(*req));
	if (!req) {
		io->done(io, CSV_NOMEM);
		return;
	}
	req->io = io;
	csv_bdev_count(dev, io);
	pthread_mutex_lock(&d->lock);
	first = csv_list_empty(&d->incoming);
	csv_list_push_back(&d->incoming, &req->link);
	/* Under the lock: once it is taken over and done, the device may be closed. */
	if (first)
		wake(d);
	pthread_mutex_unlock(&d->lock);
}

static enum csv_err run_ctl(struct csv_bdev *dev, struct iscsi_ctl *ctl)
{
	struct iscsi_dev *d = (struct iscsi_dev *)dev;

	csv_list_init(&ctl->link);
	pthread_mutex_lock(&d->lock);
	csv_list_push_back(&d->ctls, &ctl->link);
	wake(d);
	while (!ctl->done)
		pthread_cond_wait(&d->changed, &d->lock);
	pthread_mutex_unlock(&d->lock);
	return ctl->err;
}

static enum csv_err iscsi_pr_register(struct csv_bdev *dev, uint64_t key)
{
	struct iscsi_ctl ctl = { .op = ISCSI_CTL_REGISTER, .key = key };

	return run_ctl(dev, &ctl);
}

static enum csv_err iscsi_pr_reserve(struct csv_bdev *dev, uint64_t key, enum csv_pr_type type)
{
	struct iscsi_ctl ctl = { .op = ISCSI_CTL_RESERVE, .key = key, .type = type };

	return run_ctl(dev, &ctl);
}

static enum csv_err iscsi_pr_preempt(struct csv_bdev *dev, uint64_t key, uint64_t victim, enum csv_pr_type type,
				     bool *aborted)
{
	struct iscsi_ctl ctl = { .op = ISCSI_CTL_PREEMPT, .key = key, .victim = victim, .type = type };
	enum csv_err err = run_ctl(dev, &ctl);

	if (aborted)
		*aborted = ctl.aborted;
	return err;
}

static enum csv_err iscsi_pr_status(struct csv_bdev *dev, struct csv_pr_status *st)
{
	struct iscsi_ctl ctl = { .op = ISCSI_CTL_STATUS, .st = st };

	return run_ctl(dev, &ctl);
}

static enum csv_err iscsi_scsi(struct csv_bdev *dev, struct csv_scsi_cmd *cmd)
{
	struct iscsi_ctl ctl = { .op = ISCSI_CTL_SCSI, .cmd = cmd };

	return run_ctl(dev, &ctl);
}

/* When this returns, no call-back of the guard before is running, nor will be. */
static void iscsi_set_guard(struct csv_bdev *dev, const struct csv_bdev_guard *guard)
{
	struct iscsi_dev *d = (struct iscsi_dev *)dev;

	pthread_mutex_lock(&d->guard_lock);
	pthread_mutex_lock(&d->lock);
	d->has_guard = guard != NULL;
	d->had_guard |= guard != NULL;
	if (guard)
		d->guard = *guard;
	pthread_mutex_unlock(&d->lock);
	pthread_mutex_unlock(&d->guard_lock);
}

static struct iscsi_ctl *first_ctl(struct iscsi_dev *d)
{
	struct iscsi_ctl *ctl = NULL;

	pthread_mutex_lock(&d->lock);
	if (!csv_list_empty(&d->ctls))
		ctl = csv_list_entry(d->ctls.next, struct iscsi_ctl, link);
	pthread_mutex_unlock(&d->lock);
	return ctl;
}

bool csv_iscsi_may_end(struct iscsi_dev *d)
{
	bool may;

	pthread_mutex_lock(&d->lock);
	may = d->closing && csv_list_empty(&d->incoming) && csv_list_empty(&d->ctls);
	pthread_mutex_unlock(&d->lock);
	return may && csv_iscsi_idle(d);
}

static void end_ctl(struct iscsi_dev *d, struct iscsi_ctl *ctl)
{
	pthread_mutex_lock(&d->lock);
	csv_list_del(&ctl->link);
	ctl->done = true;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
}

/* A dead device: what is queued fails; a fenced one may still look, and unregister. */
static void dead_step(struct iscsi_dev *d, struct iscsi_ctl *ctl, enum csv_err err)
{
	csv_iscsi_fail_all(d, err);
	if (!ctl) {
		csv_iscsi_pump(d, 1000);
		return;
	}
	ctl->err = err;
	if (d->up && (ctl->op == ISCSI_CTL_STATUS || (ctl->op == ISCSI_CTL_REGISTER && ctl->key == 0)))
		csv_iscsi_pr_run(d, ctl);
	end_ctl(d, ctl);
}

static void loop(struct iscsi_dev *d)
{
	while (!csv_iscsi_may_end(d)) {
		struct iscsi_ctl *ctl = first_ctl(d);
		enum csv_err err;

		if (d->lost)
			csv_iscsi_drop(d);
		if (csv_iscsi_dead(d, &err))
			dead_step(d, ctl, err);
		else if (!d->up)
			csv_iscsi_come_back(d);
		else if (d->check)
			csv_iscsi_check(d);
		else if (!ctl)
			csv_iscsi_pump(d, 1000);
		else if (csv_iscsi_pr_run(d, ctl)) /* else again, on the next session */
			end_ctl(d, ctl);
	}
}

static enum csv_err first_login(struct iscsi_dev *d, struct csv_why *why)
{
	uint64_t deadline = csv_iscsi_now() + d->open_ms;
	enum csv_err err = CSV_UNREACH;

	for (int i = 0; i < d->name.nportals; i++) {
		uint64_t now = csv_iscsi_now(), left = deadline > now ? deadline - now : 0;

		csv_why_init(why);
		/* A share of the time for each portal, so that a dead first one leaves some for the second. */
		err = csv_iscsi_login(d, d->name.portal[i], now + left / (uint64_t)(d->name.nportals - i), why);
		if (err == CSV_OK)
			err = csv_iscsi_probe(d, why);
		if (err == CSV_OK)
			return CSV_OK;
		csv_iscsi_drop(d);
	}
	return err;
}

static void *thread_main(void *arg)
{
	struct iscsi_dev *d = arg;
	enum csv_err err;
	struct csv_why why;

	csv_why_init(&why);
	err = first_login(d, &why);
	d->dev.generation = 0;
	d->gate = err == CSV_OK;
	d->state = CSV_PATH_ONLINE;
	pthread_mutex_lock(&d->lock);
	d->opened = true;
	d->open_err = err;
	d->open_why = why;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
	if (err == CSV_OK)
		loop(d);
	csv_iscsi_logout(d);
	return NULL;
}

static void destroy(struct iscsi_dev *d)
{
	if (d->wake >= 0)
		close(d->wake);
	explicit_bzero(d->secret, sizeof(d->secret));
	pthread_cond_destroy(&d->changed);
	pthread_mutex_destroy(&d->guard_lock);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static void iscsi_close(struct csv_bdev *dev)
{
	struct iscsi_dev *d = (struct iscsi_dev *)dev;

	pthread_mutex_lock(&d->lock);
	d->closing = true;
	wake(d);
	pthread_mutex_unlock(&d->lock);
	pthread_join(d->thread, NULL);
	destroy(d);
}

static const struct csv_bdev_ops iscsi_ops = {
	.name = "iscsi",
	.submit = iscsi_submit,
	.pr_register = iscsi_pr_register,
	.pr_reserve = iscsi_pr_reserve,
	.pr_preempt = iscsi_pr_preempt,
	.pr_status = iscsi_pr_status,
	.scsi = iscsi_scsi,
	.set_guard = iscsi_set_guard,
	.close = iscsi_close,
};

/* A bound of time from the environment, for tests. */
static unsigned env_ms(const char *name, unsigned otherwise)
{
	const char *v = getenv(name);
	long ms = v ? strtol(v, NULL, 10) : 0;

	return ms > 0 && ms < 3600000 ? (unsigned)ms : otherwise;
}

static struct iscsi_dev *create(unsigned flags)
{
	struct iscsi_dev *d = calloc(1, sizeof(*d));
	pthread_mutexattr_t recursive;

	if (!d)
		return NULL;
	d->dev.ops = &iscsi_ops;
	d->rdonly = flags & CSV_BDEV_RDONLY;
	d->silence_ms = env_ms("CSV_ISCSI_SILENCE_MS", ISCSI_SILENCE_MS);
	d->open_ms = env_ms("CSV_ISCSI_OPEN_MS", ISCSI_OPEN_MS);
	pthread_mutex_init(&d->lock, NULL);
	/* A call-back may change the guard. */
	pthread_mutexattr_init(&recursive);
	pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&d->guard_lock, &recursive);
	pthread_mutexattr_destroy(&recursive);
	pthread_cond_init(&d->changed, NULL);
	csv_list_init(&d->incoming);
	csv_list_init(&d->ctls);
	csv_list_init(&d->queue);
	csv_list_init(&d->retry);
	csv_list_init(&d->inflight);
	csv_iscsi_port_init(d);
	csv_initiator_name(d->initiator, sizeof(d->initiator));
	csv_env_system()->random(NULL, &d->isid, sizeof(d->isid));
	d->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return d;
}

/*
 * CSV_BDEV_EXCLUSIVE means nothing here: who has the LUN is told by the keys at the target, which a mount registers and
 * everybody who wants the volume for himself looks at (fs/disk/keys.h).
 */
enum csv_err csv_bdev_iscsi_open(const char *url, unsigned flags, struct csv_bdev **dev, struct csv_why *why)
{
	struct iscsi_dev *d = create(flags);
	enum csv_err err;

	if (!d)
		return csv_fail(why, CSV_NOMEM, NULL, "out of memory");
	err = csv_iscsi_parse(url, &d->name, why);
	if (err == CSV_OK && d->name.chap[0])
		err = csv_iscsi_chap_secret(d->name.chap, d->secret, sizeof(d->secret), why);
	if (err == CSV_OK && (d->wake < 0 || csv_thread_start(&d->thread, thread_main, d)))
		err = csv_fail(why, CSV_NOMEM, NULL, "cannot start a thread for the iSCSI session");
	if (err != CSV_OK)
		goto fail;
	pthread_mutex_lock(&d->lock);
	while (!d->opened)
		pthread_cond_wait(&d->changed, &d->lock);
	err = d->open_err;
	pthread_mutex_unlock(&d->lock);
	if (err == CSV_OK) {
		*dev = &d->dev;
		return CSV_OK;
	}
	pthread_join(d->thread, NULL);
	if (why && why->err == CSV_OK)
		*why = d->open_why;
fail:
	destroy(d);
	return err;
}
