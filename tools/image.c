/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "csv/disk.h"
#include "tools/csvadm.h"

/* Opens the directory of a path; *name is its last part. */
static int open_parent(const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	char dir[4096] = ".";

	*name = slash ? slash + 1 : path;
	if (slash == path)
		strcpy(dir, "/");
	else if (slash && snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path) >= (int)sizeof(dir)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static enum csv_err refusal(int error, struct csv_why *why)
{
	if (error == ENOTTY || error == ENOSYS)
		return csv_fail(why, CSV_INVAL, "give a path on a mounted volume; `csvadm volume list` shows them",
				"not on a csvfs volume");
	if (error == EBUSY)
		return csv_fail(why, CSV_BUSY, "stop the VM; `csvadm handle list` on each node shows who",
				"somebody has it open");
	return csv_fail(why, csv_err_from_errno(error), "", "%s", strerror(error));
}

enum csv_err csv_image_ask(const char *path, uint32_t op, struct csv_ioctl_image *image, struct csv_why *why)
{
	const char *name;
	int dir = open_parent(path, &name), error = 0;

	memset(image, 0, sizeof(*image));
	image->op = op;
	if (dir < 0)
		return refusal(errno, why);
	if (snprintf(image->name, sizeof(image->name), "%s", name) >= (int)sizeof(image->name))
		error = ENAMETOOLONG;
	else if (ioctl(dir, CSV_IOC_IMAGE, image))
		error = errno;
	close(dir);
	return error ? refusal(error, why) : CSV_OK;
}

static const char *mode_name(uint32_t mode)
{
	return mode == CSV_LEASE_EXCLUSIVE ? "exclusive" : mode == CSV_LEASE_SHARED ? "shared" : "none";
}

void csv_image_json(json_t *out, const struct csv_ioctl_image *image)
{
	bool held = image->lease_mode != CSV_LEASE_NONE;
	json_t *lease = json_object();

	csv_out_u64(out, "extents", image->extents);
	json_object_set_new(out, "image", json_boolean(image->image));
	if (!image->image) {
		json_decref(lease);
		json_object_set_new(out, "lease", json_null());
		return;
	}
	csv_out_str(lease, "mode", mode_name(image->lease_mode));
	csv_out_str(lease, "node", held ? image->lease_node : NULL);
	csv_out_str(lease, "vm", held ? image->lease_vm : NULL);
	csv_out_u64(lease, "epoch", image->lease_epoch);
	csv_out_time(lease, "since", held ? (int64_t)image->lease_since : 0);
	json_object_set_new(lease, "alive", held ? json_boolean(image->lease_alive) : json_null());
	json_object_set_new(out, "lease", lease);
}
