/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Handles: one operation's share of the running transaction.  A handle owns
 * fs->meta from begin to end, so there is at most one at a time, and memory
 * between two handles is always the state after whole operations.
 */
#include <stdlib.h>
#include <string.h>

#include "fs/journal/journal_priv.h"

/* A buffer as it was before this operation first changed it. */
struct csv_pre {
	struct csv_list link;
	struct csv_cbuf *buf;
	struct csv_res res;
	bool was_running; /* an earlier operation of the transaction had changed it already */
	bool fresh;
	uint8_t page[CSV_BLOCK_SIZE];
};

struct csv_txn {
	struct csv_fs *fs;
	uint64_t op;
	unsigned credits, used;
	struct csv_list pres; /* newest first */
	struct csv_list durable, aborted;
	bool ordered;
	uint64_t generation;
	void *private;
};

unsigned csv_journal_credits_max(struct csv_fs *fs)
{
	uint32_t ring = fs->sb.journal_blocks - 1, n;

	for (n = ring; csv_jrec_blocks(n) > ring;)
		n--;
	return n;
}

/* Whether the running transaction, grown by `credits`, fits the journal. fs->meta exclusive. */
static bool has_room(struct csv_journal *j, unsigned credits)
{
	bool room;

	pthread_mutex_lock(&j->mutex);
	room = j->used + csv_jrec_blocks(j->running->n + credits) <= j->ring;
	pthread_mutex_unlock(&j->mutex);
	return room;
}

/* Takes fs->meta exclusively with room for `credits` in the journal. */
static enum csv_err begin_locked(struct csv_fs *fs, unsigned credits)
{
	enum csv_err err;

	for (;;) {
		csv_fs_lock_excl(fs);
		err = csv_fs_state(fs);
		if (err != CSV_OK)
			break;
		if (has_room(fs->journal, credits))
			return CSV_OK;
		csv_fs_unlock(fs);
		/* Afterwards there is room, unless others were quicker. */
		err = csv_journal_checkpoint(fs);
		if (err != CSV_OK)
			return err;
	}
	csv_fs_unlock(fs);
	return err;
}

enum csv_err csv_txn_begin(struct csv_fs *fs, unsigned credits, struct csv_txn **txn)
{
	struct csv_txn *t;
	enum csv_err err;

	*txn = NULL;
	if (!fs->journal)
		return CSV_ROFS;
	if (credits == 0)
		credits = CSV_TXN_CREDITS_DEFAULT;
	if (credits > csv_journal_credits_max(fs))
		return CSV_INVAL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return CSV_NOMEM;
	t->fs = fs;
	t->credits = credits;
	csv_list_init(&t->pres);
	csv_list_init(&t->durable);
	csv_list_init(&t->aborted);
	err = begin_locked(fs, credits);
	if (err != CSV_OK) {
		free(t);
		return err;
	}
	t->op = ++fs->journal->next_op;
	*txn = t;
	return CSV_OK;
}

struct csv_fs *csv_txn_fs(struct csv_txn *txn)
{
	return txn->fs;
}

void **csv_txn_private(struct csv_txn *txn)
{
	return &txn->private;
}

static void note_res(struct csv_cbuf *b, struct csv_res res)
{
	if (csv_cbuf_touched_by(b, res))
		return;
	if (b->ntags < CSV_BUF_TAGS)
		b->tags[b->ntags] = res;
	b->ntags++;
}

void csv_journal_note_res(struct csv_fs *fs, struct csv_cbuf *b, struct csv_res res)
{
	struct csv_journal *j = fs->journal;

	pthread_mutex_lock(&j->mutex);
	CSV_ASSERT(!csv_list_empty(&b->run)); /* csv_txn_dirty() comes first */
	note_res(b, res);
	pthread_mutex_unlock(&j->mutex);
}

/* Puts a buffer into the running transaction; true if it was there. */
static bool join_running(struct csv_journal *j, struct csv_cbuf *b)
{
	struct csv_jtxn *r = j->running;
	bool there, ref;

	pthread_mutex_lock(&j->mutex);
	there = !csv_list_empty(&b->run);
	ref = !b->held;
	if (!there) {
		if (r->n++ == 0)
			r->since_ns = j->fs->env->mono_ns(j->fs->env);
		csv_list_push_back(&r->blocks, &b->run);
		b->held = true;
	}
	note_res(b, b->pub.res);
	pthread_mutex_unlock(&j->mutex);
	if (ref)
		csv_buf_ref(j->fs, b);
	return there;
}

