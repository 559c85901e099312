/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Data blocks that were freed by a transaction which is not durable yet (J2).  If
 * they were taken and overwritten now and the power failed, the old file would
 * come back with the new one's data in it.  On disk they are free already; this
 * list alone keeps them from being taken.
 */
#include <stdlib.h>
#include <string.h>

#include "fs/meta/alloc_priv.h"

/* What one operation has freed; goes when its fate is known. */
struct freed {
	struct csv_txn_hook durable, aborted;
	struct csv_alloc *alloc;
	uint64_t id;
	unsigned nags, room;
	uint32_t *ags;
};

static void freed_free(struct freed *f)
{
	free(f->ags);
	free(f);
}

/* Takes all that operation f freed off the lists. */
static void forget(struct freed *f)
{
	struct csv_alloc *a = f->alloc;

	pthread_mutex_lock(&a->mutex);
	for (unsigned k = 0; k < f->nags; k++) {
		struct csv_ag_mem *m = &a->ag[f->ags[k]];
		unsigned kept = 0;

		for (unsigned i = 0; i < m->npending; i++) {
			if (m->pending[i].id == f->id)
				a->pending_blocks -= m->pending[i].len;
			else
				m->pending[kept++] = m->pending[i];
		}
		m->npending = kept;
	}
	pthread_mutex_unlock(&a->mutex);
}

static void on_durable(struct csv_txn_hook *hook, enum csv_err err)
{
	struct freed *f = csv_list_entry(hook, struct freed, durable);

	/* Never durable: the volume is withdrawn, and the blocks stay untouched for ever. */
	if (err == CSV_OK)
		forget(f);
	freed_free(f);
}

static void on_abort(struct csv_txn_hook *hook, enum csv_err err)
{
	struct freed *f = csv_list_entry(hook, struct freed, aborted);

	(void)err;
	forget(f);
	freed_free(f);
}

static struct freed *freed_of(struct csv_txn *txn)
{
	struct freed *f = *csv_txn_private(txn);

	if (f)
		return f;
	f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->alloc = csv_txn_fs(txn)->alloc;
	f->durable.fn = on_durable;
	f->aborted.fn = on_abort;
	pthread_mutex_lock(&f->alloc->mutex);
	f->id = ++f->alloc->next_id;
	pthread_mutex_unlock(&f->alloc->mutex);
	csv_txn_on_durable(txn, &f->durable);
	csv_txn_on_abort(txn, &f->aborted);
	*csv_txn_private(txn) = f;
	return f;
}

static enum csv_err freed_note_ag(struct freed *f, uint32_t ag)
{
	for (unsigned i = 0; i < f->nags; i++)
		if (f->ags[i] == ag)
			return CSV_OK;
	if (f->nags == f->room) {
		unsigned room = f->room ? f->room * 2 : 4;
		void *more = realloc(f->ags, room * sizeof(*f->ags));

		if (!more)
			return CSV_NOMEM;
		f->ags = more;
		f->room = room;
	}
	f->ags[f->nags++] = ag;
	return CSV_OK;
}

/* Index of the first pending range that ends behind `off`; mutex held. */
static unsigned first_behind(const struct csv_ag_mem *m, uint64_t off)
{
	unsigned lo = 0, hi = m->npending;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (m->pending[mid].off + m->pending[mid].len <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Mutex held. */
static enum csv_err insert(struct csv_ag_mem *m, uint64_t id, uint64_t off, uint64_t len)
{
	unsigned at = first_behind(m, off);
	struct csv_pending *p;

	/* Backwards and forwards punching both make neighbours: one entry for them. */
	if (at > 0 && m->pending[at - 1].id == id && m->pending[at - 1].off + m->pending[at - 1].len == off) {
		m->pending[at - 1].len += len;
		return CSV_OK;
	}
	if (at < m->npending && m->pending[at].id == id && off + len == m->pending[at].off) {
		m->pending[at].off = off;
		m->pending[at].len += len;
		return CSV_OK;
	}
	if (m->npending == m->room) {
		unsigned room = m->room ? m->room * 2 : 8;

		p = realloc(m->pending, room * sizeof(*p));
		if (!p)
			return CSV_NOMEM;
		m->pending = p;
		m->room = room;
	}
	p = &m->pending[at];
	memmove(p + 1, p, (m->npending - at) * sizeof(*p));
	*p = (struct csv_pending){ off, len, id };
	m->npending++;
	return CSV_OK;
}

enum csv_err csv_pending_add(struct csv_txn *txn, uint32_t ag, uint64_t off, uint64_t len)
{
	struct csv_alloc *a = csv_txn_fs(txn)->alloc;
	struct freed *f = freed_of(txn);
	enum csv_err err;

	if (!f)
		return CSV_NOMEM;
	pthread_mutex_lock(&a->mutex);
	err = freed_note_ag(f, ag);
	if (err == CSV_OK)
		err = insert(&a->ag[ag], f->id, off, len);
	if (err == CSV_OK)
		a->pending_blocks += len;
	pthread_mutex_unlock(&a->mutex);
	return err;
}

bool csv_pending_any(struct csv_fs *fs, uint32_t ag, uint64_t off, uint64_t len)
{
	struct csv_alloc *a = fs->alloc;
	const struct csv_ag_mem *m = &a->ag[ag];
	unsigned at;
	bool any;

	pthread_mutex_lock(&a->mutex);
	at = first_behind(m, off);
	any = at < m->npending && m->pending[at].off < off + len;
	pthread_mutex_unlock(&a->mutex);
	return any;
}

void csv_pending_mark(struct csv_fs *fs, uint32_t ag, uint64_t off, uint64_t len, uint8_t *bits)
{
	struct csv_alloc *a = fs->alloc;
	const struct csv_ag_mem *m = &a->ag[ag];

	pthread_mutex_lock(&a->mutex);
	for (unsigned i = first_behind(m, off); i < m->npending && m->pending[i].off < off + len; i++) {
		uint64_t from = m->pending[i].off, to = from + m->pending[i].len;

		from = from < off ? off : from;
		to = to > off + len ? off + len : to;
		csv_bits_set(bits, (uint32_t)(from - off), (uint32_t)(to - from));
	}
	pthread_mutex_unlock(&a->mutex);
}

uint64_t csv_alloc_pending(struct csv_fs *fs)
{
	uint64_t n;

	pthread_mutex_lock(&fs->alloc->mutex);
	n = fs->alloc->pending_blocks;
	pthread_mutex_unlock(&fs->alloc->mutex);
	return n;
}
