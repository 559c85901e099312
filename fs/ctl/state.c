/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `csvadm status` tells of a mount. */
#include <stdio.h>
#include <string.h>

#include "csv/proto.h"
#include "fs/lock/cache.h"
#include "fs/mount.h"
#include "lib/log.h"

const char *csv_volume_state_name(enum csv_volume_state state)
{
	static const char *const names[] = { "online", "recovering", "paused", "failed", "fenced", "withdrawn" };

	return (unsigned)state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

void csv_mount_set_state(struct csv_mount *m, enum csv_volume_state state, const char *reason)
{
	uint32_t nsec;
	bool change;

	pthread_mutex_lock(&m->lock);
	/* Fenced and withdrawn are for good. */
	change = (m->state != state || strcmp(m->reason, reason ? reason : "") != 0) && m->state != CSV_VOL_FENCED &&
		 m->state != CSV_VOL_WITHDRAWN;
	if (change) {
		if (m->state != state)
			m->env->wall(m->env, &m->state_since, &nsec);
		m->state = state;
		snprintf(m->reason, sizeof(m->reason), "%s", reason ? reason : "");
	}
	pthread_mutex_unlock(&m->lock);
	if (change)
		csv_info("volume %s is %s%s%s", m->sb.name, csv_volume_state_name(state), reason && *reason ? ": " : "",
			 reason ? reason : "");
}

void csv_mount_status(struct csv_mount *m, struct csv_msg_volume *v)
{
	struct csv_locks_stats ls;
	struct csv_data_stats ds;
	uint64_t free_blocks = 0;

	memset(v, 0, sizeof(*v));
	memcpy(v->uuid, m->sb.uuid, sizeof(v->uuid));
	snprintf(v->name, sizeof(v->name), "%s", m->sb.name);
	snprintf(v->mount, sizeof(v->mount), "%.*s", (int)sizeof(v->mount) - 1, m->opts.dir);
	snprintf(v->lun, sizeof(v->lun), "%s", m->opts.lun);
	pthread_mutex_lock(&m->lock);
	snprintf(v->state, sizeof(v->state), "%s", csv_volume_state_name(m->state));
	memcpy(v->reason, m->reason, sizeof(v->reason));
	v->since_sec = m->state_since;
	pthread_mutex_unlock(&m->lock);
	v->slot = m->slot;
	v->incarnation = m->incarnation;
	csv_locks_stats(m->locks, &ls);
	csv_data_stats(m->data, &ds);
	v->lock_requests = ls.requests;
	v->reads = ds.reads;
	v->writes = ds.writes;
	v->blocks_written = m->dev->stats.bytes_written / CSV_BLOCK_SIZE;
	v->flushes = m->dev->stats.flushes;
	csv_alloc_free_blocks(&m->fs, &free_blocks);
	v->size = m->sb.blocks * CSV_BLOCK_SIZE;
	v->free = free_blocks * CSV_BLOCK_SIZE;
}
