/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fence and replay of a dead slot, on csvlockd's order.  Every step may be cut and done again by somebody else.
 *
 *	1. mark     slot block: fenced.  A node that comes back reads this before it registers (F2).  A slot that is
 *	            already clean on disk is marked all the same: its replay finds nothing to do.
 *	2. preempt  its key: from the answer on the target takes no write of that life (F1, F3)
 *	3. verify   READ KEYS: its key is gone and ours is there; if ours is not, we have been fenced ourselves (F5)
 *	            READ RESERVATION: type 7 stands
 *	4. mark     again: between 1 and 2 its own clean unmount may have landed (F5)
 *	5. replay   its journal; it can write nothing any more, and nobody has got its locks (L1)
 *	6. clean    slot block
 *
 * In a duel of two halves of a two-node cluster, PREEMPT decides: the loser finds its own key gone in step 3.  The
 *winner may have been marked by the loser before: it reads its own slot and restores it.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ctl/link.h"
#include "lib/bug.h"
#include "lib/log.h"

#define ASK_MS 5000
#define ASK_PAUSE_MS 100

static double ms_since(struct csv_mount *m, uint64_t *from)
{
	uint64_t now = m->env->mono_ns(m->env);
	double ms = (double)(now - *from) / 1e6;

	*from = now;
	return ms;
}

/* Steps 1 and 4. */
static enum csv_err mark(struct csv_mount *m, uint32_t slot, uint32_t incarnation, struct csv_slot *s)
{
	enum csv_err err = csv_slot_read(m->dev, &m->sb, slot, s, NULL);

	if (err || s->incarnation != incarnation)
		return err ? err : CSV_STALE;
	if (s->state == CSV_SLOT_FENCED)
		return CSV_OK;
	s->state = CSV_SLOT_FENCED;
	s->fenced_by = m->slot;
	return csv_slot_write(m->dev, &m->sb, s);
}

static bool has_key(const struct csv_pr_status *st, uint64_t key)
{
	for (unsigned i = 0; i < st->nkeys; i++) {
		if (st->keys[i] == key)
			return true;
	}
	return false;
}

/* Step 3. */
static enum csv_err verify(struct csv_mount *m, uint64_t own, uint64_t victim)
{
	struct csv_pr_status *st = calloc(1, sizeof(*st));
	enum csv_err err = st ? m->dev->ops->pr_status(m->dev, st) : CSV_NOMEM;

	if (!err && !has_key(st, own))
		err = CSV_FENCED;
	if (!err && has_key(st, victim))
		err = CSV_AGAIN;
	if (!err && st->type != CSV_PR_WRITE_EXCLUSIVE_ALL_REG)
		err = m->dev->ops->pr_reserve(m->dev, own, CSV_PR_WRITE_EXCLUSIVE_ALL_REG);
	free(st);
	return err;
}

/* F5: the loser of a duel may have marked us before its PREEMPT lost. Our key stands, so it did not win. */
static enum csv_err restore_own(struct csv_mount *m)
{
	struct csv_slot s;
	enum csv_err err = csv_slot_read(m->dev, &m->sb, m->slot, &s, NULL);

	if (err)
		return err;
	if (s.incarnation != m->incarnation || s.state == CSV_SLOT_CLEAN)
		return CSV_FENCED; /* that life of ours was recovered */
	if (s.state == CSV_SLOT_LIVE)
		return CSV_OK;
	csv_warn("slot %u had been marked by the loser of a duel: restored", m->slot);
	s.state = CSV_SLOT_LIVE;
	s.fenced_by = CSV_SLOT_NONE;
	return csv_slot_write(m->dev, &m->sb, &s);
}

/*
 * The slot block is there and makes no sense: it can be neither marked nor replayed, but its key can go, and whoever
 * comes back registers only over a block that says that he lives (F2).  So the slots beside it can be recovered.
 */
static bool is_damage(enum csv_err err)
{
	return err == CSV_CHECKSUM || err == CSV_IDENTITY || err == CSV_DAMAGED;
}

