/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/workq.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct csv_workq {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct csv_list todo;
	bool stop;
	unsigned threads;
	pthread_t thread[];
};

/* A worker ends only when the queue is empty, so that free() loses nothing. */
static void *worker(void *arg)
{
	struct csv_workq *q = arg;

	pthread_mutex_lock(&q->lock);
	for (;;) {
		struct csv_work *work;

		while (csv_list_empty(&q->todo) && !q->stop)
			pthread_cond_wait(&q->wake, &q->lock);
		if (csv_list_empty(&q->todo))
			break;
		work = csv_list_entry(q->todo.next, struct csv_work, link);
		csv_list_del(&work->link);
		pthread_mutex_unlock(&q->lock);
		work->fn(work);
		pthread_mutex_lock(&q->lock);
	}
	pthread_mutex_unlock(&q->lock);
	return NULL;
}

enum csv_err csv_workq_new(unsigned threads, struct csv_workq **out)
{
	struct csv_workq *q = calloc(1, sizeof(*q) + threads * sizeof(q->thread[0]));

	if (!q)
		return CSV_NOMEM;
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->wake, NULL);
	csv_list_init(&q->todo);
	for (; q->threads < threads; q->threads++) {
		if (pthread_create(&q->thread[q->threads], NULL, worker, q)) {
			csv_workq_free(q);
			return CSV_NOMEM;
		}
	}
	*out = q;
	return CSV_OK;
}

void csv_workq_add(struct csv_workq *q, struct csv_work *work)
{
	pthread_mutex_lock(&q->lock);
	csv_list_push_back(&q->todo, &work->link);
	pthread_cond_signal(&q->wake);
	pthread_mutex_unlock(&q->lock);
}

void csv_workq_free(struct csv_workq *q)
{
	pthread_mutex_lock(&q->lock);
	q->stop = true;
	pthread_cond_broadcast(&q->wake);
	pthread_mutex_unlock(&q->lock);
	for (unsigned i = 0; i < q->threads; i++)
		pthread_join(q->thread[i], NULL);
	pthread_cond_destroy(&q->wake);
	pthread_mutex_destroy(&q->lock);
	free(q);
}
