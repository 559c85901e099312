/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "iorig.h"

#include <pthread.h>
#include <time.h>

#include "lib/bdev_impl.h"

/* ---- the lagging device --------------------------------------------------------- */

#define LAG_MAX 1024

struct lag_dev {
	struct csv_bdev dev;
	struct csv_bdev *below;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop, halted;
	uint64_t rng;
	unsigned n;
	struct csv_io *todo[LAG_MAX];

	pthread_mutex_t cache_lock; /* covers all below */
	unsigned char *cache;	    /* as large as the device, only cached sectors count; NULL: there is no cache */
	bool *cached;		    /* by sector of 512 bytes */
	bool lose_at_flush;
};

/* ---- its write cache ---- */

#define SECTOR 512u

static void cache_write_back(struct lag_dev *l, uint64_t from, uint64_t to)
{
	const bool *next;

	while (from < to && (next = memchr(l->cached + from, true, to - from)) != NULL) {
		uint64_t s = (uint64_t)(next - l->cached), n;

		for (n = 0; s + n < to && l->cached[s + n]; n++)
			l->cached[s + n] = false;
		assert_ok(csv_bdev_write(l->below, s * SECTOR, l->cache + s * SECTOR, n * SECTOR, 0));
		from = s + n;
	}
}

static void cache_drop(struct lag_dev *l)
{
	memset(l->cached, 0, l->dev.geo.size / SECTOR);
	csv_bdev_generation_bump(&l->dev);
}

/* One part of a request: `len` bytes at `off`, `mem` the caller's. */
static void cache_part(struct lag_dev *l, enum csv_io_op op, uint64_t off, unsigned char *mem, size_t len)
{
	if (op == CSV_IO_READ)
		assert_ok(csv_bdev_read(l->below, off, mem, len));
	for (size_t i = 0; i < len; i += SECTOR) {
		uint64_t s = (off + i) / SECTOR;

		if (op == CSV_IO_WRITE) {
			memcpy(l->cache + s * SECTOR, mem + i, SECTOR);
			l->cached[s] = true;
		} else if (l->cached[s]) {
			memcpy(mem + i, l->cache + s * SECTOR, SECTOR);
		}
	}
}

static void cache_do(struct lag_dev *l, struct csv_io *io)
{
	uint64_t off = io->off;

	if (io->op == CSV_IO_FLUSH) {
		if (l->lose_at_flush)
			cache_drop(l);
		l->lose_at_flush = false;
		cache_write_back(l, 0, l->dev.geo.size / SECTOR);
		return;
	}
	for (int i = 0; i < io->niov; i++) {
		cache_part(l, io->op, off, io->iov[i].iov_base, io->iov[i].iov_len);
		off += io->iov[i].iov_len;
	}
	if (io->op == CSV_IO_WRITE && io->flags & CSV_IO_FUA)
		cache_write_back(l, io->off / SECTOR, off / SECTOR);
}

/* True: done, and answered. */
static bool cache_takes(struct lag_dev *l, struct csv_io *io)
{
	bool takes;

	pthread_mutex_lock(&l->cache_lock);
	takes = l->cache && io->op != CSV_IO_DISCARD;
	if (takes)
		cache_do(l, io);
	pthread_mutex_unlock(&l->cache_lock);
	if (takes)
		io->done(io, CSV_OK);
	return takes;
}

/* ---- its thread ---- */

static void lag_submit(struct csv_bdev *dev, struct csv_io *io)
{
	struct lag_dev *l = (struct lag_dev *)dev;

	pthread_mutex_lock(&l->lock);
	assert_true(l->n < LAG_MAX);
	l->todo[l->n++] = io;
	pthread_cond_signal(&l->wake);
	pthread_mutex_unlock(&l->lock);
}

