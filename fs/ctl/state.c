/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `csvadm status` tells of a mount.  Several things may be wrong at once, and each of them is told here when it
 * comes and when it goes; the state is the worst of those that hold.  So a view that comes in does not hide a lost
 * path.
 */
#include <stdio.h>
#include <string.h>

#include "csv/proto.h"
#include "fs/lock/cache.h"
#include "fs/meta/alloc.h"
#include "fs/mount.h"
#include "lib/log.h"

const char *csv_volume_state_name(enum csv_volume_state state)
{
	static const char *const names[] = { "online", "no quorum", "recovering", "paused", "fenced", "failed" };

	return (unsigned)state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

#define TELL_MIN_S 4u
#define TELL_MAX_S 64u

static enum csv_volume_state judge(const struct csv_health *h)
{
	if (h->out)
		return h->out == CSV_FENCED ? CSV_VOL_FENCED : CSV_VOL_FAILED;
	if (h->path_waits || h->full || h->lockd_lost)
		return CSV_VOL_PAUSED;
	if (h->frozen)
		return CSV_VOL_RECOVERING;
	return h->no_quorum ? CSV_VOL_NOQUORUM : CSV_VOL_ONLINE;
}

static void find_reason(struct csv_health *h)
{
	switch (h->state) {
	case CSV_VOL_FENCED:
	case CSV_VOL_FAILED:
		memcpy(h->reason, h->out_reason, sizeof(h->reason));
		break;
	case CSV_VOL_PAUSED:
		if (h->path_waits)
			memcpy(h->reason, h->path_reason, sizeof(h->reason));
		else if (h->full)
			snprintf(h->reason, sizeof(h->reason), "%s", csv_err_text(CSV_LUNFULL));
		else
			snprintf(h->reason, sizeof(h->reason), "csvlockd does not run");
		break;
	case CSV_VOL_RECOVERING:
		snprintf(h->reason, sizeof(h->reason), "no new locks; waits for %s", h->waits_for);
		break;
	case CSV_VOL_NOQUORUM:
		snprintf(h->reason, sizeof(h->reason), "no new locks; too few nodes are there");
		break;
	case CSV_VOL_ONLINE:
		h->reason[0] = 0;
		break;
	}
}

static void begin(struct csv_mount *m)
{
	struct csv_health *h = &m->health;
	uint32_t nsec;

	m->env->wall(m->env, &h->since, &nsec);
	h->began_ns = m->env->mono_ns(m->env);
	h->tell_s = TELL_MIN_S;
}

/* lock held; releases it. */
static void follow(struct csv_mount *m)
{
	struct csv_health *h = &m->health;
	enum csv_volume_state now = judge(h);
	bool change = now != h->state;
	char reason[sizeof(h->reason)];

	h->state = now;
	find_reason(h);
	if (change)
		begin(m);
	memcpy(reason, h->reason, sizeof(reason));
	pthread_mutex_unlock(&m->lock);
	if (change)
		csv_info("volume %s: state %s%s%s", m->sb.name, csv_volume_state_name(now), *reason ? ": " : "",
			 reason);
}

void csv_health_init(struct csv_mount *m)
{
	begin(m);
}

unsigned csv_health_tick(struct csv_mount *m)
{
	struct csv_health *h = &m->health, now;
	unsigned lasts;
	bool waits;

	pthread_mutex_lock(&m->lock);
	lasts = (unsigned)((m->env->mono_ns(m->env) - h->began_ns) / 1000000000u);
	waits = h->state == CSV_VOL_NOQUORUM || h->state == CSV_VOL_RECOVERING || h->state == CSV_VOL_PAUSED;
	if (waits && lasts >= h->tell_s)
		h->tell_s = lasts + (lasts < TELL_MAX_S ? lasts : TELL_MAX_S);
	else
		waits = false;
	now = *h;
	pthread_mutex_unlock(&m->lock);
	if (!waits)
		return 0;
	csv_warn("volume %s: %s for %u s: %s", m->sb.name, csv_volume_state_name(now.state), lasts, now.reason);
	return lasts;
}

void csv_health_out(struct csv_mount *m, enum csv_err err, const char *reason)
{
	struct csv_health *h = &m->health;

	pthread_mutex_lock(&m->lock);
	if (!h->out) {
		h->out = err ? err : CSV_WITHDRAWN;
		snprintf(h->out_reason, sizeof(h->out_reason), "%s", reason);
	}
	follow(m);
}

void csv_health_path(struct csv_mount *m, bool waits, const char *reason)
{
	struct csv_health *h = &m->health;

	pthread_mutex_lock(&m->lock);
	h->path_waits = waits;
	snprintf(h->path_reason, sizeof(h->path_reason), "%s", reason);
	follow(m);
}

void csv_health_full(struct csv_mount *m, bool waits)
{
	pthread_mutex_lock(&m->lock);
	m->health.full = waits;
	follow(m);
}

void csv_health_lockd(struct csv_mount *m, bool lost)
{
	pthread_mutex_lock(&m->lock);
	m->health.lockd_lost = lost;
	follow(m);
}

void csv_health_view(struct csv_mount *m, const struct csv_msg_view *v)
{
	struct csv_health *h = &m->health;

	pthread_mutex_lock(&m->lock);
	h->frozen = v->frozen;
	h->no_quorum = !v->quorate;
	memcpy(h->waits_for, v->waits_for, sizeof(h->waits_for));
	h->waits_for[sizeof(h->waits_for) - 1] = 0;
	follow(m);
}

void csv_mount_status_brief(struct csv_mount *m, struct csv_msg_volume *v)
{
	memset(v, 0, sizeof(*v));
	memcpy(v->uuid, m->sb.uuid, sizeof(v->uuid));
	snprintf(v->name, sizeof(v->name), "%s", m->sb.name);
	snprintf(v->mount, sizeof(v->mount), "%.*s", (int)sizeof(v->mount) - 1, m->opts.dir);
	snprintf(v->lun, sizeof(v->lun), "%.*s", (int)sizeof(v->lun) - 1, m->opts.lun);
	pthread_mutex_lock(&m->lock);
	snprintf(v->state, sizeof(v->state), "%s", csv_volume_state_name(m->health.state));
	memcpy(v->reason, m->health.reason, sizeof(v->reason));
	v->since_sec = m->health.since;
	pthread_mutex_unlock(&m->lock);
	v->slot = m->slot;
	v->incarnation = m->incarnation;
}

void csv_mount_status(struct csv_mount *m, struct csv_msg_volume *v)
{
	struct csv_locks_stats ls;
	struct csv_data_stats ds;

	csv_mount_status_brief(m, v);
	csv_locks_stats(m->locks, &ls);
	csv_data_stats(m->data, &ds);
	v->lock_requests = ls.requests;
	v->reads = ds.reads;
	v->writes = ds.writes;
	v->blocks_written = m->dev->stats.bytes_written / CSV_BLOCK_SIZE;
	v->flushes = m->dev->stats.flushes;
	v->size = m->sb.blocks * CSV_BLOCK_SIZE;
	v->free = csv_alloc_free_known(&m->fs) * CSV_BLOCK_SIZE;
}
