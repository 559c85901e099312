/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File data: patterns that tell file, place and operation, written through the data path and judged after a crash. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"

struct pattern {
	uint64_t magic;
	uint64_t ino, gen;
	uint64_t sector;
	uint64_t op;
	uint64_t fill[59];
};
_Static_assert(sizeof(struct pattern) == CRASH_SECTOR, "pattern is a sector");
#define MAGIC 0x6372617368646174ull

void crash_pattern(struct csv_iref ref, uint64_t sector, uint32_t op, void *out)
{
	struct pattern p = { .magic = MAGIC, .ino = ref.ino, .gen = ref.gen, .sector = sector, .op = op };
	uint64_t rng = ref.ino * 31 + sector * 7 + op;

	for (unsigned i = 0; i < 59; i++)
		p.fill[i] = csv_rng_next(&rng);
	memcpy(out, &p, sizeof(p));
}

/* ---- operations ---------------------------------------------------------------------- */

struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
	enum csv_err err;
	struct csv_data_req req;
};

static void on_done(struct csv_data_req *req, enum csv_err err)
{
	struct waiter *w = csv_list_entry(req, struct waiter, req);

	pthread_mutex_lock(&w->lock);
	w->done = true;
	w->err = err;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static enum csv_err wait_for(struct waiter *w)
{
	pthread_mutex_lock(&w->lock);
	while (!w->done)
		pthread_cond_wait(&w->cond, &w->lock);
	pthread_mutex_unlock(&w->lock);
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->cond);
	return w->err;
}

static void waiter_init(struct crash *c, struct waiter *w, struct csv_file *f)
{
	memset(w, 0, sizeof(*w));
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->cond, NULL);
	w->req.ctx = c->me->ctx;
	w->req.file = f;
	w->req.done = on_done;
}

#define PARTS_MAX 8u

/* `parts` neighbours at once; the first error counts. *tid: the last transaction. */
static enum csv_err write_once(struct crash *c, struct csv_file *f, uint64_t off, uint64_t len, void *buf,
			       unsigned parts, uint64_t *tid)
{
	uint64_t sectors = len / CRASH_SECTOR, done = 0;
	struct waiter w[PARTS_MAX];
	enum csv_err err = CSV_OK;

	for (unsigned i = 0; i < parts; i++) {
		uint64_t upto = sectors * (i + 1) / parts;

		waiter_init(c, &w[i], f);
		w[i].req.off = off + done * CRASH_SECTOR;
		w[i].req.len = (upto - done) * CRASH_SECTOR;
		w[i].req.buf = (uint8_t *)buf + done * CRASH_SECTOR;
		done = upto;
	}
	for (unsigned i = 0; i < parts; i++)
		csv_data_write(c->me->data, &w[i].req);
	*tid = 0;
	for (unsigned i = 0; i < parts; i++) {
		enum csv_err one = wait_for(&w[i]);

		if (one != CSV_OK) {
			err = one;
			c->me->ctx.need = w[i].req.ctx.need;
		}
		if (w[i].req.tid > *tid)
			*tid = w[i].req.tid;
	}
	return err;
}

static enum csv_err write_event(struct crash *c, struct crash_event *e, void *buf, unsigned parts)
{
	struct csv_file *f;
	uint64_t tid = 0;
	enum csv_err err = csv_file_get(c->me->data, e->ref, &f);

	if (err != CSV_OK)
		return err;
	if (parts < 1 || parts > PARTS_MAX || parts > e->n)
		parts = 1;
	err = CRASH_RUN(c->me, write_once(c, f, e->first * CRASH_SECTOR, e->n * CRASH_SECTOR, buf, parts, &tid));
	csv_file_put(c->me->data, f);
	e->op = c->op;
	/* Of several requests some may have needed no transaction. */
	e->txn = err == CSV_OK && tid != 0 && parts == 1;
	e->maybe = err != CSV_OK;
	crash_add_event(c, e);
	return err;
}

enum csv_err crash_write(struct crash *c, struct csv_iref ref, uint64_t off, uint64_t len, unsigned parts)
{
	struct crash_event e = { .ref = ref, .first = off / CRASH_SECTOR, .n = len / CRASH_SECTOR };
	uint8_t *buf = aligned_alloc(4096, (len + 4095) & ~4095ull);
	enum csv_err err;

