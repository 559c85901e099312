/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block device in memory, for tests.
 *
 * The content is a mapping, so the kernel makes it sparse and zero-filled, and
 * crash images can share what they did not change (lib/record.c).  Requests run
 * in submit() and are done when it returns, so a write is "durable" at once.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/bdev_impl.h"
#include "lib/iov.h"

struct mem_dev {
	struct csv_bdev dev;
	pthread_mutex_t lock; /* requests are atomic: no reader sees half a write */
	int fd;		      /* memfd of a shared mapping; -1: private mapping */
	unsigned char *map;
	size_t size;
};

static void mem_discard(struct mem_dev *m, const struct csv_io *io)
{
	if (m->fd < 0 || fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)io->off, (off_t)io->len))
		memset(m->map + io->off, 0, io->len);
}

static void mem_submit(struct csv_bdev *dev, struct csv_io *io)
{
	struct mem_dev *m = (struct mem_dev *)dev;
	enum csv_err err = csv_bdev_check(dev, io, false);

	if (err != CSV_OK) {
		io->done(io, err);
		return;
	}
	csv_bdev_count(dev, io);
	pthread_mutex_lock(&m->lock);
	if (io->op == CSV_IO_READ)
		csv_iov_scatter(io->iov, io->niov, 0, m->map + io->off, io->len);
	else if (io->op == CSV_IO_WRITE)
		csv_iov_gather(io->iov, io->niov, 0, m->map + io->off, io->len);
	else if (io->op == CSV_IO_DISCARD)
		mem_discard(m, io);
	pthread_mutex_unlock(&m->lock);
	io->done(io, CSV_OK);
}

static void mem_close(struct csv_bdev *dev)
{
	struct mem_dev *m = (struct mem_dev *)dev;

	munmap(m->map, m->size);
	if (m->fd >= 0)
		close(m->fd);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

static const struct csv_bdev_ops mem_ops = {
	.name = "memory",
	.submit = mem_submit,
	.close = mem_close,
};

/* Maps fd; takes it over if `own`. */
static enum csv_err mem_new(int fd, bool own, const struct csv_bdev_geometry *geo, struct csv_bdev **dev)
{
	struct mem_dev *m = calloc(1, sizeof(*m));

	if (!m)
		return CSV_NOMEM;
	m->size = geo->size;
	m->map = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_NORESERVE | (own ? MAP_SHARED : MAP_PRIVATE), fd, 0);
	if (m->map == MAP_FAILED) {
		free(m);
		return CSV_NOMEM;
	}
	m->fd = own ? fd : -1;
	m->dev.ops = &mem_ops;
	m->dev.geo = *geo;
	pthread_mutex_init(&m->lock, NULL);
	*dev = &m->dev;
	return CSV_OK;
}

enum csv_err csv_bdev_mem(uint64_t size, uint32_t block, struct csv_bdev **dev)
{
	const struct csv_bdev_geometry geo = { .size = size, .block = block, .fua = true, .discard = true };
	enum csv_err err;
	int fd;

	*dev = NULL;
	if ((block != 512 && block != 4096) || size == 0 || size % block)
		return CSV_INVAL;
	fd = memfd_create("csv-mem", MFD_CLOEXEC);
	if (fd < 0)
		return CSV_NOMEM;
	err = ftruncate(fd, (off_t)size) ? CSV_NOMEM : mem_new(fd, true, &geo, dev);
	if (err != CSV_OK)
		close(fd);
	return err;
}

enum csv_err csv_bdev_mem_private(int fd, const struct csv_bdev_geometry *geo, struct csv_bdev **dev)
{
	*dev = NULL;
	return mem_new(fd, false, geo, dev);
}

int csv_bdev_mem_fd(struct csv_bdev *dev)
{
	return dev->ops == &mem_ops ? ((struct mem_dev *)dev)->fd : -1;
}

void *csv_bdev_mem_map(struct csv_bdev *dev)
{
	return ((struct mem_dev *)dev)->map;
}
