/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The buffers: table by block number, lists by covering lock, LRU of what is clean and unused. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fs/disk/buf_priv.h"

#define CACHE_BUCKETS 8192u
#define CACHE_RES_BUCKETS 1024u
#define CACHE_LIMIT_DEFAULT 16384u

struct csv_cache {
	pthread_mutex_t mutex; /* covers all below; innermost lock */
	pthread_cond_t loaded;
	struct csv_list bucket[CACHE_BUCKETS];
	struct csv_list res_bucket[CACHE_RES_BUCKETS];
	struct csv_list lru; /* least recently used first */
	unsigned idle;	     /* buffers in the LRU list */
	unsigned limit;
};

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ull;
	return x ^ (x >> 32);
}

static struct csv_list *bucket_of(struct csv_cache *c, uint64_t block)
{
	return &c->bucket[mix(block) % CACHE_BUCKETS];
}

static struct csv_list *res_bucket_of(struct csv_cache *c, struct csv_res res)
{
	return &c->res_bucket[mix(res.id * 8 + (uint64_t)res.type) % CACHE_RES_BUCKETS];
}

enum csv_err csv_cache_new(struct csv_fs *fs, struct csv_cache **cache)
{
	struct csv_cache *c = calloc(1, sizeof(*c));

	(void)fs;
	if (!c)
		return CSV_NOMEM;
	pthread_mutex_init(&c->mutex, NULL);
	pthread_cond_init(&c->loaded, NULL);
	for (unsigned i = 0; i < CACHE_BUCKETS; i++)
		csv_list_init(&c->bucket[i]);
	for (unsigned i = 0; i < CACHE_RES_BUCKETS; i++)
		csv_list_init(&c->res_bucket[i]);
	csv_list_init(&c->lru);
	c->limit = CACHE_LIMIT_DEFAULT;
	*cache = c;
	return CSV_OK;
}

static void cbuf_free(struct csv_cbuf *b)
{
	free(b->pub.data);
	free(b);
}

/* Takes a buffer out of the table; mutex held. */
static void cache_unhash(struct csv_cache *c, struct csv_cbuf *b)
{
	csv_list_del(&b->hash);
	csv_list_del(&b->by_res);
	if (!csv_list_empty(&b->lru)) {
		csv_list_del(&b->lru);
		c->idle--;
	}
}

void csv_cache_free(struct csv_cache *cache)
{
	struct csv_list *pos, *tmp;

	if (!cache)
		return;
	for (unsigned i = 0; i < CACHE_BUCKETS; i++)
		csv_list_for_each_safe(pos, tmp, &cache->bucket[i]) {
			struct csv_cbuf *b = csv_list_entry(pos, struct csv_cbuf, hash);

			CSV_ASSERT(b->refs == 0);
			cache_unhash(cache, b);
			cbuf_free(b);
		}
	pthread_cond_destroy(&cache->loaded);
	pthread_mutex_destroy(&cache->mutex);
	free(cache);
}

/* Gives back least recently used buffers beyond the limit; mutex held. */
static void cache_shrink(struct csv_cache *c)
{
	while (c->idle > c->limit) {
		struct csv_cbuf *b = csv_list_entry(c->lru.next, struct csv_cbuf, lru);

		cache_unhash(c, b);
		cbuf_free(b);
	}
}

void csv_cache_set_limit(struct csv_fs *fs, unsigned blocks)
{
	struct csv_cache *c = fs->cache;

	pthread_mutex_lock(&c->mutex);
	c->limit = blocks ? blocks : CACHE_LIMIT_DEFAULT;
	cache_shrink(c);
	pthread_mutex_unlock(&c->mutex);
}

static struct csv_cbuf *cache_find(struct csv_cache *c, uint64_t block)
{
	struct csv_list *head = bucket_of(c, block), *pos;

	csv_list_for_each(pos, head) {
		struct csv_cbuf *b = csv_list_entry(pos, struct csv_cbuf, hash);

		if (b->pub.block == block)
			return b;
	}
	return NULL;
}

static struct csv_cbuf *cbuf_new(uint64_t block, struct csv_res res)
{
	struct csv_cbuf *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->pub.data = aligned_alloc(CSV_BLOCK_SIZE, CSV_BLOCK_SIZE);
	if (!b->pub.data) {
		free(b);
		return NULL;
	}
	b->pub.block = block;
	b->pub.res = res;
	csv_list_init(&b->hash);
	csv_list_init(&b->by_res);
	csv_list_init(&b->lru);
	csv_list_init(&b->run);
	b->refs = 1;
	b->loading = true;
	return b;
}

