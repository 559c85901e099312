/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The FUSE session: mount, receive, end.
 *
 * Threads of our own receive requests, because libfuse's loop would leave the payload of
 * a WRITE on an odd address, and O_DIRECT would need a copy.  The end of the mount shows as
 * ENODEV in each of them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <unistd.h>

#include "fs/fuse/ops.h"
#include "fs/fuse/rx.h"
#include "fs/lock/brl.h"
#include "lib/log.h"

#define MAX_IO (1u << 20)
#define MAX_BACKGROUND 1024u /* above the sum of the guests' queue depths (U2) */
#define TICK_MS 1000

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	conn->max_write = MAX_IO;
	conn->max_read = MAX_IO;
	conn->max_readahead = 0;
	conn->max_background = MAX_BACKGROUND;
	conn->congestion_threshold = MAX_BACKGROUND / 4 * 3;
	/*
	 * Nothing is cached, so there is nothing to splice or to keep.  O_TRUNC comes as a setattr of its own,
	 * set-user-id bits are cleared by the kernel.
	 */
	conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
				  FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_WRITEBACK_CACHE |
				  FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_READDIRPLUS);
	if (conn->capable & FUSE_CAP_PARALLEL_DIROPS)
		conn->want |= FUSE_CAP_PARALLEL_DIROPS;
	if (conn->capable & FUSE_CAP_ASYNC_DIO)
		conn->want |= FUSE_CAP_ASYNC_DIO;
}

static const struct fuse_lowlevel_ops ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.create = op_create,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.readdir = op_readdir,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.getlk = op_getlk,
	.setlk = op_setlk,
	.flock = op_flock,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
	.ioctl = op_ioctl,
};

/* ---- mount ------------------------------------------------------------------------- */

/* libfuse splits options at commas; the name of a LUN may have some. */
static void escape(char *out, size_t size, const char *in)
{
	size_t n = 0;

	for (; *in && n + 2 < size; in++) {
		if (*in == ',' || *in == '\\')
			out[n++] = '\\';
		out[n++] = *in;
	}
	out[n] = 0;
}

enum csv_err csv_session_open(struct csv_mount *m, struct csv_why *why)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char lun[2048], text[2300];
	enum csv_err err = CSV_OK;

	escape(lun, sizeof(lun), m->opts.lun);
	snprintf(text, sizeof(text), "-oallow_other,default_permissions,max_read=%u,subtype=csvfs,fsname=%s%s", MAX_IO,
		 lun, m->opts.readonly ? ",ro" : "");
	if (fuse_opt_add_arg(&args, "csvfs") || fuse_opt_add_arg(&args, text))
		return csv_fail(why, CSV_NOMEM, "", "no memory for the FUSE session");
	m->se = fuse_session_new(&args, &ops, sizeof(ops), m);
	fuse_opt_free_args(&args);
	if (!m->se)
		return csv_fail(why, CSV_INTERNAL, "", "libfuse refuses the mount's options");
	if (fuse_session_mount(m->se, m->opts.dir)) {
		err = csv_err_from_errno(errno);
		csv_fail(why, err, "see whether it is a directory, and whether you may mount there",
			 "cannot mount on %s: %s", m->opts.dir, strerror(errno));
		fuse_session_destroy(m->se);
		m->se = NULL;
	}
	return err;
}

/* ---- serve -------------------------------------------------------------------------- */

/* What must be done every second; stops when the eventfd is readable. */
struct ticker {
	struct csv_mount *m;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
};

static void *tick(void *arg)
{
	struct ticker *t = arg;

	pthread_mutex_lock(&t->lock);
	while (!t->stop) {
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += TICK_MS / 1000;
		pthread_cond_timedwait(&t->wake, &t->lock, &until);
		if (t->stop)
			break;
		pthread_mutex_unlock(&t->lock);
		times_tick(t->m);
		csv_data_tick(t->m->data);
		csv_health_tick(t->m);
		pthread_mutex_lock(&t->lock);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

static void ticker_stop(struct ticker *t)
{
	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&t->lock);
	pthread_join(t->thread, NULL);
}

/* The kernel drops the RELEASE requests that were on their way when the mount went. */
static void abandon(void *arg, struct csv_handle *h)
{
	handle_abandon(arg, h);
}

static void wait_idle(struct csv_mount *m)
{
	unsigned ms = 0;

	for (; atomic_load(&m->ops) > 0; usleep(1000))
		if (++ms % 10000 == 0)
			csv_warn("unmount waits for %llu requests", (unsigned long long)atomic_load(&m->ops));
}

enum csv_err csv_session_serve(struct csv_mount *m)
{
	struct ticker t = { .m = m, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER };
	enum csv_err err;

	if (pthread_create(&t.thread, NULL, tick, &t))
		return CSV_NOMEM;
	err = rx_run(m->se);
	atomic_store(&m->stopping, true);
	csv_mount_forget(m); /* whatever becomes of us from here on, nobody wants it back */
	ticker_stop(&t);
	csv_ranges_out(m->ranges); /* those who still wait for a lock are told */
	wait_idle(m);
	csv_handle_each(m->handles, abandon, m);
	wait_idle(m);
	return err;
}

void csv_session_close(struct csv_mount *m)
{
	if (!m->se)
		return;
	fuse_session_unmount(m->se);
	fuse_session_destroy(m->se);
	m->se = NULL;
}

void csv_session_stop(struct csv_mount *m)
{
	atomic_store(&m->stopping, true);
	/* Out of the tree at once; the connection ends with its last user. */
	if (umount2(m->opts.dir, UMOUNT_NOFOLLOW) == 0 || errno == EINVAL)
		return;
	csv_warn("%s is in use; unmount is completed by its last user", m->opts.dir);
	umount2(m->opts.dir, MNT_DETACH | UMOUNT_NOFOLLOW);
}
