/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file by which csvlockd finds that a mount lost its csvfs, and how to mount it again (lib/mountfile.h).  Only for
 * mounts of a cluster, where there is a csvlockd, that were sent to the background: what runs in the foreground is
 * somebody else's to start.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/mount.h"
#include "lib/log.h"
#include "lib/mountfile.h"

static bool is_remembered(const struct csv_mount *m)
{
	return m->kind == &csv_mount_cluster && !m->opts.foreground;
}

/* The next csvfs starts in another directory. */
static bool name_lun(const char *lun, char *out, size_t size)
{
	char real[PATH_MAX];

	return snprintf(out, size, "%s", strstr(lun, "://") || !realpath(lun, real) ? lun : real) < (int)size;
}

void csv_mount_remember(struct csv_mount *m)
{
	struct csv_mountfile *f = calloc(1, sizeof(*f));
	enum csv_err err = f ? CSV_OK : CSV_NOMEM;

	if (!err && is_remembered(m)) {
		if (!name_lun(m->opts.lun, f->lun, sizeof(f->lun)) ||
		    snprintf(f->opts, sizeof(f->opts), "%s", m->opts.given) >= (int)sizeof(f->opts))
			err = CSV_NAMETOOLONG;
		snprintf(f->dir, sizeof(f->dir), "%s", m->opts.dir);
		snprintf(f->volume, sizeof(f->volume), "%s", m->sb.name);
		memcpy(f->uuid, m->sb.uuid, sizeof(f->uuid));
		f->slot = m->slot;
		f->incarnation = m->incarnation;
		f->pid = getpid();
		f->start = csv_process_start(f->pid);
		if (!err)
			err = csv_mountfile_write(m->opts.run_dir, f);
	}
	if (err)
		csv_warn("this mount will not come back if csvfs dies: its file cannot be written: %s",
			 csv_err_text(err));
	free(f);
}

void csv_mount_forget(struct csv_mount *m)
{
	struct csv_mountfile *f = malloc(sizeof(*f));

	/* A later mount on the same directory has written its own. */
	if (f && is_remembered(m) && csv_mountfile_read(m->opts.run_dir, m->opts.dir, f) == CSV_OK &&
	    f->pid == getpid())
		csv_mountfile_remove(m->opts.run_dir, m->opts.dir);
	free(f);
}

bool csv_mount_still_wanted(const struct csv_mount *m)
{
	struct csv_mountfile *f = malloc(sizeof(*f));
	bool wanted = !getenv("CSV_REMOUNT") ||
		      (f && csv_mountfile_read(m->opts.run_dir, m->opts.dir, f) == CSV_OK && !csv_mountfile_served(f));

	free(f);
	return wanted;
}