static enum csv_err fence(struct csv_link *l, const struct csv_msg_slot *v, struct csv_msg_fence *f)
{
	struct csv_mount *m = l->m;
	uint64_t own = csv_slot_pr_key(m->slot, m->incarnation), t = m->env->mono_ns(m->env);
	uint64_t victim = csv_slot_pr_key(v->slot, v->incarnation);
	struct csv_slot s;
	bool aborted = false;
	enum csv_err err = mark(m, v->slot, v->incarnation, &s);

	f->mark_ms = ms_since(m, &t);
	if (err == CSV_STALE && s.incarnation > v->incarnation)
		return CSV_OK; /* recovered long ago, and mounted anew */
	if (err && !is_damage(err))
		return err;
	if (!err)
		victim = csv_slot_key(&s);
	err = m->dev->ops->pr_preempt(m->dev, own, victim, CSV_PR_WRITE_EXCLUSIVE_ALL_REG, &aborted);
	f->preempt_ms = ms_since(m, &t);
	f->aborted = aborted;
	if (!err)
		err = verify(m, own, victim);
	if (!err && !CSV_BUG(F5_MARK_ONCE))
		err = mark(m, v->slot, v->incarnation, &s);
	if (is_damage(err))
		err = CSV_OK;
	if (!err)
		err = restore_own(m);
	f->verify_ms = ms_since(m, &t);
	return err == CSV_CONFLICT ? CSV_FENCED : err;
}

/* csvlockd has what fails tried again and again: that is told once. */
static enum csv_log_level level_of(struct csv_told *t, uint32_t incarnation, enum csv_err err)
{
	bool news = !t->told || t->incarnation != incarnation || t->err != err;

	*t = (struct csv_told){ true, incarnation, err };
	return !news ? CSV_LOG_DEBUG : err ? CSV_LOG_ERROR : CSV_LOG_WARN;
}

void csv_fence_order(struct csv_link *l, const struct csv_msg *order)
{
	struct csv_msg msg = { .type = CSV_MSG_FENCE_DONE };
	const struct csv_msg_slot *v = &order->slot;

	msg.fence.slot = v->slot;
	msg.fence.incarnation = v->incarnation;
	msg.err = csv_link_may_obey(l);
	if (!msg.err)
		msg.err = fence(l, v, &msg.fence);
	csv_log(level_of(&l->fence_told[v->slot % CSV_SLOTS_MAX], v->incarnation, (enum csv_err)msg.err),
		"fence of slot %u (node %s): %s; marked %.1f ms, preempted %.1f ms (%s), verified %.1f ms", v->slot,
		v->node, csv_err_text((enum csv_err)msg.err), msg.fence.mark_ms, msg.fence.preempt_ms,
		msg.fence.aborted ? "aborted" : "LUN reset", msg.fence.verify_ms);
	pthread_mutex_lock(&l->lock);
	l->fence_ms = msg.fence.mark_ms + msg.fence.preempt_ms + msg.fence.verify_ms;
	pthread_mutex_unlock(&l->lock);
	csv_link_send(l, &msg);
	if (msg.err == CSV_FENCED)
		csv_fenced_order(l);
}

/* ---- replay ---------------------------------------------------------------------------------------- */

/*
 * J6.  Without an answer nothing may be decided: a block that is taken for in use and is not would be lost with the
 * journal.  So it is asked again while csvlockd does not know; if it is lost, if it gives the order up, or if we are
 * out, the replay ends with that error, and journal and slot are as they were.
 */
static enum csv_err ask_in_use(struct csv_link *l, const struct csv_msg *ask, bool *yes)
{
	for (;;) {
		struct csv_msg msg = *ask;
		enum csv_err err = csv_link_call(l, &msg, ASK_MS);

		if (err == CSV_OK && msg.type == CSV_MSG_IN_USE_REPLY) {
			*yes = msg.lock.mode != CSV_NL;
			return CSV_OK;
		}
		if (err == CSV_OK)
			err = msg.type == CSV_MSG_ERROR && msg.err ? (enum csv_err)msg.err : CSV_PROTO;
		if (err != CSV_AGAIN && err != CSV_TIMEOUT)
			return err;
		err = csv_link_may_obey(l);
		if (err != CSV_OK)
			return err;
		poll(NULL, 0, ASK_PAUSE_MS);
	}
}

