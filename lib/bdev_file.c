/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block device on a plain file or a kernel block device: open, geometry, exclusion, close. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/bdev_file.h"

static void file_close(struct csv_bdev *dev)
{
	struct file_dev *f = (struct file_dev *)dev;

	pthread_mutex_lock(&f->lock);
	while (f->inflight > 0)
		pthread_cond_wait(&f->idle, &f->lock);
	pthread_mutex_unlock(&f->lock);
	f->engine->stop(f);
	close(f->fd); /* drops O_EXCL or the lock */
	pthread_cond_destroy(&f->idle);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static const struct csv_bdev_ops file_ops = {
	.name = "file",
	.submit = file_submit,
	.close = file_close,
};

/* A number from /sys/dev/block/MAJ:MIN/queue/NAME, of the whole disk for a partition; 0 if there is none. */
static unsigned long long queue_value(dev_t rdev, const char *name)
{
	static const char *const up[] = { "", "../" };
	unsigned long long v = 0;
	char path[128];

	for (int i = 0; i < 2; i++) {
		FILE *file;
		int n;

		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%squeue/%s", major(rdev), minor(rdev), up[i], name);
		file = fopen(path, "re");
		if (!file)
			continue;
		n = fscanf(file, "%llu", &v);
		fclose(file);
		return n == 1 ? v : 0;
	}
	return 0;
}

static enum csv_err device_geometry(struct file_dev *f, const struct stat *st)
{
	uint64_t size;
	int block;

	if (ioctl(f->fd, BLKGETSIZE64, &size) || ioctl(f->fd, BLKSSZGET, &block))
		return csv_err_from_errno(errno);
	f->dev.geo.size = size;
	f->dev.geo.block = (uint32_t)block;
	f->dev.geo.fua = queue_value(st->st_rdev, "fua") != 0;
	f->dev.geo.discard = queue_value(st->st_rdev, "discard_max_bytes") != 0;
	f->mem_align = (uint32_t)block;
	return CSV_OK;
}

/* Offsets that O_DIRECT takes on this file: since Linux 6.1 statx() knows, before it 512 fits all but 4Kn disks. */
static void file_geometry(struct file_dev *f, const struct stat *st)
{
	f->dev.geo.block = 512;
	f->mem_align = 512;
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (f->direct && statx(f->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
	    (stx.stx_mask & STATX_DIOALIGN) && stx.stx_dio_offset_align) {
		f->dev.geo.block = stx.stx_dio_offset_align <= 512 ? 512 : stx.stx_dio_offset_align;
		f->mem_align = stx.stx_dio_mem_align;
	}
#endif
	f->dev.geo.size = (uint64_t)st->st_size & ~(uint64_t)(f->dev.geo.block - 1);
	f->dev.geo.fua = true; /* RWF_DSYNC */
	f->dev.geo.discard = true;
}

static enum csv_err geometry(struct file_dev *f, const char *path, struct csv_why *why)
{
	enum csv_err err = CSV_OK;
	struct stat st;

	if (fstat(f->fd, &st))
		return csv_fail(why, csv_err_from_errno(errno), NULL, "cannot examine %.150s: %m", path);
	if (S_ISBLK(st.st_mode))
		err = device_geometry(f, &st);
	else
		file_geometry(f, &st);
	if (err != CSV_OK)
		return csv_fail(why, err, NULL, "cannot read the size of %.150s: %m", path);
	if (f->dev.geo.block != 512 && f->dev.geo.block != 4096)
		return csv_fail(why, CSV_INVAL, "use a device with blocks of 512 or 4096 bytes",
				"%.120s has logical blocks of %u bytes", path, f->dev.geo.block);
	return CSV_OK;
}

static enum csv_err busy(const char *path, const char *holder, struct csv_why *why)
{
	return csv_fail(why, CSV_BUSY, "unmount it there or end that program first", "%.100s is in use%s%s", path,
			holder[0] ? " by " : "", holder);
}

/*
 * The lock of a killed process, and its O_EXCL, live until its last request in the kernel has ended, a moment after the
 * process (F3: its successor must wait for just that).  So if nobody can be named as the holder he is waited for, at
 * most this long.
 */
#define DEAD_HOLDER_MS 5000u
#define DEAD_HOLDER_POLL_MS 20u

/*
 * Plain files: a lock of the open file description, which dies with the last
 * descriptor, so a killed program leaves none behind.
 */
static enum csv_err lock_file(struct file_dev *f, const char *path, struct csv_why *why)
{
	struct flock lk = { .l_type = f->rdonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };
	char holder[96];

	for (unsigned waited = 0;; waited += DEAD_HOLDER_POLL_MS) {
		if (fcntl(f->fd, F_OFD_SETLK, &lk) == 0)
			return CSV_OK;
		if (errno != EAGAIN && errno != EACCES)
			return csv_fail(why, csv_err_from_errno(errno), NULL, "cannot lock %.150s: %m", path);
		holder[0] = 0;
		csv_holder_of_file(f->fd, holder, sizeof(holder));
		if (holder[0] || waited >= DEAD_HOLDER_MS)
			return busy(path, holder, why);
		poll(NULL, 0, DEAD_HOLDER_POLL_MS);
	}
}

static int open_waiting(const char *path, int how, char *holder, size_t size)
{
	for (unsigned waited = 0;; waited += DEAD_HOLDER_POLL_MS) {
		int fd = open(path, how);

		if (fd >= 0 || errno != EBUSY)
			return fd;
		csv_holder_of_device(path, holder, size);
		errno = EBUSY;
		if (holder[0] || waited >= DEAD_HOLDER_MS)
			return -1;
		poll(NULL, 0, DEAD_HOLDER_POLL_MS);
	}
}

static enum csv_err open_fd(struct file_dev *f, const char *path, unsigned flags, struct csv_why *why)
{
	int how = (f->rdonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY;
	char holder[96] = "";
	struct stat st;

	if (stat(path, &st))
		return csv_fail(why, csv_err_from_errno(errno), NULL, "cannot open %.150s: %m", path);
	if (!S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode))
		return csv_fail(why, CSV_INVAL, "give a file, a block device or iscsi://host/IQN/LUN",
				"%.150s is neither a block device nor a regular file", path);
	/* On a device O_EXCL excludes other O_EXCL openers and kernel users (mounts, dm, md); see open(2). */
	if ((flags & CSV_BDEV_EXCLUSIVE) && S_ISBLK(st.st_mode))
		how |= O_EXCL;
	f->fd = open_waiting(path, f->direct ? how | O_DIRECT : how, holder, sizeof(holder));
	if (f->fd < 0 && f->direct && errno == EINVAL) {
		/* A filesystem without O_DIRECT: fdatasync still makes data durable. */
		f->direct = false;
		f->fd = open(path, how);
	}
	if (f->fd >= 0)
		return CSV_OK;
	if (errno != EBUSY)
		return csv_fail(why, csv_err_from_errno(errno), NULL, "cannot open %.150s: %m", path);
	return busy(path, holder, why);
}

/* CSV_BDEV_NO_URING in the environment switches to threads, for tests and odd kernels. */
static enum csv_err start_engine(struct file_dev *f, struct csv_why *why)
{
	enum csv_err err;

	f->engine = &file_engine_ring;
	if (!getenv("CSV_BDEV_NO_URING") && f->engine->start(f) == CSV_OK)
		return CSV_OK;
	f->engine = &file_engine_pool;
	err = f->engine->start(f);
	return err == CSV_OK ? err : csv_fail(why, err, NULL, "cannot start threads for block I/O");
}

enum csv_err csv_bdev_file_open(const char *path, unsigned flags, struct csv_bdev **dev, struct csv_why *why)
{
	struct file_dev *f = calloc(1, sizeof(*f));
	enum csv_err err;

	if (!f)
		return csv_fail(why, CSV_NOMEM, NULL, "out of memory");
	f->dev.ops = &file_ops;
	f->rdonly = flags & CSV_BDEV_RDONLY;
	f->direct = !(flags & CSV_BDEV_BUFFERED);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->idle, NULL);
	err = open_fd(f, path, flags, why);
	if (err != CSV_OK)
		goto out_free;
	err = geometry(f, path, why);
	if (err != CSV_OK)
		goto out_close;
	if (flags & CSV_BDEV_EXCLUSIVE)
		err = lock_file(f, path, why);
	if (err == CSV_OK)
		err = start_engine(f, why);
	if (err != CSV_OK)
		goto out_close;
	*dev = &f->dev;
	return CSV_OK;

out_close:
	close(f->fd);
out_free:
	pthread_cond_destroy(&f->idle);
	pthread_mutex_destroy(&f->lock);
	free(f);
	return err;
}
