/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A csvfs that was told to fence a slot or to replay its journal.
 *
 * FENCE: mark, preempt the key, see that it is gone and our own still there, mark again (F5).  REPLAY: every record
 * that is newer than its home block is written home, unless the block is torn and a live holder says that it is its;
 * when all are home the slot is marked clean.  An answer is given only when no command of the order is on its way any
 * more (F4).
 */
#include "tests/sim/sim.h"

bool sim_fs_busy(const struct sim_fs *fs)
{
	for (unsigned i = 0; i < SIM_SLOTS; i++) {
		if (fs->job[i].kind != CSV_ORDER_NONE)
			return true;
	}
	return false;
}

static void finish(struct sim *s, unsigned n, uint32_t slot, enum csv_err err)
{
	struct sim_fs *fs = &s->node[n].fs;
	struct sim_job *j = &fs->job[slot];
	struct csv_msg msg = { .type = j->kind == CSV_ORDER_FENCE ? CSV_MSG_FENCE_DONE : CSV_MSG_REPLAY_DONE };
	bool asked = j->conn == fs->conn;

	msg.err = err;
	msg.seq = j->seq;
	if (j->kind == CSV_ORDER_FENCE) {
		msg.fence.slot = slot;
		msg.fence.incarnation = j->incarnation;
		msg.fence.mark_ms = 1;
	} else {
		msg.replay.slot = slot;
		msg.replay.incarnation = j->incarnation;
	}
	sim_trace(s, "n%u %s of slot %u.%u: %s", n + 1, j->kind == CSV_ORDER_FENCE ? "fence" : "replay", slot,
		  j->incarnation, csv_err_name(err));
	j->kind = CSV_ORDER_NONE;
	if (asked && fs->conn)
		sim_fs_tell(s, n, &msg);
	if (err == CSV_FENCED)
		sim_fs_die(s, n, "finds itself fenced");
}

/* ---- fence ---- */

static void mark(struct sim *s, unsigned n, uint32_t slot, unsigned state,
		 void (*done)(struct sim *s, unsigned node, const struct sim_command *c, bool ok))
{
	struct sim_command c = sim_command(s, n, SIM_W_SLOT);

	c.slot = slot;
	c.state = state;
	c.only_incarnation = s->node[n].fs.job[slot].incarnation;
	c.done = done;
	sim_submit(s, &c);
}

static void marked_again(struct sim *s, unsigned n, const struct sim_command *c, bool ok)
{
	finish(s, n, c->slot, ok ? CSV_OK : CSV_FENCED);
}

/* PREEMPT AND ABORT answers when no command of that key is at work any more. */
static void aborted(struct sim *s, uint64_t n, uint64_t slot, void *data)
{
	struct sim_fs *fs = &s->node[n].fs;

	for (unsigned i = 1; i <= SIM_INODES; i++) {
		if (s->disk.home[i].writing && s->disk.home[i].writer == fs->job[slot].key) {
			sim_at(s, 1000, (int)n, &fs->life, aborted, n, slot, NULL);
			return;
		}
	}
	mark(s, (unsigned)n, (uint32_t)slot, SIM_FENCED, marked_again);
}

static void preempt(struct sim *s, uint64_t n, uint64_t slot, void *data)
{
	struct sim_fs *fs = &s->node[n].fs;
	struct sim_job *j = &fs->job[slot];

	if (j->kind != CSV_ORDER_FENCE)
		return;
	if (!sim_key_registered(s, fs->key)) {
		finish(s, (unsigned)n, (uint32_t)slot, CSV_FENCED);
		return;
	}
	sim_key_del(s, j->key);
	if (s->disk.slot[fs->slot].state == SIM_FENCED)
		s->disk.slot[fs->slot].state = SIM_LIVE; /* a duel that we have won (F5) */
	aborted(s, n, slot, NULL);
}

static void marked(struct sim *s, unsigned n, const struct sim_command *c, bool ok)
{
	if (!ok) {
		finish(s, n, c->slot, CSV_FENCED);
		return;
	}
	sim_at(s, 1000 + sim_rand(s, !s->calm && sim_chance(s, 10) ? 2000000 : 3000), (int)n, &s->node[n].fs.life,
	       preempt, n, c->slot, NULL);
}

/* ---- replay ---- */

static void replayed(struct sim *s, unsigned n, const struct sim_command *c, bool ok)
{
	if (ok)
		s->recoveries++;
	finish(s, n, c->slot, ok ? CSV_OK : CSV_FENCED);
}

static void replay_next(struct sim *s, unsigned n, uint32_t slot);

static void replay_home_done(struct sim *s, unsigned n, const struct sim_command *c, bool ok)
{
	struct sim_job *j = &s->node[n].fs.job[c->arg];

	j->left--;
	if (!ok)
		j->err = CSV_FENCED;
	replay_next(s, n, (uint32_t)c->arg);
}

static void replay_write(struct sim *s, unsigned n, uint32_t slot, const struct sim_record *r)
{
	struct sim_command c = sim_command(s, n, SIM_W_HOME);

	c.rec = *r;
	c.replay = true;
	c.arg = slot;
	c.done = replay_home_done;
	s->node[n].fs.job[slot].left++;
	sim_submit(s, &c);
}

