/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/foreign.h"

#include <blkid/blkid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "csv/disk.h"

/*
 * What the libblkid probe says there is: filesystems, RAID members, partition tables. Anything but "nothing" counts,
 * also several signatures, which blkid_do_safeprobe() takes for doubt.
 */
static enum csv_err name_foreign(blkid_probe pr, const char *hint, struct csv_why *why)
{
	const char *type = NULL;
	char found[80] = "";
	int no;

	blkid_probe_enable_superblocks(pr, 1);
	blkid_probe_enable_partitions(pr, 1);
	no = blkid_do_safeprobe(pr);
	if (no == 1)
		return CSV_OK;
	if (no != 0 && no != -2)
		return csv_fail(why, CSV_IO, hint, "what is on it cannot be told: libblkid failed");
	blkid_reset_probe(pr);
	while (blkid_do_probe(pr) == 0) {
		if (blkid_probe_lookup_value(pr, "TYPE", &type, NULL) &&
		    blkid_probe_lookup_value(pr, "PTTYPE", &type, NULL))
			continue;
		snprintf(found + strlen(found), sizeof(found) - strlen(found), "%s%s", *found ? " and " : "", type);
	}
	return csv_fail(why, CSV_FOREIGN, hint, "%s is on it", *found ? found : "something");
}

static enum csv_err foreign_on_path(const char *path, const char *hint, struct csv_why *why)
{
	blkid_probe pr = blkid_new_probe_from_filename(path);
	enum csv_err err;

	if (!pr)
		return csv_fail(why, CSV_IO, hint, "what is on it cannot be told: libblkid does not open it");
	err = name_foreign(pr, hint, why);
	blkid_free_probe(pr);
	return err;
}

/*
 * libblkid reads files only.  The ends of a LUN over libiscsi are laid into a sparse file of its size, in memory.  Of
 * what libblkid 2.38 knows, the second header of LUKS2 lies farthest from the start (4 MiB), Promise RAID farthest from
 * the end (3087 sectors).
 */
#define EDGE (8u << 20)
#define PIECE (1u << 20)
static enum csv_err copy_edge(struct csv_bdev *dev, int fd, uint64_t from, uint64_t to)
{
	char *buf = aligned_alloc(CSV_BLOCK_SIZE, PIECE);
	enum csv_err err = buf ? CSV_OK : CSV_NOMEM;

	for (uint64_t off = from; !err && off < to; off += PIECE) {
		size_t len = to - off < PIECE ? (size_t)(to - off) : PIECE;

		err = csv_bdev_read(dev, off, buf, len);
		if (!err && pwrite(fd, buf, len, (off_t)off) != (ssize_t)len)
			err = CSV_NOMEM;
	}
	free(buf);
	return err;
}

static enum csv_err foreign_on_lun(struct csv_bdev *dev, const char *hint, struct csv_why *why)
{
	uint64_t size = dev->geo.size, head = size < EDGE ? size : EDGE;
	int fd = memfd_create("csvadm-probe", MFD_CLOEXEC);
	blkid_probe pr = blkid_new_probe();
	enum csv_err err = CSV_OK;

	if (!pr || fd < 0 || ftruncate(fd, (off_t)size))
		err = CSV_NOMEM;
	if (!err)
		err = copy_edge(dev, fd, 0, head);
	if (!err)
		err = copy_edge(dev, fd, size - head > head ? size - head : head, size);
	/* Where a GPT lies depends on the blocks. */
	if (!err && (blkid_probe_set_device(pr, fd, 0, 0) || blkid_probe_set_sectorsize(pr, dev->geo.block)))
		err = CSV_NOMEM;
	if (err)
		csv_fail(why, err, "", "its content cannot be read: %s", csv_err_text(err));
	else
		err = name_foreign(pr, hint, why);
	blkid_free_probe(pr);
	if (fd >= 0)
		close(fd);
	return err;
}

enum csv_err csv_foreign(const char *lun, struct csv_bdev *dev, const char *hint, struct csv_why *why)
{
	return strncmp(lun, "iscsi://", 8) ? foreign_on_path(lun, hint, why) : foreign_on_lun(dev, hint, why);
}