static void cache_ref(struct csv_cache *c, struct csv_cbuf *b)
{
	if (b->refs++ == 0 && !csv_list_empty(&b->lru)) {
		csv_list_del(&b->lru);
		c->idle--;
	}
}

/* Gives one reference back; mutex held. */
static void cache_unref(struct csv_cache *c, struct csv_cbuf *b)
{
	CSV_ASSERT(b->refs > 0);
	if (--b->refs > 0)
		return;
	if (csv_list_empty(&b->hash)) { /* loading failed */
		cbuf_free(b);
		return;
	}
	csv_list_push_back(&c->lru, &b->lru);
	c->idle++;
	cache_shrink(c);
}

void csv_buf_ref(struct csv_fs *fs, struct csv_cbuf *b)
{
	pthread_mutex_lock(&fs->cache->mutex);
	cache_ref(fs->cache, b);
	pthread_mutex_unlock(&fs->cache->mutex);
}

void csv_buf_put(struct csv_fs *fs, struct csv_buf *buf)
{
	if (!buf)
		return;
	pthread_mutex_lock(&fs->cache->mutex);
	cache_unref(fs->cache, csv_cbuf_of(buf));
	pthread_mutex_unlock(&fs->cache->mutex);
}

enum csv_err csv_cache_get(struct csv_fs *fs, uint64_t block, struct csv_res res, struct csv_cbuf **out, bool *mine)
{
	struct csv_cache *c = fs->cache;
	struct csv_cbuf *b;
	enum csv_err err = CSV_OK;

	*mine = false;
	pthread_mutex_lock(&c->mutex);
	b = cache_find(c, block);
	if (b) {
		cache_ref(c, b);
		while (b->loading)
			pthread_cond_wait(&c->loaded, &c->mutex);
		err = b->load_err;
		if (err != CSV_OK)
			cache_unref(c, b);
	} else {
		b = cbuf_new(block, res);
		if (b) {
			csv_list_push_back(bucket_of(c, block), &b->hash);
			csv_list_push_back(res_bucket_of(c, res), &b->by_res);
			*mine = true;
		} else {
			err = CSV_NOMEM;
		}
	}
	pthread_mutex_unlock(&c->mutex);
	*out = err == CSV_OK ? b : NULL;
	return err;
}

void csv_cache_loaded(struct csv_fs *fs, struct csv_cbuf *b, enum csv_err err)
{
	struct csv_cache *c = fs->cache;

	pthread_mutex_lock(&c->mutex);
	b->loading = false;
	b->load_err = err;
	if (err != CSV_OK) {
		cache_unhash(c, b);
		cache_unref(c, b);
	}
	pthread_cond_broadcast(&c->loaded);
	pthread_mutex_unlock(&c->mutex);
}

void csv_buf_retag(struct csv_fs *fs, struct csv_cbuf *b, struct csv_res res)
{
	struct csv_cache *c = fs->cache;

	pthread_mutex_lock(&c->mutex);
	csv_list_del(&b->by_res);
	b->pub.res = res;
	csv_list_push_back(res_bucket_of(c, res), &b->by_res);
	pthread_mutex_unlock(&c->mutex);
}

void csv_cache_drop(struct csv_fs *fs, struct csv_res res)
{
	struct csv_cache *c = fs->cache;
	struct csv_list *head = res_bucket_of(c, res), *pos, *tmp;

	pthread_mutex_lock(&c->mutex);
	csv_list_for_each_safe(pos, tmp, head) {
		struct csv_cbuf *b = csv_list_entry(pos, struct csv_cbuf, by_res);

		if (!csv_res_eq(b->pub.res, res))
			continue;
		CSV_ASSERT(b->refs == 0);
		cache_unhash(c, b);
		cbuf_free(b);
	}
	pthread_mutex_unlock(&c->mutex);
}

void csv_cache_forget(struct csv_fs *fs, uint64_t block, unsigned n)
{
	struct csv_cache *c = fs->cache;

	pthread_mutex_lock(&c->mutex);
	for (unsigned i = 0; i < n; i++) {
		struct csv_cbuf *b = cache_find(c, block + i);

		if (!b)
			continue;
		CSV_ASSERT(b->refs == 0);
		cache_unhash(c, b);
		cbuf_free(b);
	}
	pthread_mutex_unlock(&c->mutex);
}

bool csv_cache_peek(struct csv_fs *fs, uint64_t block, void *page)
{
	struct csv_cache *c = fs->cache;
	struct csv_cbuf *b;
	bool found;

	pthread_mutex_lock(&c->mutex);
	b = cache_find(c, block);
	found = b && !b->loading && !b->fresh;
	if (found)
		memcpy(page, b->pub.data, CSV_BLOCK_SIZE);
	pthread_mutex_unlock(&c->mutex);
	return found;
}
