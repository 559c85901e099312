/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A mount, up and down, in the order of fs/mount.h. */
#include "fs/mount.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "csv/timeouts.h"
#include "fs/fuse/handle.h"
#include "fs/handoff.h"
#include "fs/lock/brl.h"
#include "fs/lock/cache.h"
#include "fs/lock/lease.h"
#include "fs/lock/vm.h"
#include "lib/log.h"

#define WORKERS 16u

/*
 * The end of this mount as a member of the volume; any thread.  It stays mounted, answers EIO, and is shown to people.
 */
static void on_withdraw(void *arg, enum csv_err err, const char *reason)
{
	struct csv_mount *m = arg;

	csv_error("volume %s is out on this node: %s (%s)", m->sb.name, csv_err_text(err), reason);
	csv_bdev_stop(m->dev);
	csv_health_out(m, err, reason);
	if (m->locks)
		csv_locks_out(m->locks, err);
	if (m->ranges)
		csv_ranges_out(m->ranges);
	/* Last, when nothing new is written any more: the others take over what we had. */
	if (m->kind->out && m->kind_data)
		m->kind->out(m);
}

/* Before this the mount fails if the LUN is full; from here on what is mounted waits. */
static void on_full(void *arg, bool waits)
{
	csv_health_full(arg, waits);
}

static enum csv_err choose_kind(struct csv_mount *m, struct csv_why *why)
{
	bool wished = m->opts.lock == CSV_MOUNT_CPG || m->opts.lock == CSV_MOUNT_DLM;
	bool cluster = wished || (m->opts.lock == CSV_MOUNT_AUTO && m->sb.cluster[0]);

	m->kind = &csv_mount_local;
	if (!cluster)
		return CSV_OK;
	if (m->opts.readonly)
		return csv_fail(why, CSV_USAGE, "mount it read-write",
				"a cluster's volume cannot be mounted read-only");
	if (!m->sb.cluster[0])
		return csv_fail(why, CSV_INVAL, "mount with lock=local, or format it with --cluster",
				"volume %s belongs to no cluster", m->sb.name);
	m->kind = &csv_mount_cluster;
	return CSV_OK;
}

/* Options that this device gives no meaning to are refused, not ignored. */
static enum csv_err check_options(struct csv_mount *m, struct csv_why *why)
{
	if (m->opts.path_timeout_ms && !m->dev->ops->set_guard)
		return csv_fail(why, CSV_USAGE, "leave path_timeout= out", "%s has no path that could be lost",
				m->opts.lun);
	if (m->opts.takeover && !m->dev->ops->pr_preempt)
		return csv_fail(why, CSV_USAGE, "leave takeover out", "%s has no reservations to take over",
				m->opts.lun);
	if (m->opts.takeover && m->opts.readonly)
		return csv_fail(why, CSV_USAGE, "mount it read-write", "a read-only mount takes nothing over");
	if (!m->opts.path_timeout_ms)
		m->opts.path_timeout_ms = CSV_PATH_MS;
	return CSV_OK;
}

/* All that can be said against the volume is said before the first byte is written, or another node fenced. */
static enum csv_err check_super(struct csv_mount *m, struct csv_why *why)
{
	enum csv_err err = csv_super_read(m->dev, &m->sb, why);

	if (err != CSV_OK)
		return err;
	if (m->sb.copy_used > 0) {
		snprintf(m->warning, sizeof(m->warning),
			 "the first superblock is damaged, copy %u was used; run csvadm check", m->sb.copy_used);
		csv_warn("the primary superblock is damaged (%s), copy %u is used", why->text, m->sb.copy_used);
	}
	csv_why_init(why);
	return m->opts.readonly ? CSV_OK : csv_super_writable(&m->sb, why);
}

static enum csv_err open_device(struct csv_mount *m, struct csv_why *why)
{
	unsigned flags = CSV_BDEV_EXCLUSIVE | (m->opts.readonly ? CSV_BDEV_RDONLY : 0);
	enum csv_err err = csv_bdev_open(m->opts.lun, flags, &m->dev, why);

	if (err != CSV_OK)
		return err;
	err = check_options(m, why);
	if (err == CSV_OK)
		err = check_super(m, why);
	if (err == CSV_OK)
		err = choose_kind(m, why);
	if (err != CSV_OK) {
		csv_bdev_close(m->dev);
		m->dev = NULL;
	}
	return err;
}

static enum csv_err open_leases(struct csv_mount *m)
{
	struct csv_leases_cfg cfg = { .fs = &m->fs, .locks = m->locks, .data = m->data, .nodeid = m->nodeid };

