/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images of the recorder: memfds that never change once made, so that crash
 * images can be private mappings of them and cost only what they differ in.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/record_impl.h"

#define CHUNK (1u << 20)

static bool all_zero(const unsigned char *p, size_t len)
{
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

static bool put(int fd, const void *buf, size_t len, uint64_t off)
{
	for (size_t n = 0; n < len;) {
		ssize_t w = pwrite(fd, (const char *)buf + n, len - n, (off_t)(off + n));

		if (w <= 0)
			return false;
		n += (size_t)w;
	}
	return true;
}

static int new_image(uint64_t size)
{
	int fd = memfd_create("csv-record", MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, (off_t)size)) {
		close(fd);
		return -1;
	}
	return fd;
}

static enum csv_err read_all(struct csv_bdev *dev, int fd, unsigned char *buf)
{
	for (uint64_t off = 0; off < dev->geo.size; off += CHUNK) {
		size_t len = dev->geo.size - off < CHUNK ? dev->geo.size - off : CHUNK;
		enum csv_err err = csv_bdev_read(dev, off, buf, len);

		if (err != CSV_OK)
			return err;
		if (!all_zero(buf, len) && !put(fd, buf, len, off))
			return CSV_NOMEM;
	}
	return CSV_OK;
}

int rec_image_copy(int from, uint64_t size)
{
	int fd = new_image(size);
	unsigned char *buf = malloc(CHUNK);
	off_t data = 0, hole;

	if (fd < 0 || !buf)
		goto fail;
	while ((data = lseek(from, data, SEEK_DATA)) >= 0) {
		hole = lseek(from, data, SEEK_HOLE);
		while (data < hole) {
			ssize_t n = pread(from, buf, hole - data < CHUNK ? (size_t)(hole - data) : CHUNK, data);

			if (n <= 0 || !put(fd, buf, (size_t)n, (uint64_t)data))
				goto fail;
			data += n;
		}
	}
	free(buf);
	return fd;
fail:
	free(buf);
	if (fd >= 0)
		close(fd);
	return -1;
}

int rec_image_take(struct csv_bdev *dev, enum csv_err *err)
{
	int fd, mem = csv_bdev_mem_fd(dev);
	unsigned char *buf;

	*err = CSV_NOMEM;
	if (mem >= 0)
		return rec_image_copy(mem, dev->geo.size);
	fd = new_image(dev->geo.size);
	buf = aligned_alloc(4096, CHUNK);
	if (fd >= 0 && buf)
		*err = read_all(dev, fd, buf);
	free(buf);
	if (fd >= 0 && *err != CSV_OK) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Snapshot k holds the first (k + 1) * step entries. */
static size_t snapshot_step(const struct recorder *r)
{
	size_t step = 512;

	while (step * REC_SNAPSHOTS < r->count)
		step *= 2;
	return step;
}

/* Makes the next snapshot from what image `fd` with its first `from` entries holds. */
static int make_snapshot(struct recorder *r, int from_fd, size_t from, size_t upto)
{
	int fd = rec_image_copy(from_fd, r->dev.geo.size);

	for (size_t i = from; fd >= 0 && i < upto; i++) {
		const struct csv_record_entry *e = &r->log[i]->e;

		if (e->kind == CSV_RECORD_WRITE && !put(fd, e->data, e->len, e->off)) {
			close(fd);
			fd = -1;
		}
	}
	return fd;
}

int rec_image_for(struct recorder *r, size_t durable, size_t *upto)
{
	size_t step = snapshot_step(r);
	int fd = r->base;

	*upto = 0;
	for (size_t k = 0; k < REC_SNAPSHOTS && *upto + step <= durable; k++) {
		size_t next = (k + 1) * step;

		/* A log that has grown since has wider steps. */
		if (r->snap[k].fd >= 0 && r->snap[k].upto != next) {
			close(r->snap[k].fd);
			r->snap[k].fd = -1;
		}
		if (r->snap[k].fd < 0) {
			r->snap[k].fd = make_snapshot(r, fd, *upto, next);
			r->snap[k].upto = next;
		}
		if (r->snap[k].fd < 0)
			break; /* out of memory: slower from here, not wrong */
		fd = r->snap[k].fd;
		*upto = next;
	}
	return fd;
}

void rec_images_drop(struct recorder *r)
{
	for (int k = 0; k < REC_SNAPSHOTS; k++) {
		if (r->snap[k].fd >= 0)
			close(r->snap[k].fd);
		r->snap[k].fd = -1;
	}
}
