/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/fuse/handle.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "lib/log.h"

#define BUCKETS 1024u

struct csv_handles {
	pthread_mutex_t lock; /* covers all */
	uint64_t last;
	unsigned count;
	struct csv_list bucket[BUCKETS];
};

enum csv_err csv_handles_new(struct csv_handles **out)
{
	struct csv_handles *t = calloc(1, sizeof(*t));

	if (!t)
		return CSV_NOMEM;
	pthread_mutex_init(&t->lock, NULL);
	for (unsigned i = 0; i < BUCKETS; i++)
		csv_list_init(&t->bucket[i]);
	*out = t;
	return CSV_OK;
}

void csv_handles_free(struct csv_handles *t)
{
	if (!t)
		return;
	pthread_mutex_destroy(&t->lock);
	free(t);
}

void csv_handle_add(struct csv_handles *t, struct csv_handle *h)
{
	pthread_mutex_lock(&t->lock);
	h->id = ++t->last;
	t->count++;
	csv_list_push_back(&t->bucket[h->id % BUCKETS], &h->link);
	pthread_mutex_unlock(&t->lock);
}

struct csv_handle *csv_handle_find(struct csv_handles *t, uint64_t id)
{
	struct csv_list *pos, *head = &t->bucket[id % BUCKETS];
	struct csv_handle *found = NULL;

	pthread_mutex_lock(&t->lock);
	csv_list_for_each(pos, head) {
		struct csv_handle *h = csv_list_entry(pos, struct csv_handle, link);

		if (h->id == id) {
			found = h;
			break;
		}
	}
	pthread_mutex_unlock(&t->lock);
	return found;
}

void csv_handle_del(struct csv_handles *t, struct csv_handle *h)
{
	pthread_mutex_lock(&t->lock);
	csv_list_del(&h->link);
	t->count--;
	pthread_mutex_unlock(&t->lock);
}

unsigned csv_handle_count(struct csv_handles *t)
{
	unsigned n;

	pthread_mutex_lock(&t->lock);
	n = t->count;
	pthread_mutex_unlock(&t->lock);
	return n;
}

void csv_handle_each(struct csv_handles *t, void (*fn)(void *arg, struct csv_handle *h), void *arg)
{
	struct csv_list *pos, *tmp;

	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < BUCKETS; i++)
		csv_list_for_each_safe(pos, tmp, &t->bucket[i])
			fn(arg, csv_list_entry(pos, struct csv_handle, link));
	pthread_mutex_unlock(&t->lock);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t csv_handle_wall_ns(uint64_t mono_ns)
{
	return clock_ns(CLOCK_REALTIME) - (clock_ns(CLOCK_MONOTONIC) - mono_ns);
}

bool csv_handle_note_io(struct csv_handle *h)
{
	uint64_t ns;

	if (!h->image || !h->writable)
		return false;
	ns = clock_ns(CLOCK_MONOTONIC);
	atomic_store_explicit(&h->last_io_ns, ns, memory_order_relaxed);
	if (!atomic_load_explicit(&h->trace_first, memory_order_relaxed) || !atomic_exchange(&h->trace_first, false))
		return false;
	csv_info("image %llu: first I/O after the handoff at %llu ns", (unsigned long long)h->ref.ino,
		 (unsigned long long)csv_handle_wall_ns(ns));
	return true;
}
