/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way down of a lock: holds have run out; a worker flushes what the lock
 * covered, drops it if nothing remains of the lock, and only then tells the
 * engine.  Data I/O under the lock is over by then, because an operation keeps
 * its holds until its I/O is done (ARCHITECTURE 5, rule 2).
 */
#include "fs/lock/cache_int.h"

bool csv_lock_can_demote(const struct csv_lock *l, enum csv_mode target)
{
	if (l->state != LOCK_STABLE || l->holds[LOCK_EX] || l->pins[LOCK_EX])
		return false;
	return target == CSV_PR || (!l->holds[LOCK_PR] && !l->pins[LOCK_PR]);
}

/*
 * A flush that fails has withdrawn the volume, or does so here.  Then the lock
 * stays where it is: what it covers is not home, and only a replay of our journal,
 * after the fence, may open it to others.
 */
static void demote_failed(struct csv_lock *l, enum csv_err err)
{
	struct csv_locks *c = l->c;
	struct csv_res res = l->res;

	csv_fs_withdraw(c->fs, err, "flush for lock %s.%llu failed: %s", csv_res_type_name(res.type),
			(unsigned long long)res.id, csv_err_text(err));
	csv_locks_out(c, csv_fs_state(c->fs) ? csv_fs_state(c->fs) : err);
	csv_locks_lock(c);
	l->state = LOCK_STABLE;
	if (--c->demoting == 0)
		pthread_cond_broadcast(&c->idle);
	csv_locks_unlock(c);
}

static void demote_work(struct csv_work *work)
{
	struct csv_lock *l = csv_list_entry(work, struct csv_lock, work);
	struct csv_locks *c = l->c;
	const struct csv_lock_row *row = &c->rows[l->res.type];
	enum csv_err err = CSV_OK;

	/* res, mode and target do not change while the state is DEMOTING. */
	if (l->mode == CSV_EX && c->on_flush)
		err = c->on_flush(c->on_flush_arg, c->fs, l->res);
	if (!err && l->mode == CSV_EX && row->flush)
		err = row->flush(c->fs, l->res);
	if (err) {
		demote_failed(l, err);
		return;
	}
	if (l->target == CSV_NL && row->drop)
		row->drop(c->fs, l->res);
	/* NOTCONN: csvlockd is lost, and csv_locks_declare() will tell the next one the truth. */
	c->engine->ops->unlock(c->engine, l->res, l->target);
	csv_locks_lock(c);
	l->mode = l->target;
	l->state = LOCK_STABLE;
	l->shrink = false;
	if (l->mode == CSV_NL)
		l->bast = CSV_NL;
	c->st.demotions++;
	csv_lock_mark(l);
	if (--c->demoting == 0)
		pthread_cond_broadcast(&c->idle);
	csv_locks_unlock(c);
}

void csv_lock_demote(struct csv_lock *l, enum csv_mode target)
{
	CSV_ASSERT(csv_lock_can_demote(l, target));
	l->state = LOCK_DEMOTING;
	l->target = target;
	l->bast = CSV_NL; /* this is the answer; what comes from now on is news */
	l->c->demoting++;
	csv_list_del(&l->lru);
	csv_list_del(&l->window);
	l->work.fn = demote_work;
	csv_workq_add(l->c->workq, &l->work);
}

/* ---- end of the minimum hold ------------------------------------------------ */

/* Marks the locks whose time is over; the earliest end of the others, 0 if there are none. */
static uint64_t expire(struct csv_locks *c, uint64_t now)
{
	struct csv_list *pos, *tmp;
	uint64_t next = 0;

	csv_list_for_each_safe(pos, tmp, &c->window) {
		struct csv_lock *l = csv_list_entry(pos, struct csv_lock, window);
		uint64_t end = l->granted_ns + CSV_LOCK_MIN_HOLD_MS * 1000000ull;

		if (end <= now) {
			csv_list_del(&l->window);
			csv_lock_mark(l);
		} else if (!next || end < next) {
			next = end;
		}
	}
	return next;
}

void *csv_locks_timer(void *arg)
{
	struct csv_locks *c = arg;

	csv_locks_lock(c);
	while (!c->stop) {
		uint64_t next = expire(c, c->fs->env->mono_ns(c->fs->env));
		struct timespec ts = { (time_t)(next / 1000000000u), (long)(next % 1000000000u) };

		if (!csv_list_empty(&c->todo)) {
			csv_locks_unlock(c);
			csv_locks_lock(c);
		} else if (next) {
			pthread_cond_timedwait(&c->timer_wake, &c->mutex, &ts);
		} else {
			pthread_cond_wait(&c->timer_wake, &c->mutex);
		}
	}
	csv_locks_unlock(c);
	return NULL;
}