static enum csv_err in_use(void *arg, uint64_t block, uint32_t magic, uint64_t owner, bool *yes)
{
	struct csv_msg ask = { .type = CSV_MSG_IN_USE };
	bool group =
	    magic == CSV_MAGIC_AG || magic == CSV_MAGIC_BITMAP || magic == CSV_MAGIC_MCHUNK || magic == CSV_MAGIC_FREE;

	ask.lock.res_type = magic == CSV_MAGIC_ORPHAN  ? CSV_RES_SLOT
			    : magic == CSV_MAGIC_LEASE ? CSV_RES_LEASE
			    : group		       ? CSV_RES_AG
						       : CSV_RES_INODE;
	ask.lock.res_id = owner;
	ask.lock.mode = CSV_EX;
	return ask_in_use(arg, &ask, yes);
}

void csv_replay_order(struct csv_link *l, const struct csv_msg *order)
{
	struct csv_replay_ops ops = { .in_use = in_use, .arg = l };
	struct csv_msg msg = { .type = CSV_MSG_REPLAY_DONE };
	const struct csv_msg_slot *v = &order->slot;
	struct csv_mount *m = l->m;
	uint64_t t = m->env->mono_ns(m->env);
	struct csv_replay_result res = { 0 };
	struct csv_why why;
	uint32_t nsec;

	csv_why_init(&why);
	msg.replay.slot = v->slot;
	msg.replay.incarnation = v->incarnation;
	msg.err = csv_link_may_obey(l);
	if (!msg.err)
		msg.err = csv_recover_slot(m->dev, &m->sb, v->slot, v->incarnation, &ops, &res, &why);
	msg.replay.replay_ms = ms_since(m, &t);
	msg.replay.transactions = res.transactions;
	msg.replay.blocks = res.written;
	csv_log(level_of(&l->replay_told[v->slot % CSV_SLOTS_MAX], v->incarnation, (enum csv_err)msg.err),
		"replay of slot %u (node %s): %s; %llu transactions, %.1f ms", v->slot, v->node,
		why.text[0] ? why.text : csv_err_text((enum csv_err)msg.err), (unsigned long long)res.transactions,
		msg.replay.replay_ms);
	pthread_mutex_lock(&l->lock);
	if (!msg.err)
		l->recovered |= 1ull << v->slot;
	l->replay_ms = msg.replay.replay_ms;
	l->recovery_slot = v->slot;
	l->recovery_incarnation = v->incarnation;
	m->env->wall(m->env, &l->recovery_sec, &nsec);
	pthread_mutex_unlock(&l->lock);
	csv_link_send(l, &msg); /* the view that follows lets the orphans be adopted */
}

/*
 * Orphans of a recovered slot go to our list.  What cannot be taken now stays on its list, where the next mount finds
 * it. Then our list is looked through: what only the dead had open can be freed (U4).
 */
void csv_link_adopt(struct csv_link *l)
{
	struct csv_why why;
	uint64_t slots;
	bool reap;

	pthread_mutex_lock(&l->lock);
	slots = l->recovered;
	reap = l->reap || slots;
	l->recovered = 0;
	l->reap = false;
	pthread_mutex_unlock(&l->lock);
	for (uint32_t n = 0; n < l->m->sb.slots; n++) {
		if (!(slots >> n & 1))
			continue;
		if (csv_adopt_orphans(l->m, n))
			csv_warn("orphans of slot %u are left for later", n);
	}
	csv_why_init(&why);
	if (reap && csv_reap_own_orphans(l->m, &why))
		csv_warn("%s", why.text);
}

/* ---- out ------------------------------------------------------------------------------------------- */

/*
 * csvlockd's word stops us at once; the slot block says whether it is for good.  A slot that nobody has marked yet will
 * be: csvlockd has put it out and lets nobody else have its locks before it is fenced and replayed.
 */
void csv_fenced_order(struct csv_link *l)
{
	csv_fs_withdraw(&l->m->fs, CSV_FENCED, "this node's slot %u is out of the cluster", l->m->slot);
}