static void *lag_thread(void *arg)
{
	struct lag_dev *l = arg;

	pthread_mutex_lock(&l->lock);
	for (;;) {
		struct csv_io *io;
		unsigned i;

		while ((l->n == 0 && !l->stop) || l->halted)
			pthread_cond_wait(&l->wake, &l->lock);
		if (l->n == 0)
			break;
		i = (unsigned)(csv_rng_next(&l->rng) % l->n);
		io = l->todo[i];
		l->todo[i] = l->todo[--l->n];
		pthread_mutex_unlock(&l->lock);
		if (!cache_takes(l, io))
			csv_bdev_submit(l->below, io);
		pthread_mutex_lock(&l->lock);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

static const struct csv_bdev_ops lag_ops = { .name = "lag", .submit = lag_submit };

static struct csv_bdev *lag_open(struct csv_bdev *below)
{
	struct lag_dev *l = calloc(1, sizeof(*l));

	assert_non_null(l);
	l->dev.ops = &lag_ops;
	l->dev.geo = below->geo;
	l->below = below;
	l->rng = 1;
	pthread_mutex_init(&l->lock, NULL);
	pthread_mutex_init(&l->cache_lock, NULL);
	pthread_cond_init(&l->wake, NULL);
	assert_int_equal(pthread_create(&l->thread, NULL, lag_thread, l), 0);
	return &l->dev;
}

static void lag_close(struct csv_bdev *dev)
{
	struct lag_dev *l = (struct lag_dev *)dev;

	pthread_mutex_lock(&l->lock);
	l->stop = true;
	pthread_cond_signal(&l->wake);
	pthread_mutex_unlock(&l->lock);
	pthread_join(l->thread, NULL);
	pthread_cond_destroy(&l->wake);
	pthread_mutex_destroy(&l->lock);
	pthread_mutex_destroy(&l->cache_lock);
	free(l->cache);
	free(l->cached);
	free(l);
}

/* ---- the rig ------------------------------------------------------------------------ */

#define VOLUME_BLOCKS 16384u

static void live(struct iorig *r)
{
	struct csv_why why;
	struct csv_slot s;

	csv_why_init(&why);
	assert_ok(csv_slot_read(r->below, &r->sb, 0, &s, &why));
	s.state = CSV_SLOT_LIVE;
	s.incarnation++;
	r->incarnation = s.incarnation;
	assert_ok(csv_slot_write(r->below, &r->sb, &s));
	r->dev = lag_open(r->below);
	assert_ok(csv_fs_open(&r->fs, r->dev, csv_env_system(), false, 0, s.incarnation, &why));
	csv_journal_set_interval(&r->fs, 0);
	assert_ok(csv_workq_new(4, &r->workq));
	assert_ok(csv_data_new(&r->fs, r->workq, &r->data));
	for (uint32_t ag = 0; ag < r->sb.ag_count; ag++)
		csv_agset_add(&r->ags, ag);
}

static struct csv_ctx ctx_of(struct iorig *r)
{
	return (struct csv_ctx){ .fs = &r->fs, .ags = r->ags };
}

static void find_file(struct iorig *r)
{
	struct csv_ctx ctx = ctx_of(r);

	assert_ok(csv_lookup(&ctx, (struct csv_iref){ r->sb.root_inode, 0 }, "f", &r->ref));
	assert_ok(csv_file_get(r->data, r->ref, &r->file));
}

void iorig_make(struct iorig *r, uint32_t block, bool record)
{
	struct csv_format f = { .name = "io", .cluster = "", .slots = 1, .journal_blocks = 1024, .ag_blocks = 4096 };
	struct csv_new what = { .mode = S_IFREG | 0644 };
	struct csv_attr attr;
	struct csv_bdev *mem;
	struct csv_ctx ctx;

	memset(r, 0, sizeof(*r));
	assert_ok(csv_bdev_mem((uint64_t)VOLUME_BLOCKS << CSV_BLOCK_SHIFT, block, &mem));
	assert_ok(csv_format_write(mem, csv_env_system(), &f, &r->sb, NULL));
	r->below = mem;
	live(r);
	ctx = ctx_of(r);
	assert_ok(csv_create(&ctx, (struct csv_iref){ r->sb.root_inode, 0 }, "f", &what, &attr, NULL));
	if (record) { /* the log begins with the empty file */
		csv_data_free(r->data);
		assert_ok(csv_fs_close(&r->fs));
		csv_workq_free(r->workq);
		lag_close(r->dev);
		assert_ok(csv_record_open(mem, &r->below));
		live(r);
	}
	find_file(r);
}

void iorig_mount(struct iorig *r, struct csv_bdev *image)
{
	struct csv_replay_result res;
	struct csv_why why;

	memset(r, 0, sizeof(*r));
	csv_why_init(&why);
	r->below = image;
	assert_ok(csv_super_read(image, &r->sb, &why));
	if (csv_replay(image, &r->sb, 0, true, NULL, &res, &why) != CSV_OK)
		fail_msg("replay: %s", why.text);
	live(r);
	find_file(r);
}

void iorig_free(struct iorig *r)
{
	csv_file_put(r->data, r->file);
	csv_workq_free(r->workq);
	assert_ok(csv_fs_close(&r->fs));
	csv_data_free(r->data);
	lag_close(r->dev);
	csv_bdev_close(r->below);
}

/* ---- losses ---------------------------------------------------------------------------- */

void iorig_cache(struct iorig *r)
{
	struct lag_dev *l = (struct lag_dev *)r->dev;

	pthread_mutex_lock(&l->cache_lock);
	l->cache = calloc(1, l->dev.geo.size);
	l->cached = calloc(1, l->dev.geo.size / SECTOR);
	assert_true(l->cache && l->cached);
	pthread_mutex_unlock(&l->cache_lock);
}

void iorig_lose(struct iorig *r)
{
	struct lag_dev *l = (struct lag_dev *)r->dev;

	pthread_mutex_lock(&l->cache_lock);
	cache_drop(l);
	pthread_mutex_unlock(&l->cache_lock);
}

void iorig_lose_at_flush(struct iorig *r, bool on)
{
	struct lag_dev *l = (struct lag_dev *)r->dev;

	pthread_mutex_lock(&l->cache_lock);
	l->lose_at_flush = on;
	pthread_mutex_unlock(&l->cache_lock);
}

void iorig_stop(struct iorig *r, bool stop)
{
	struct lag_dev *l = (struct lag_dev *)r->dev;

	pthread_mutex_lock(&l->lock);
	l->halted = stop;
	pthread_cond_signal(&l->wake);
	pthread_mutex_unlock(&l->lock);
}

/* ---- requests -------------------------------------------------------------------------- */

void ioset_init(struct ioset *s)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->idle, NULL);
}