	if (!buf)
		abort();
	crash_begin_op(c, true, "write %llu, %llu + %llu sectors, %u parts", (unsigned long long)ref.ino,
		       (unsigned long long)e.first, (unsigned long long)e.n, parts);
	for (uint64_t i = 0; i < e.n; i++)
		crash_pattern(ref, e.first + i, c->op, buf + i * CRASH_SECTOR);
	err = write_event(c, &e, buf, parts);
	free(buf);
	crash_end_op(c);
	return err;
}

enum csv_err crash_write_raw(struct crash *c, struct csv_iref ref, uint64_t off, uint64_t len, void *buf)
{
	struct crash_event e = { .ref = ref, .first = off / CRASH_SECTOR, .n = len / CRASH_SECTOR, .any = true };
	enum csv_err err;

	crash_begin_op(c, true, "raw write %llu", (unsigned long long)ref.ino);
	err = write_event(c, &e, buf, 1);
	crash_end_op(c);
	return err;
}

static void add_zero(struct crash *c, struct csv_iref ref, uint64_t first, uint64_t end, bool txn)
{
	struct crash_event e = { .ref = ref, .first = first, .n = end - first, .op = c->op, .zero = true, .txn = txn };

	if (end > first)
		crash_add_event(c, &e);
}

/* Sectors that a file's events reach. */
static uint64_t reach(const struct crash *c, struct csv_iref ref)
{
	uint64_t end = 0;

	for (unsigned i = 0; i < c->nevents; i++)
		if (c->event[i].ref.ino == ref.ino && c->event[i].ref.gen == ref.gen &&
		    c->event[i].first + c->event[i].n > end)
			end = c->event[i].first + c->event[i].n;
	return end;
}

enum csv_err crash_truncate(struct crash *c, struct csv_iref ref, uint64_t size)
{
	struct csv_attr a;
	enum csv_err err;

	crash_begin_op(c, true, "truncate %llu to %llu", (unsigned long long)ref.ino, (unsigned long long)size);
	err = CRASH_RUN(c->me, csv_truncate(&c->me->ctx, ref, size, &a, NULL));
	add_zero(c, ref, size / CRASH_SECTOR, reach(c, ref), err == CSV_OK);
	crash_end_op(c);
	return err;
}

enum csv_err crash_fallocate(struct crash *c, struct csv_iref ref, int mode, uint64_t off, uint64_t len)
{
	enum csv_err err;

	crash_begin_op(c, true, "fallocate %llu, mode %d, %llu + %llu", (unsigned long long)ref.ino, mode,
		       (unsigned long long)off, (unsigned long long)len);
	err = CRASH_RUN(c->me, csv_fallocate(&c->me->ctx, ref, mode, off, len, NULL));
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		add_zero(c, ref, off / CRASH_SECTOR, (off + len) / CRASH_SECTOR, err == CSV_OK);
	crash_end_op(c);
	return err;
}

void crash_sync(struct crash *c, struct csv_iref ref)
{
	struct csv_file *f;
	struct waiter w;

	if (!crash_expect(c, csv_file_get(c->me->data, ref, &f), "fsync"))
		return;
	/* As a caller does who has changed the file otherwise: truncate and the file's own name count too. */
	csv_file_note_tid(f, csv_journal_last_tid(&c->me->fs));
	waiter_init(c, &w, f);
	csv_data_sync(c->me->data, &w.req, false);
	crash_expect(c, wait_for(&w), "fsync");
	csv_file_put(c->me->data, f);
	if (c->nsynced == c->synced_room) {
		c->synced_room = c->synced_room ? 2 * c->synced_room : 64;
		c->synced = realloc(c->synced, c->synced_room * sizeof(*c->synced));
		if (!c->synced)
			abort();
	}
	c->synced[c->nsynced++] = (struct crash_synced){ ref, c->op };
	crash_mark(c, CRASH_META, c->op);
	crash_mark(c, CRASH_DATA, c->nsynced);
}

/* ---- judging ---------------------------------------------------------------------------- */

static bool same(struct csv_iref a, struct csv_iref b)
{
	return a.ino == b.ino && a.gen == b.gen;
}

/* Operation up to which the file's data must be there. */
static uint32_t synced_op(const struct crash *c, struct csv_iref ref, const struct crash_bounds *b)
{
	uint32_t op = 0;

	for (size_t i = 0; i < b->syncs; i++)
		if (same(c->synced[i].ref, ref))
			op = c->synced[i].op;
	return op;
}

static bool covers(const struct crash_event *e, struct csv_iref ref, uint64_t sector)
{
	return same(e->ref, ref) && sector >= e->first && sector < e->first + e->n;
}

