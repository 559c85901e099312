/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block devices: open by name, and what all back ends share. */
#include <string.h>

#include "lib/bdev_impl.h"
#include "lib/iov.h"

enum csv_err csv_bdev_open(const char *lun, unsigned flags, struct csv_bdev **dev, struct csv_why *why)
{
	*dev = NULL;
	if (!lun || !*lun)
		return csv_fail(why, CSV_USAGE, "give a path or iscsi://host/IQN/LUN", "the name of the LUN is empty");
	if (strncmp(lun, "iscsi://", 8) == 0)
		return csv_bdev_iscsi_open(lun, flags, dev, why);
	if (strstr(lun, "://"))
		return csv_fail(why, CSV_USAGE, "give a path or iscsi://host/IQN/LUN", "unknown kind of LUN '%.100s'",
				lun);
	return csv_bdev_disk_open(lun, flags, dev, why);
}

void csv_bdev_close(struct csv_bdev *dev)
{
	if (dev)
		dev->ops->close(dev);
}

uint64_t csv_bdev_generation(struct csv_bdev *dev)
{
	return __atomic_load_n(&dev->generation, __ATOMIC_ACQUIRE);
}

void csv_bdev_generation_bump(struct csv_bdev *dev)
{
	__atomic_add_fetch(&dev->generation, 1, __ATOMIC_ACQ_REL);
}

enum csv_err csv_bdev_check(const struct csv_bdev *dev, const struct csv_io *io, bool rdonly)
{
	uint32_t mask = dev->geo.block - 1;

	switch (io->op) {
	case CSV_IO_FLUSH:
		return CSV_OK;
	case CSV_IO_READ:
		break;
	case CSV_IO_WRITE:
	case CSV_IO_DISCARD:
		if (rdonly)
			return CSV_ROFS;
		break;
	default:
		return CSV_INVAL;
	}
	if ((io->off & mask) || (io->len & mask) || io->off > dev->geo.size || io->len > dev->geo.size - io->off)
		return CSV_INVAL;
	if (io->op != CSV_IO_DISCARD && (io->niov < 0 || csv_iov_len(io->iov, io->niov) != io->len))
		return CSV_INVAL;
	return CSV_OK;
}

static void add(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

void csv_bdev_count(struct csv_bdev *dev, const struct csv_io *io)
{
	switch (io->op) {
	case CSV_IO_READ:
		add(&dev->stats.reads, 1);
		add(&dev->stats.bytes_read, io->len);
		break;
	case CSV_IO_WRITE:
		add(&dev->stats.writes, 1);
		add(&dev->stats.bytes_written, io->len);
		break;
	case CSV_IO_FLUSH:
		add(&dev->stats.flushes, 1);
		break;
	case CSV_IO_DISCARD:
		add(&dev->stats.discards, 1);
		break;
	}
}
