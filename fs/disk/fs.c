/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One volume: set up, taken down, withdrawn. */
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "fs/disk/super.h"
#include "fs/journal/journal.h"
#include "fs/meta/alloc.h"

/* Writers first: a stream of readers must not keep a commit from freezing its transaction. */
static enum csv_err meta_init(struct csv_fs *fs)
{
	pthread_rwlockattr_t attr;
	int no;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	no = pthread_rwlock_init(&fs->meta, &attr);
	pthread_rwlockattr_destroy(&attr);
	return no ? CSV_NOMEM : CSV_OK;
}

static enum csv_err open_checked(struct csv_fs *fs, struct csv_why *why)
{
	enum csv_err err;

	if (fs->readonly)
		return CSV_OK;
	err = csv_super_writable(&fs->sb, why);
	if (err != CSV_OK)
		return err;
	if (fs->slot >= fs->sb.slots)
		return csv_fail(why, CSV_INVAL, "", "volume has %u slots, none with number %u", fs->sb.slots, fs->slot);
	return CSV_OK;
}

enum csv_err csv_fs_open(struct csv_fs *fs, struct csv_bdev *dev, struct csv_env *env, bool readonly, uint32_t slot,
			 uint32_t incarnation, struct csv_why *why)
{
	enum csv_err err;

	memset(fs, 0, sizeof(*fs));
	fs->dev = dev;
	fs->env = env;
	fs->readonly = readonly;
	fs->slot = slot;
	fs->incarnation = incarnation;
	err = csv_super_read(dev, &fs->sb, why);
	if (err != CSV_OK)
		return err;
	err = open_checked(fs, why);
	if (err != CSV_OK)
		return err;
	err = meta_init(fs);
	if (err != CSV_OK)
		return csv_fail(why, err, "", "no memory for the volume");
	err = csv_cache_new(fs, &fs->cache);
	if (err != CSV_OK)
		goto out_meta;
	err = csv_alloc_new(fs);
	if (err != CSV_OK)
		goto out_cache;
	if (!readonly)
		err = csv_journal_open(fs, why);
	if (err != CSV_OK)
		goto out_alloc;
	return CSV_OK;

out_alloc:
	csv_alloc_free(fs);
out_cache:
	csv_cache_free(fs->cache);
out_meta:
	pthread_rwlock_destroy(&fs->meta);
	return csv_fail(why, err, "", "volume cannot be set up: %s", csv_err_text(err));
}

enum csv_err csv_fs_close(struct csv_fs *fs)
{
	enum csv_err err = csv_journal_close(fs);

	csv_alloc_free(fs);
	csv_cache_free(fs->cache);
	pthread_rwlock_destroy(&fs->meta);
	return err;
}

void csv_fs_withdraw(struct csv_fs *fs, enum csv_err err, const char *fmt, ...)
{
	int nobody = 0;
	va_list ap;

	if (!atomic_compare_exchange_strong(&fs->withdraw_claim, &nobody, 1))
		return;
	va_start(ap, fmt);
	vsnprintf(fs->withdraw_reason, sizeof(fs->withdraw_reason), fmt, ap);
	va_end(ap);
	/* The reason is whole before anybody can see that there is one. */
	atomic_store(&fs->withdrawn, err == CSV_OK ? CSV_WITHDRAWN : (int)err);
	if (fs->on_withdraw)
		fs->on_withdraw(fs->on_withdraw_arg, err, fs->withdraw_reason);
}

enum csv_err csv_fs_state(struct csv_fs *fs)
{
	int err = atomic_load(&fs->withdrawn);

	if (err == CSV_OK)
		return CSV_OK;
	return err == CSV_FENCED ? CSV_FENCED : CSV_WITHDRAWN;
}