enum csv_err csv_txn_dirty(struct csv_txn *txn, struct csv_buf *buf)
{
	struct csv_cbuf *b = csv_cbuf_of(buf);
	struct csv_pre *pre;

	if (b->op == txn->op)
		return CSV_OK;
	csv_fs_assert_lock(txn->fs, buf->res, CSV_EX);
	if (txn->used == txn->credits)
		return CSV_INTERNAL;
	pre = malloc(sizeof(*pre));
	if (!pre)
		return CSV_NOMEM;
	pre->buf = b;
	pre->res = buf->res;
	pre->fresh = b->fresh;
	memcpy(pre->page, buf->data, CSV_BLOCK_SIZE);
	pre->was_running = join_running(txn->fs->journal, b);
	csv_list_push_front(&txn->pres, &pre->link);
	b->fresh = false;
	b->op = txn->op;
	txn->used++;
	return CSV_OK;
}

void csv_txn_ordered(struct csv_txn *txn, uint64_t generation)
{
	if (!txn->ordered || generation < txn->generation)
		txn->generation = generation;
	txn->ordered = true;
}

void csv_txn_on_durable(struct csv_txn *txn, struct csv_txn_hook *hook)
{
	csv_list_push_back(&txn->durable, &hook->link);
}

void csv_txn_on_abort(struct csv_txn *txn, struct csv_txn_hook *hook)
{
	csv_list_push_back(&txn->aborted, &hook->link);
}

static void free_pres(struct csv_txn *txn)
{
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &txn->pres)
		free(csv_list_entry(pos, struct csv_pre, link));
}

/* The handle's part of the running transaction, besides the buffers; mutex held. */
static void merge(struct csv_jtxn *r, struct csv_txn *txn)
{
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &txn->durable) {
		csv_list_del(pos);
		csv_list_push_back(&r->hooks, pos);
	}
	if (txn->ordered && (!r->ordered || txn->generation < r->generation))
		r->generation = txn->generation;
	r->ordered |= txn->ordered;
}

uint64_t csv_txn_end(struct csv_txn *txn)
{
	struct csv_fs *fs = txn->fs;
	struct csv_journal *j = fs->journal;
	uint64_t tid;

	pthread_mutex_lock(&j->mutex);
	merge(j->running, txn);
	tid = j->running->tid;
	/* A large transaction is committed early, so that the next finds room. */
	if (j->running->n > j->ring / 4 && j->want_tid < tid) {
		j->want_tid = tid;
		pthread_cond_broadcast(&j->wake);
	}
	pthread_mutex_unlock(&j->mutex);
	csv_fs_unlock(fs);
	free_pres(txn);
	free(txn);
	return tid;
}

/* Takes a buffer out of the running transaction. */
static void leave_running(struct csv_journal *j, struct csv_cbuf *b)
{
	pthread_mutex_lock(&j->mutex);
	csv_list_del(&b->run);
	j->running->n--;
	csv_jbuf_release(j, b);
	pthread_mutex_unlock(&j->mutex);
}

void csv_txn_abort(struct csv_txn *txn)
{
	struct csv_fs *fs = txn->fs;
	struct csv_list *pos, *tmp;

	csv_list_for_each(pos, &txn->pres) {
		struct csv_pre *pre = csv_list_entry(pos, struct csv_pre, link);
		struct csv_cbuf *b = pre->buf;

		memcpy(b->pub.data, pre->page, CSV_BLOCK_SIZE);
		b->fresh = pre->fresh;
		b->op = 0;
		if (!csv_res_eq(b->pub.res, pre->res))
			csv_buf_retag(fs, b, pre->res);
		if (!pre->was_running)
			leave_running(fs->journal, b);
	}
	csv_list_for_each_safe(pos, tmp, &txn->aborted) {
		struct csv_txn_hook *hook = csv_list_entry(pos, struct csv_txn_hook, link);

		csv_list_del(pos);
		hook->fn(hook, CSV_INTR);
	}
	csv_fs_unlock(fs);
	free_pres(txn);
	free(txn);
}
