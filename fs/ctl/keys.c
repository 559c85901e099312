/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/ctl/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "lib/log.h"

/* One place for the whole host: not moved by CSV_RUN_DIR, or two mounts could each have a lock of their own. */
#define LOCK_DIR "/run/csvfs"

/* A process that was killed has its lock until the last of its threads is gone. */
#define LOCK_MS 2000u
#define LOCK_POLL_MS 20u

enum csv_err csv_host_lock(struct csv_mount *m, int *fd, struct csv_why *why)
{
	char path[sizeof(LOCK_DIR) + 64], uuid[37];

	uuid_unparse_lower(m->sb.uuid, uuid);
	snprintf(path, sizeof(path), LOCK_DIR "/local-%s", uuid);
	mkdir(LOCK_DIR, 0755);
	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (*fd < 0)
		return csv_fail(why, csv_err_from_errno(errno), "", "%s: %s", path, strerror(errno));
	for (unsigned waited = 0; flock(*fd, LOCK_EX | LOCK_NB); waited += LOCK_POLL_MS) {
		if (waited < LOCK_MS) {
			poll(NULL, 0, LOCK_POLL_MS);
			continue;
		}
		close(*fd);
		*fd = -1;
		return csv_fail(why, CSV_BUSY, "unmount it first", "this host has volume %s mounted already",
				m->sb.name);
	}
	return CSV_OK;
}

enum csv_err csv_keys_admit(struct csv_mount *m, uint64_t own, bool (*mine)(uint64_t key), struct csv_pr_status *st,
			    struct csv_why *why)
{
	enum csv_err err = m->dev->ops->pr_status(m->dev, st);

	if (err)
		return csv_fail(why, err, "", "the reservations of %s cannot be read: %s", m->opts.lun,
				csv_err_text(err));
	for (unsigned i = 0; i < st->nkeys; i++) {
		uint64_t key = st->keys[i];

		if (key == own || !mine(key) || csv_key_of_host(key) || csv_key_over(m->dev, &m->sb, key))
			continue;
		if (!m->opts.takeover)
			return csv_key_busy(m->dev, &m->sb, key,
					    "unmount it there; -o takeover only if that host is dead for certain: it "
					    "loses the volume",
					    why);
		csv_warn("key %016llx of another mount is taken over", (unsigned long long)key);
	}
	return CSV_OK;
}

enum csv_err csv_keys_touch_slot(struct csv_mount *m, struct csv_why *why)
{
	struct csv_slot s;
	enum csv_err err = csv_slot_read(m->dev, &m->sb, 0, &s, why);

	if (err || s.state != CSV_SLOT_CLEAN)
		return err;
	err = csv_slot_write(m->dev, &m->sb, &s);
	return err ? csv_fail(why, err, "", "slot 0 cannot be written") : CSV_OK;
}

static bool any_local(const struct csv_pr_status *st)
{
	for (unsigned i = 0; i < st->nkeys; i++) {
		if (csv_key_local(st->keys[i]))
			return true;
	}
	return false;
}

enum csv_err csv_keys_no_local(struct csv_mount *m, uint64_t own, struct csv_why *why)
{
	struct csv_pr_status *st = calloc(1, sizeof(*st));
	enum csv_err err;
	int lock = -1;

	if (!st)
		return csv_fail(why, CSV_NOMEM, "", "no memory for the LUN's reservations");
	err = csv_keys_admit(m, own, csv_key_local, st, why);
	if (!err && any_local(st)) {
		/* Is the one of this host that left a key dead? */
		if (!m->opts.takeover)
			err = csv_host_lock(m, &lock, why);
		if (!err)
			err = csv_keys_touch_slot(m, why);
	}
	if (lock >= 0)
		close(lock);
	free(st);
	return err;
}