void ioset_wait(struct ioset *s)
{
	pthread_mutex_lock(&s->lock);
	while (s->left)
		pthread_cond_wait(&s->idle, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

static void job_done(struct csv_data_req *req, enum csv_err err)
{
	struct iojob *job = csv_list_entry(req, struct iojob, req);
	struct ioset *s = job->set;

	job->err = err;
	pthread_mutex_lock(&s->lock);
	if (--s->left == 0)
		pthread_cond_broadcast(&s->idle);
	pthread_mutex_unlock(&s->lock);
}

static void job_begin(struct iorig *r, struct ioset *s, struct iojob *job)
{
	job->set = s;
	job->req.ctx = ctx_of(r);
	job->req.file = r->file;
	job->req.done = job_done;
	pthread_mutex_lock(&s->lock);
	s->left++;
	pthread_mutex_unlock(&s->lock);
}

void iojob_write(struct iorig *r, struct ioset *s, struct iojob *job)
{
	job_begin(r, s, job);
	csv_data_write(r->data, &job->req);
}

void iojob_read(struct iorig *r, struct ioset *s, struct iojob *job)
{
	job_begin(r, s, job);
	csv_data_read(r->data, &job->req);
}

void iojob_sync(struct iorig *r, struct ioset *s, struct iojob *job)
{
	job_begin(r, s, job);
	csv_data_sync(r->data, &job->req, true);
}

enum csv_err iorig_write(struct iorig *r, uint64_t off, const void *buf, size_t len)
{
	struct iojob job = { .req = { .off = off, .len = len, .buf = (void *)(uintptr_t)buf } };
	struct ioset s;

	ioset_init(&s);
	iojob_write(r, &s, &job);
	ioset_wait(&s);
	assert_true(job.err || job.req.result == len);
	return job.err;
}

enum csv_err iorig_read(struct iorig *r, uint64_t off, void *buf, size_t len, size_t *got)
{
	struct iojob job = { .req = { .off = off, .len = len, .buf = buf } };
	struct ioset s;

	ioset_init(&s);
	iojob_read(r, &s, &job);
	ioset_wait(&s);
	*got = job.req.result;
	return job.err;
}

enum csv_err iorig_sync(struct iorig *r, _Atomic uint64_t *err_seen)
{
	struct iojob job = { .req = { .err_seen = err_seen } };
	struct ioset s;

	ioset_init(&s);
	iojob_sync(r, &s, &job);
	ioset_wait(&s);
	return job.err;
}

struct gated {
	struct csv_data_gate gate;
	struct ioset set;
};

static void gate_opened(struct csv_data_gate *g)
{
	struct gated *w = csv_list_entry(g, struct gated, gate);

	pthread_mutex_lock(&w->set.lock);
	w->set.left = 0;
	pthread_cond_broadcast(&w->set.idle);
	pthread_mutex_unlock(&w->set.lock);
}

static void gate(struct iorig *r, struct gated *w)
{
	ioset_init(&w->set);
	w->set.left = 1;
	w->gate.file = r->file;
	w->gate.go = gate_opened;
	csv_data_gate_open(r->data, &w->gate, 0, UINT64_MAX);
	ioset_wait(&w->set);
}

enum csv_err iorig_truncate(struct iorig *r, uint64_t size)
{
	struct csv_ctx ctx = ctx_of(r);
	struct csv_attr attr;
	struct gated w;
	enum csv_err err;
	uint64_t tid;

	gate(r, &w);
	err = csv_truncate(&ctx, r->ref, size, &attr, &tid);
	if (!err)
		csv_file_note_tid(r->file, tid);
	csv_data_gate_close(&w.gate);
	return err;
}

enum csv_err iorig_fallocate(struct iorig *r, int mode, uint64_t off, uint64_t len)
{
	struct csv_ctx ctx = ctx_of(r);
	struct gated w;
	enum csv_err err;
	uint64_t tid;

	gate(r, &w);
	err = csv_fallocate(&ctx, r->ref, mode, off, len, &tid);
	if (!err)
		csv_file_note_tid(r->file, tid);
	csv_data_gate_close(&w.gate);
	return err;
}

uint64_t iorig_size(struct iorig *r)
{
	struct csv_ctx ctx = ctx_of(r);
	struct csv_attr attr;

	assert_ok(csv_getattr(&ctx, r->ref, &attr));
	return attr.size;
}

static void garbage(struct iorig *r, uint64_t blocks)
{
	uint8_t *page = aligned_alloc(CSV_BLOCK_SIZE, CSV_BLOCK_SIZE);
	struct csv_map m;

	memset(page, 0xee, CSV_BLOCK_SIZE);
	for (uint64_t b = 0; b < blocks; b++) {
		struct csv_buf *inode;

		csv_fs_lock_shared(&r->fs);
		assert_ok(csv_inode_get(&r->fs, r->ref, &inode));
		assert_ok(csv_map_lookup(&r->fs, inode, b, 1, &m));
		csv_buf_put(&r->fs, inode);
		csv_fs_unlock(&r->fs);
		assert_int_equal(m.kind, CSV_MAP_UNWRITTEN);
		assert_ok(csv_bdev_write(r->dev, m.phys << CSV_BLOCK_SHIFT, page, CSV_BLOCK_SIZE, 0));
	}
	assert_ok(csv_bdev_flush(r->dev));
	free(page);
}

void iorig_fill(struct iorig *r, uint64_t size)
{
	struct csv_new what = { .mode = S_IFREG | 0644 };
	struct csv_iref root = { r->sb.root_inode, 0 }, hog;
	enum csv_err err = CSV_OK;
	struct csv_attr attr;
	struct csv_ctx ctx;
	char name[32];

	assert_ok(iorig_fallocate(r, 0, 0, size));
	garbage(r, size >> CSV_BLOCK_SHIFT);
	ctx = ctx_of(r);
	assert_ok(csv_create(&ctx, root, "hog", &what, &attr, NULL));
	hog = attr.ref;
	assert_int_equal(csv_fallocate(&ctx, hog, 0, 0, r->below->geo.size, NULL), CSV_NOSPC);
	for (unsigned i = 0; err == CSV_OK; i++) {
		snprintf(name, sizeof(name), "%u", i);
		err = csv_create(&ctx, root, name, &what, &attr, NULL);
	}
	assert_int_equal(err, CSV_NOSPC);
	assert_ok(csv_journal_commit(&r->fs, 0));
}

uint64_t iorig_seed(const char *test)
{
	const char *text = getenv("SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);

	print_message("%s: SEED=%llu\n", test, (unsigned long long)seed);
	return seed;
}
