/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Several lock caches joined by a cluster of engines, many operations at random: at
 * no moment two nodes use a lock in modes that exclude each other, what one changed
 * is flushed before another sees it, and every operation comes through.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "fake_lockd.h"
#include "fs/lock/cache.h"

#define NODES 3u
#define RESOURCES 6u
#define THREADS 2u /* a node */
#define OPS 3000u  /* a thread */
#define NAMES_MAX 3u

struct node {
	struct csv_fs fs; /* first: rows get it */
	unsigned n;
	struct csv_workq *workq;
	struct csv_locks *locks;
};

/* Who uses what, as the operations see it. */
struct use {
	pthread_mutex_t mutex;
	unsigned ex[NODES], pr[NODES];
	bool dirty[NODES], cached[NODES];
};

static struct node nodes[NODES];
static struct use uses[RESOURCES];
static _Atomic unsigned completed, violations, busy;

struct job {
	struct csv_op op;
	struct csv_work later;
	struct node *node;
	unsigned n;
	unsigned res[NAMES_MAX];
	enum csv_mode mode[NAMES_MAX];
	bool noqueue, defer;
};

static struct csv_res res_of(unsigned r)
{
	/* Two types, so that the order goes by both. */
	return csv_res(r % 2 ? CSV_RES_INODE : CSV_RES_AG, r);
}

static void use_begin(struct node *n, unsigned r, enum csv_mode mode)
{
	struct use *u = &uses[r];

	pthread_mutex_lock(&u->mutex);
	for (unsigned i = 0; i < NODES; i++) {
		if (i == n->n)
			continue;
		if (u->ex[i] || u->dirty[i] || (mode == CSV_EX && (u->pr[i] || u->cached[i])))
			violations++;
	}
	u->cached[n->n] = true;
	if (mode == CSV_EX) {
		u->ex[n->n]++;
		u->dirty[n->n] = true;
	} else {
		u->pr[n->n]++;
	}
	pthread_mutex_unlock(&u->mutex);
}

static void use_end(struct node *n, unsigned r, enum csv_mode mode)
{
	struct use *u = &uses[r];

	pthread_mutex_lock(&u->mutex);
	if (mode == CSV_EX)
		u->ex[n->n]--;
	else
		u->pr[n->n]--;
	pthread_mutex_unlock(&u->mutex);
}

static enum csv_err row_flush(struct csv_fs *fs, struct csv_res res)
{
	struct node *n = (struct node *)fs;

	usleep(50);
	pthread_mutex_lock(&uses[res.id].mutex);
	if (uses[res.id].ex[n->n])
		violations++;
	uses[res.id].dirty[n->n] = false;
	pthread_mutex_unlock(&uses[res.id].mutex);
	return CSV_OK;
}

static void row_drop(struct csv_fs *fs, struct csv_res res)
{
	struct node *n = (struct node *)fs;

	pthread_mutex_lock(&uses[res.id].mutex);
	if (uses[res.id].ex[n->n] || uses[res.id].pr[n->n] || uses[res.id].dirty[n->n])
		violations++;
	uses[res.id].cached[n->n] = false;
	pthread_mutex_unlock(&uses[res.id].mutex);
}

static void job_end(struct job *j)
{
	for (unsigned i = 0; i < j->n; i++)
		use_end(j->node, j->res[i], j->mode[i]);
	csv_op_done(&j->op);
	free(j);
	completed++;
}

static void job_later(struct csv_work *work)
{
	job_end(csv_list_entry(work, struct job, later));
}

static void job_run(struct csv_op *op)
{
	struct job *j = csv_list_entry(op, struct job, op);
	enum csv_err err = CSV_OK;

	for (unsigned i = 0; i < j->n && err != CSV_BUSY; i++)
		err = j->noqueue ? csv_hold_noqueue(op, res_of(j->res[i]), j->mode[i])
				 : csv_hold(op, res_of(j->res[i]), j->mode[i]);
	if (err == CSV_BUSY) {
		busy++;
		csv_op_done(op);
		free(j);
		completed++;
		return;
	}
	if (csv_op_waits(op)) {
		csv_op_park(op);
		return;
	}
	for (unsigned i = 0; i < j->n; i++)
		use_begin(j->node, j->res[i], j->mode[i]);
	if (j->defer)
		csv_workq_add(j->node->workq, &j->later);
	else
		job_end(j);
}

static void job_fail(struct csv_op *op, enum csv_err err)
{
	violations++;
}

static void job_new(struct node *n, uint64_t *seed)
{
	struct job *j = calloc(1, sizeof(*j));
	uint64_t x = csv_rng_next(seed);
	unsigned first = (unsigned)(x >> 32) % RESOURCES;

	assert_non_null(j);
	j->node = n;
	j->n = 1 + (unsigned)(x % NAMES_MAX);
	j->noqueue = x >> 8 & 1 && (x >> 9 & 7) == 0;
	j->defer = x >> 12 & 1;
	j->later.fn = job_later;
	for (unsigned i = 0; i < j->n; i++) {
		j->res[i] = (first + i * (1 + (unsigned)(x >> 13 & 1))) % RESOURCES;
		j->mode[i] = (x >> (16 + i) & 3) == 0 ? CSV_EX : CSV_PR;
	}
	csv_op_init(&j->op, n->locks, job_run, job_fail);
	job_run(&j->op);
}

static void *submitter(void *arg)
{
	struct node *n = arg;
	static _Atomic uint64_t seeds = 1;
	uint64_t seed = seeds++;

	for (unsigned i = 0; i < OPS; i++) {
		job_new(n, &seed);
		if (i % 2 == 0)
			usleep(200);
	}
	return NULL;
}

static void test_stress(void **state)
{
	static const struct csv_lock_row row = { row_flush, row_drop };
	struct csv_lock_row rows[CSV_RES_TYPES];
	struct fake_lockd *d = fake_lockd_new(NODES);
	pthread_t t[NODES * THREADS];
	unsigned total = NODES * THREADS * OPS, before, still = 0;

	for (unsigned i = 0; i < CSV_RES_TYPES; i++)
		rows[i] = row;
	for (unsigned i = 0; i < RESOURCES; i++)
		pthread_mutex_init(&uses[i].mutex, NULL);
	for (unsigned i = 0; i < NODES; i++) {
		nodes[i].n = i;
		nodes[i].fs.env = csv_env_system();
		assert_int_equal(csv_workq_new(2, &nodes[i].workq), CSV_OK);
		assert_int_equal(
		    csv_locks_new(&nodes[i].fs, nodes[i].workq, fake_lockd_engine(d, i), rows, &nodes[i].locks),
		    CSV_OK);
	}
	for (unsigned i = 0; i < NODES * THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, submitter, &nodes[i % NODES]), 0);
	for (unsigned i = 0; i < NODES * THREADS; i++)
		pthread_join(t[i], NULL);
	/* Progress: 10 s without one operation coming through would be a lost wake-up or a deadlock. */
	while (completed < total && still < 100) {
		before = completed;
		usleep(100000);
		still = completed == before ? still + 1 : 0;
	}
	assert_int_equal(completed, total);
	assert_int_equal(violations, 0);
	assert_true(busy > 0);
	for (unsigned i = 0; i < NODES; i++)
		csv_locks_free(nodes[i].locks);
	for (unsigned i = 0; i < NODES; i++)
		csv_workq_free(nodes[i].workq);
	fake_lockd_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_stress) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
