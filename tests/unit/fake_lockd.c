/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fake_lockd.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/list.h"
#include "lib/log.h"

enum what { GRANTED, DENIED, BAST };

struct upcall {
	struct csv_list link;
	enum what what;
	unsigned node;
	struct csv_res res;
	enum csv_mode mode;
	char holder[16];
};

struct request {
	struct csv_list link;
	unsigned node;
	enum csv_mode mode;
};

struct resource {
	struct csv_list link;
	struct csv_res res;
	enum csv_mode mode[FAKE_NODES];
	enum csv_mode asked[FAKE_NODES]; /* BAST sent since the last change */
	struct csv_list queue;
};

struct node {
	struct csv_engine engine;
	struct fake_lockd *d;
	unsigned n;
	bool closed;
};

struct fake_lockd {
	pthread_mutex_t mutex;
	pthread_cond_t wake, drained;
	pthread_t thread;
	bool stop, delivering;
	unsigned nodes;
	struct csv_list resources, upcalls;
	struct node node[FAKE_NODES];
};

static void *zalloc(size_t size)
{
	void *p = calloc(1, size);

	CSV_ASSERT(p);
	return p;
}

static struct resource *resource_of(struct fake_lockd *d, struct csv_res res)
{
	struct csv_list *pos;
	struct resource *r;

	csv_list_for_each(pos, &d->resources) {
		r = csv_list_entry(pos, struct resource, link);
		if (csv_res_eq(r->res, res))
			return r;
	}
	r = zalloc(sizeof(*r));
	r->res = res;
	csv_list_init(&r->queue);
	csv_list_push_back(&d->resources, &r->link);
	return r;
}

static void post(struct fake_lockd *d, enum what what, unsigned node, struct csv_res res, enum csv_mode mode)
{
	struct upcall *u = zalloc(sizeof(*u));

	u->what = what;
	u->node = node;
	u->res = res;
	u->mode = mode;
	csv_list_push_back(&d->upcalls, &u->link);
	pthread_cond_signal(&d->wake);
}

static int conflict(struct fake_lockd *d, const struct resource *r, unsigned node, enum csv_mode mode)
{
	for (unsigned i = 0; i < d->nodes; i++)
		if (i != node && !csv_mode_compatible(r->mode[i], mode))
			return (int)i;
	return -1;
}

static void evaluate(struct fake_lockd *d, struct resource *r)
{
	while (!csv_list_empty(&r->queue)) {
		struct request *q = csv_list_entry(r->queue.next, struct request, link);

		if (conflict(d, r, q->node, q->mode) >= 0) {
			for (unsigned i = 0; i < d->nodes; i++) {
				if (i == q->node || csv_mode_compatible(r->mode[i], q->mode) || r->asked[i] >= q->mode)
					continue;
				r->asked[i] = q->mode;
				post(d, BAST, i, r->res, q->mode);
			}
			return;
		}
		r->mode[q->node] = q->mode;
		r->asked[q->node] = CSV_NL;
		post(d, GRANTED, q->node, r->res, q->mode);
		csv_list_del(&q->link);
		free(q);
	}
}

static enum csv_err fake_lock(struct csv_engine *e, struct csv_res res, enum csv_mode mode, bool noqueue)
{
	struct node *n = (struct node *)e;
	struct fake_lockd *d = n->d;
	struct resource *r;
	int other;

	pthread_mutex_lock(&d->mutex);
	r = resource_of(d, res);
	CSV_ASSERT(r->mode[n->n] == CSV_NL);
	other = conflict(d, r, n->n, mode);
	if (noqueue && (other >= 0 || !csv_list_empty(&r->queue))) {
		post(d, DENIED, n->n, res, mode);
		if (other >= 0)
			snprintf(csv_list_entry(d->upcalls.prev, struct upcall, link)->holder, 16, "node%d", other);
	} else {
		struct request *q = zalloc(sizeof(*q));

		q->node = n->n;
		q->mode = mode;
		csv_list_push_back(&r->queue, &q->link);
		evaluate(d, r);
	}
	pthread_mutex_unlock(&d->mutex);
	return CSV_OK;
}