/* The newest record of an inode is all that counts. */
static const struct sim_record *newest(const struct sim_dslot *d, uint32_t inode)
{
	const struct sim_record *best = NULL;

	for (size_t i = 0; i < d->n; i++) {
		if (d->journal[i].inode == inode && (!best || d->journal[i].version > best->version))
			best = &d->journal[i];
	}
	return best;
}

static void ask_in_use(struct sim *s, unsigned n, uint32_t slot, uint32_t inode)
{
	struct sim_job *j = &s->node[n].fs.job[slot];
	struct csv_msg msg = { .type = CSV_MSG_IN_USE };

	msg.lock.res_type = CSV_RES_INODE;
	msg.lock.res_id = inode;
	sim_fs_tell(s, n, &msg);
	j->asked = msg.seq;
}

static void replay_next(struct sim *s, unsigned n, uint32_t slot)
{
	struct sim_fs *fs = &s->node[n].fs;
	struct sim_job *j = &fs->job[slot];
	struct sim_dslot *d = &s->disk.slot[slot];

	if (!j->err && j->asked && j->conn != fs->conn)
		j->err = CSV_NOTCONN; /* nobody will answer */
	while (!j->err && !j->asked && j->entry < SIM_INODES) {
		uint32_t inode = (uint32_t)++j->entry;
		const struct sim_record *r = newest(d, inode);

		if (!r || d->incarnation != j->incarnation)
			continue;
		if (s->disk.home[inode].writing && j->conn != fs->conn)
			j->err = CSV_NOTCONN;
		else if (s->disk.home[inode].writing)
			ask_in_use(s, n, slot, inode);
		else if (r->version > s->disk.home[inode].version)
			replay_write(s, n, slot, r);
	}
	if (j->left || (!j->err && (j->asked || j->entry < SIM_INODES)) || j->marking)
		return;
	if (j->err) {
		finish(s, n, slot, j->err);
		return;
	}
	j->marking = true;
	mark(s, n, slot, SIM_CLEAN, replayed);
}

static void ask_again(struct sim *s, uint64_t n, uint64_t slot, void *data)
{
	struct sim_job *j = &s->node[n].fs.job[slot];

	if (j->kind != CSV_ORDER_REPLAY || !j->asked)
		return;
	j->asked = 0;
	j->entry--;
	replay_next(s, (unsigned)n, (uint32_t)slot);
}

/* J6. The answer to ask_in_use(); false: it is another's. */
bool sim_fs_in_use(struct sim *s, unsigned n, const struct csv_msg *msg)
{
	struct sim_fs *fs = &s->node[n].fs;
	const struct sim_record *r;
	struct sim_job *j = NULL;
	uint32_t slot;

	for (slot = 0; slot < s->nslots; slot++) {
		j = &fs->job[slot];
		if (j->kind == CSV_ORDER_REPLAY && j->asked && j->asked == msg->seq)
			break;
	}
	if (slot == s->nslots)
		return false;
	if (msg->type == CSV_MSG_ERROR && msg->err == CSV_AGAIN) {
		sim_at(s, 100 * SIM_MS, (int)n, &fs->life, ask_again, n, slot, NULL);
		return true;
	}
	j->asked = 0;
	r = newest(&s->disk.slot[slot], (uint32_t)j->entry);
	if (msg->type == CSV_MSG_ERROR)
		j->err = (enum csv_err)msg->err;
	else if (msg->lock.mode == CSV_NL && r)
		replay_write(s, n, slot, r); /* torn by the dead slot itself */
	replay_next(s, n, slot);
	return true;
}

/* The connection has ended: an order that waits for an answer of it is over. */
void sim_fs_orders_cut(struct sim *s, unsigned n)
{
	for (uint32_t i = 0; i < s->nslots; i++) {
		if (s->node[n].fs.job[i].kind == CSV_ORDER_REPLAY && s->node[n].fs.job[i].asked)
			replay_next(s, n, i);
	}
}

static void replay_begin(struct sim *s, uint64_t n, uint64_t slot, void *data)
{
	replay_next(s, (unsigned)n, (uint32_t)slot);
}

void sim_fs_order(struct sim *s, unsigned n, const struct csv_msg *msg)
{
	struct sim_fs *fs = &s->node[n].fs;
	uint32_t slot = msg->slot.slot;
	struct sim_job *j = &fs->job[slot];

	if (slot >= s->nslots || j->kind != CSV_ORDER_NONE)
		sim_fail(s, "node %u: order for slot %u while another is at work", n + 1, slot);
	*j = (struct sim_job){ .conn = fs->conn, .seq = msg->seq, .incarnation = msg->slot.incarnation };
	j->key = msg->slot.pr_key;
	if (msg->type == CSV_MSG_FENCE) {
		j->kind = CSV_ORDER_FENCE;
		if (!s->calm && sim_chance(s, 5)) {
			finish(s, n, slot, CSV_UNREACH);
			return;
		}
		mark(s, n, slot, SIM_FENCED, marked);
	} else {
		j->kind = CSV_ORDER_REPLAY;
		if (!s->calm && sim_chance(s, 5)) {
			finish(s, n, slot, CSV_UNREACH);
			return;
		}
		sim_spite(s, n, SIM_REPLAY);
		sim_fs_poke(s, n);
		sim_at(s, 100 + sim_rand(s, 1500), (int)n, &fs->life, replay_begin, n, slot, NULL);
	}
}