	memcpy(cfg.node, m->opts.node, sizeof(cfg.node));
	if (m->kind->leases)
		m->kind->leases(m, &cfg);
	csv_locks_on_flush(m->locks, csv_times_before_flush, m->data);
	return csv_leases_new(&cfg, &m->leases);
}

/* Step 3, in parts that each undo nothing: close_core() copes with whatever is there. */
static enum csv_err open_core(struct csv_mount *m, struct csv_why *why)
{
	struct csv_ranges_cfg ranges = { .nodeid = m->nodeid };
	enum csv_err err = csv_fs_open(&m->fs, m->dev, m->env, m->opts.readonly, m->slot, m->incarnation, why);

	if (err != CSV_OK)
		return err;
	m->fs_open = true;
	err = csv_workq_new(WORKERS, &m->workq);
	if (err == CSV_OK) {
		struct csv_engine *engine = m->engine;

		m->engine = NULL; /* the cache's from now on, also if it fails */
		err = csv_locks_new(&m->fs, m->workq, engine, NULL, &m->locks);
	}
	if (err == CSV_OK) {
		m->fs.locks = csv_locks_ctx(m->locks);
		m->fs.on_withdraw_arg = m;
		m->fs.on_withdraw = on_withdraw;
		csv_bdev_on_full(m->dev, &m->full, on_full, m);
		err = csv_data_new(&m->fs, m->workq, &m->data);
	}
	if (err == CSV_OK)
		err = open_leases(m);
	if (err == CSV_OK)
		err = csv_handles_new(&m->handles);
	if (err == CSV_OK)
		err = csv_vms_new(&m->vms);
	ranges.workq = m->workq;
	if (m->kind->ranges)
		m->kind->ranges(m, &ranges);
	if (err == CSV_OK)
		err = csv_ranges_new(&ranges, &m->ranges);
	if (err == CSV_OK)
		err = csv_mount_handoffs_open(m);
	return err == CSV_OK ? err : csv_fail(why, err, "", "no memory for the mount");
}

static enum csv_err close_core(struct csv_mount *m)
{
	enum csv_err err = CSV_OK;

	csv_mount_handoffs_close(m);
	csv_vms_free(m->vms);
	csv_handles_free(m->handles);
	csv_leases_free(m->leases);
	if (m->fs_open) {
		err = csv_fs_state(&m->fs);
		if (csv_fs_close(&m->fs) != CSV_OK && err == CSV_OK)
			err = CSV_IO;
		m->fs_open = false;
	}
	csv_data_free(m->data);
	csv_locks_free(m->locks);
	if (m->workq)
		csv_workq_free(m->workq);
	if (m->engine)
		m->engine->ops->close(m->engine);
	m->vms = NULL;
	m->handles = NULL;
	m->leases = NULL;
	m->data = NULL;
	m->locks = NULL;
	m->workq = NULL;
	m->engine = NULL;
	return err;
}

enum csv_err csv_mount_close(struct csv_mount *m)
{
	enum csv_err err;

	csv_bdev_full_at_most(m->dev, CSV_FULL_LEAVE_MS);
	if (m->kind->leaving)
		m->kind->leaving(m);
	err = close_core(m);
	if (m->kind->left)
		m->kind->left(m, err == CSV_OK);
	if (err == CSV_OK && m->unclean)
		err = CSV_IO;
	csv_ranges_free(m->ranges); /* nobody answers, nobody withdraws any more */
	m->ranges = NULL;
	csv_bdev_close(m->dev);
	m->dev = NULL;
	pthread_mutex_destroy(&m->lock);
	return err;
}

enum csv_err csv_mount_open(struct csv_mount *m, const struct csv_mount_opts *opts, struct csv_why *why)
{
	enum csv_err err;

	memset(m, 0, sizeof(*m));
	m->opts = *opts;
	m->env = csv_env_system();
	m->slot = CSV_SLOT_NONE;
	atomic_store(&m->ag_hint, UINT32_MAX);
	pthread_mutex_init(&m->lock, NULL);
	csv_health_init(m);
	err = open_device(m, why);
	if (err != CSV_OK)
		goto out;
	err = m->kind->join(m, why);
	if (err != CSV_OK) {
		csv_bdev_close(m->dev);
		goto out;
	}
	err = open_core(m, why);
	if (err == CSV_OK && m->kind->opened)
		err = m->kind->opened(m, why);
	if (err == CSV_OK && !opts->readonly)
		err = csv_reap_own_orphans(m, why);
	if (err == CSV_OK)
		err = csv_fs_state(&m->fs); /* what was not there yet when it was withdrawn was not told */
	if (err == CSV_OK)
		return CSV_OK;
	csv_mount_close(m);
	return csv_fail(why, err, "", "volume cannot be mounted: %s", csv_err_text(err));
out:
	pthread_mutex_destroy(&m->lock);
	return err;
}