static enum csv_err fake_unlock(struct csv_engine *e, struct csv_res res, enum csv_mode keep)
{
	struct node *n = (struct node *)e;
	struct fake_lockd *d = n->d;
	struct resource *r;

	pthread_mutex_lock(&d->mutex);
	r = resource_of(d, res);
	CSV_ASSERT(r->mode[n->n] > keep);
	r->mode[n->n] = keep;
	r->asked[n->n] = CSV_NL;
	evaluate(d, r);
	pthread_mutex_unlock(&d->mutex);
	return CSV_OK;
}

static void fake_close(struct csv_engine *e)
{
	struct node *n = (struct node *)e;

	pthread_mutex_lock(&n->d->mutex);
	n->closed = true;
	while (n->d->delivering)
		pthread_cond_wait(&n->d->drained, &n->d->mutex);
	pthread_mutex_unlock(&n->d->mutex);
}

static void deliver(struct node *n, const struct upcall *u)
{
	const struct csv_engine_up *up = &n->engine.up;

	switch (u->what) {
	case GRANTED:
		up->granted(up->arg, u->res, u->mode);
		break;
	case DENIED:
		up->denied(up->arg, u->res, u->holder);
		break;
	case BAST:
		up->bast(up->arg, u->res, u->mode);
		break;
	}
}

static void *upcall_thread(void *arg)
{
	struct fake_lockd *d = arg;

	pthread_mutex_lock(&d->mutex);
	while (!d->stop || !csv_list_empty(&d->upcalls)) {
		struct upcall *u;

		if (csv_list_empty(&d->upcalls)) {
			pthread_cond_wait(&d->wake, &d->mutex);
			continue;
		}
		u = csv_list_entry(d->upcalls.next, struct upcall, link);
		csv_list_del(&u->link);
		if (!d->node[u->node].closed) {
			d->delivering = true;
			pthread_mutex_unlock(&d->mutex);
			deliver(&d->node[u->node], u);
			pthread_mutex_lock(&d->mutex);
			d->delivering = false;
			pthread_cond_broadcast(&d->drained);
		}
		free(u);
	}
	pthread_mutex_unlock(&d->mutex);
	return NULL;
}

static const struct csv_engine_ops fake_ops = { "fake", fake_lock, fake_unlock, fake_close };

struct fake_lockd *fake_lockd_new(unsigned nodes)
{
	struct fake_lockd *d = zalloc(sizeof(*d));

	pthread_mutex_init(&d->mutex, NULL);
	pthread_cond_init(&d->wake, NULL);
	pthread_cond_init(&d->drained, NULL);
	csv_list_init(&d->resources);
	csv_list_init(&d->upcalls);
	d->nodes = nodes;
	for (unsigned i = 0; i < nodes; i++)
		d->node[i] = (struct node){ .engine = { .ops = &fake_ops }, .d = d, .n = i };
	CSV_ASSERT(pthread_create(&d->thread, NULL, upcall_thread, d) == 0);
	return d;
}

void fake_lockd_free(struct fake_lockd *d)
{
	pthread_mutex_lock(&d->mutex);
	d->stop = true;
	pthread_cond_signal(&d->wake);
	pthread_mutex_unlock(&d->mutex);
	pthread_join(d->thread, NULL);
	while (!csv_list_empty(&d->resources)) {
		struct resource *r = csv_list_entry(d->resources.next, struct resource, link);

		while (!csv_list_empty(&r->queue)) {
			struct request *q = csv_list_entry(r->queue.next, struct request, link);

			csv_list_del(&q->link);
			free(q);
		}
		csv_list_del(&r->link);
		free(r);
	}
	pthread_cond_destroy(&d->wake);
	pthread_cond_destroy(&d->drained);
	pthread_mutex_destroy(&d->mutex);
	free(d);
}

struct csv_engine *fake_lockd_engine(struct fake_lockd *d, unsigned node)
{
	return &d->node[node].engine;
}

enum csv_mode fake_lockd_mode(struct fake_lockd *d, unsigned node, struct csv_res res)
{
	enum csv_mode mode;

	pthread_mutex_lock(&d->mutex);
	mode = resource_of(d, res)->mode[node];
	pthread_mutex_unlock(&d->mutex);
	return mode;
}