static bool is_zero(const uint8_t *p)
{
	return p[0] == 0 && memcmp(p, p + 1, CRASH_SECTOR - 1) == 0;
}

static bool matches(const struct crash_event *e, struct csv_iref ref, uint64_t sector, const uint8_t *got)
{
	uint8_t want[CRASH_SECTOR];

	if (e->any)
		return true;
	if (e->zero)
		return is_zero(got);
	crash_pattern(ref, sector, e->op, want);
	return memcmp(got, want, CRASH_SECTOR) == 0;
}

/*
 * The last event that must have happened, or one after it that may have.  It must have, if it was synced, or if it
 * belongs to a transaction that is there.
 */
static bool sector_good(const struct crash *c, struct csv_iref ref, uint64_t sector, const uint8_t *got,
			uint32_t synced, uint32_t k, uint32_t begun)
{
	bool zero = true, found = false;

	for (unsigned i = 0; i < c->nevents; i++) {
		const struct crash_event *e = &c->event[i];

		if (!covers(e, ref, sector) || e->op > begun)
			continue;
		if (!e->maybe && (e->op <= synced || (e->txn && e->op <= k)))
			found = zero = false; /* what was before is over */
		found = found || matches(e, ref, sector, got);
	}
	return found || (zero && is_zero(got));
}

static bool bad_sector(struct crash *c, struct csv_iref ref, uint64_t sector, const uint8_t *got, uint32_t synced,
		       uint32_t k)
{
	const struct pattern *p = (const void *)got;

	if (p->magic == MAGIC)
		return crash_failed(
		    c,
		    "sector %llu of inode %llu.%u: data of inode %llu.%llu, sector %llu, operation %llu; "
		    "synced %u, state %u",
		    (unsigned long long)sector, (unsigned long long)ref.ino, ref.gen, (unsigned long long)p->ino,
		    (unsigned long long)p->gen, (unsigned long long)p->sector, (unsigned long long)p->op, synced, k);
	return crash_failed(c, "sector %llu of inode %llu.%u: %s; synced %u, state %u", (unsigned long long)sector,
			    (unsigned long long)ref.ino, ref.gen, is_zero(got) ? "zeros" : "garbage", synced, k);
}

/* Reads one block of a file by its map: not through the data path, which is what is being tested. */
static enum csv_err read_block(struct csv_fs *fs, struct csv_iref ref, uint64_t lblk, uint8_t *page)
{
	struct csv_map m = { 0 };
	struct csv_buf *buf;
	enum csv_err err;

	csv_fs_lock_shared(fs);
	err = csv_inode_get(fs, ref, &buf);
	if (err == CSV_OK) {
		err = csv_map_lookup(fs, buf, lblk, 1, &m);
		csv_buf_put(fs, buf);
	}
	csv_fs_unlock(fs);
	memset(page, 0, CSV_BLOCK_SIZE);
	if (err == CSV_OK && m.kind == CSV_MAP_WRITTEN)
		err = csv_bdev_read(fs->dev, m.phys << CSV_BLOCK_SHIFT, page, CSV_BLOCK_SIZE);
	return err;
}

static bool check_file(struct crash *c, struct csv_fs *fs, const struct crash_file *f, uint32_t k,
		       const struct crash_bounds *b, uint8_t *page)
{
	uint32_t synced = synced_op(c, f->ref, b);
	uint64_t sectors = f->size / CRASH_SECTOR;

	for (uint64_t s = 0; s < sectors; s++) {
		const uint8_t *got = page + s % 8 * CRASH_SECTOR;

		if (s % 8 == 0) {
			enum csv_err err = read_block(fs, f->ref, s / 8, page);

			if (err != CSV_OK)
				return crash_failed(c, "inode %llu, block %llu: %s", (unsigned long long)f->ref.ino,
						    (unsigned long long)(s / 8), csv_err_text(err));
		}
		if (!sector_good(c, f->ref, s, got, synced, k, b->begun))
			return bad_sector(c, f->ref, s, got, synced, k);
	}
	return true;
}

bool crash_check_data(struct crash *c, struct csv_fs *fs, const struct crash_state *now, uint32_t k,
		      const struct crash_bounds *b)
{
	uint8_t *page = aligned_alloc(CSV_BLOCK_SIZE, CSV_BLOCK_SIZE);
	bool good = page != NULL;

	for (unsigned i = 0; good && i < now->nfiles; i++)
		good = check_file(c, fs, &now->file[i], k, b, page);
	free(page);
	return good;
}
