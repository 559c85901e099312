/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lock cache against a scripted engine: who gets what when, parking, BASTs, the way down. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "fs/lock/cache.h"

#define A csv_res(CSV_RES_INODE, 10)
#define B csv_res(CSV_RES_INODE, 20)
#define L csv_res(CSV_RES_LEASE, 10)

/* Records what the cache asks; the test plays csvlockd. */
struct script {
	struct csv_engine engine;
	pthread_mutex_t mutex;
	char log[512]; /* "A:EX B:PR? A-NL": requests (? noqueue) and unlocks */
	enum csv_err answer;
};

struct rig {
	struct csv_fs fs;
	struct csv_workq *workq;
	struct csv_locks *locks;
	struct script script;
	_Atomic unsigned flushed, dropped;
	enum csv_err flush_err;
};
static struct rig rig;

static void note(struct csv_res res, const char *sep, enum csv_mode mode, const char *tail)
{
	struct script *s = &rig.script;
	size_t n;

	pthread_mutex_lock(&s->mutex);
	n = strlen(s->log);
	snprintf(s->log + n, sizeof(s->log) - n, "%s%s%s%s%s", n ? " " : "",
		 csv_res_eq(res, A)   ? "A"
		 : csv_res_eq(res, B) ? "B"
				      : "L",
		 sep, csv_mode_name(mode), tail);
	pthread_mutex_unlock(&s->mutex);
}

static enum csv_err script_lock(struct csv_engine *e, struct csv_res res, enum csv_mode mode, bool noqueue)
{
	if (rig.script.answer)
		return rig.script.answer;
	note(res, ":", mode, noqueue ? "?" : "");
	return CSV_OK;
}
static enum csv_err script_unlock(struct csv_engine *e, struct csv_res res, enum csv_mode keep)
{
	note(res, "-", keep, "");
	return CSV_OK;
}
static void script_close(struct csv_engine *e)
{
}
static const struct csv_engine_ops script_ops = { "script", script_lock, script_unlock, script_close };

static void granted(struct csv_res res, enum csv_mode mode)
{
	rig.script.engine.up.granted(rig.script.engine.up.arg, res, mode);
}
static void denied(struct csv_res res)
{
	rig.script.engine.up.denied(rig.script.engine.up.arg, res, "n2");
}
static void bast(struct csv_res res, enum csv_mode mode)
{
	rig.script.engine.up.bast(rig.script.engine.up.arg, res, mode);
}

static bool log_is(const char *want)
{
	bool same;

	pthread_mutex_lock(&rig.script.mutex);
	same = strcmp(rig.script.log, want) == 0;
	pthread_mutex_unlock(&rig.script.mutex);
	return same;
}

static bool log_has(const char *part)
{
	bool has;

	pthread_mutex_lock(&rig.script.mutex);
	has = strstr(rig.script.log, part) != NULL;
	pthread_mutex_unlock(&rig.script.mutex);
	return has;
}

/* Waits at most 5 s for what other threads do. */
#define EVENTUALLY(cond)                                                                                               \
	do {                                                                                                           \
		for (int ms = 0; !(cond) && ms < 5000; ms++)                                                           \
			usleep(1000);                                                                                  \
		assert_true(cond);                                                                                     \
	} while (0)
#define LOG(want)                                                                                                      \
	do {                                                                                                           \
		for (int ms = 0; !log_is(want) && ms < 5000; ms++)                                                     \
			usleep(1000);                                                                                  \
		assert_string_equal(rig.script.log, want);                                                             \
	} while (0)
#define SETTLE() usleep(30000) /* longer than the minimum hold */

static enum csv_err row_flush(struct csv_fs *fs, struct csv_res res)
{
	rig.flushed++;
	return rig.flush_err;
}
static void row_drop(struct csv_fs *fs, struct csv_res res)
{
	rig.dropped++;
}

static int setup(void **state)
{
	static struct csv_lock_row rows[CSV_RES_TYPES];

	memset(&rig, 0, sizeof(rig));
	for (unsigned i = 0; i < CSV_RES_TYPES; i++)
		rows[i] = (struct csv_lock_row){ row_flush, row_drop };
	rig.fs.env = csv_env_system();
	pthread_mutex_init(&rig.script.mutex, NULL);
	rig.script.engine.ops = &script_ops;
	assert_int_equal(csv_workq_new(2, &rig.workq), CSV_OK);
	assert_int_equal(csv_locks_new(&rig.fs, rig.workq, &rig.script.engine, rows, &rig.locks), CSV_OK);
	return 0;
}
static int teardown(void **state)
{
	csv_locks_free(rig.locks);
	csv_workq_free(rig.workq);
	pthread_mutex_destroy(&rig.script.mutex);
	return 0;
}

/* An operation that names up to three locks, and holds them until told to finish. */
struct job {
	struct csv_op op;
	struct csv_res res[3];
	enum csv_mode mode[3];
	bool noqueue[3];
	unsigned n;
	enum csv_err last;
	_Atomic int runs, ready, failed;
};

static void job_run(struct csv_op *op)
{
	struct job *j = csv_list_entry(op, struct job, op);
	enum csv_err err;

	j->runs++;
	j->last = CSV_OK;
	for (unsigned i = 0; i < j->n; i++) {
		err = j->noqueue[i] ? csv_hold_noqueue(op, j->res[i], j->mode[i]) : csv_hold(op, j->res[i], j->mode[i]);
		if (err && err != CSV_WAIT)
			j->last = err;
	}
	if (!j->last && csv_op_waits(op)) {
		csv_op_park(op);
		return;
	}
	j->ready++;
}
static void job_fail(struct csv_op *op, enum csv_err err)
{
	csv_list_entry(op, struct job, op)->failed = (int)err;
}
static void job_start(struct job *j, unsigned n, struct csv_res r0, enum csv_mode m0, struct csv_res r1,
		      enum csv_mode m1)
{
	memset(j, 0, sizeof(*j));
	j->n = n;
	j->res[0] = r0;
	j->mode[0] = m0;
	j->res[1] = r1;
	j->mode[1] = m1;
	csv_op_init(&j->op, rig.locks, job_run, job_fail);
	job_run(&j->op);
}
static void job_start1(struct job *j, struct csv_res res, enum csv_mode mode)
{
	job_start(j, 1, res, mode, res, mode);
}
static void job_start_noqueue(struct job *j, struct csv_res res)
{
	memset(j, 0, sizeof(*j));
	j->n = 1;
	j->res[0] = res;
	j->mode[0] = CSV_EX;
	j->noqueue[0] = true;
	csv_op_init(&j->op, rig.locks, job_run, job_fail);
	job_run(&j->op);
}

static void test_parks_and_caches(void **state)
{
	struct csv_lockctx *ctx = csv_locks_ctx(rig.locks);
	struct job j, k;

	job_start1(&j, A, CSV_PR);
	assert_int_equal(j.ready, 0);
	LOG("A:PR");
	granted(A, CSV_PR);
	EVENTUALLY(j.ready == 1);
	assert_int_equal(j.runs, 2);
	assert_true(ctx->holds(ctx, A, CSV_PR));
	assert_false(ctx->holds(ctx, A, CSV_EX));
	job_start1(&k, A, CSV_PR); /* from the cache, at once, beside the other */
	assert_int_equal(k.ready, 1);
	csv_op_done(&j.op);
	csv_op_done(&k.op);
	assert_false(ctx->holds(ctx, A, CSV_PR)); /* cached, but nobody uses it */
	assert_int_equal(csv_locks_mode(rig.locks, A), CSV_PR);
	LOG("A:PR");
}

/* PR becomes EX by way of NL, after the holds have run out (L7). */
static void test_no_upgrade_in_place(void **state)
{
	struct job j, k, m;

	job_start1(&j, A, CSV_PR);
	granted(A, CSV_PR);
	EVENTUALLY(j.ready == 1);
	job_start1(&k, A, CSV_EX);
	job_start1(&m, A, CSV_PR); /* behind k, or k would starve */
	SETTLE();
	assert_int_equal(k.ready + m.ready, 0);
	LOG("A:PR");
	csv_op_done(&j.op);
	LOG("A:PR A-NL A:EX");
	assert_int_equal(rig.dropped, 1);
	assert_int_equal(rig.flushed, 0);
	granted(A, CSV_EX);
	EVENTUALLY(k.ready == 1 && m.ready == 1);
	csv_op_done(&k.op);
	csv_op_done(&m.op);
}

/* An operation that finds out that it needs more gives up its own PR for it. */
static void test_own_upgrade(void **state)
{
	struct job j;

	job_start1(&j, A, CSV_PR);
	granted(A, CSV_PR);
	EVENTUALLY(j.ready == 1);
	assert_int_equal(csv_hold(&j.op, A, CSV_EX), CSV_WAIT);
	j.mode[0] = CSV_EX;
	csv_op_park(&j.op);
	LOG("A:PR A-NL A:EX");
	granted(A, CSV_EX);
	EVENTUALLY(j.ready == 2);
	csv_op_done(&j.op);
}

static void test_bast_waits_for_holds_and_flushes(void **state)
{
	struct job j, k;

	job_start1(&j, A, CSV_EX);
	granted(A, CSV_EX);
	EVENTUALLY(j.ready == 1);
	SETTLE();
	bast(A, CSV_PR);
	job_start1(&k, A, CSV_PR); /* comes too late */
	SETTLE();
	assert_int_equal(k.ready, 0);
	LOG("A:EX");
	csv_op_done(&j.op);
	LOG("A:EX A-PR");
	assert_int_equal(rig.flushed, 1);
	assert_int_equal(rig.dropped, 0);
	EVENTUALLY(k.ready == 1); /* PR is left, and enough */
	bast(A, CSV_EX);
	csv_op_done(&k.op);
	LOG("A:EX A-PR A-NL");
	assert_int_equal(rig.flushed, 1);
	assert_int_equal(rig.dropped, 1);
}

/* L8: the grant serves those who waited for it, then the BAST that came first is obeyed. */
static void test_bast_before_grant(void **state)
{
	struct job j, k;

	job_start1(&j, A, CSV_EX);
	job_start1(&k, A, CSV_PR);
	LOG("A:EX");
	bast(A, CSV_EX);
	granted(A, CSV_EX);
	EVENTUALLY(j.ready == 1 && k.ready == 1);
	csv_op_done(&j.op);
	csv_op_done(&k.op);
	LOG("A:EX A-NL");
}

/* L8: I/O that comes again and again under PR does not keep others out. */
static void test_constant_readers_do_not_starve(void **state)
{
	static struct job j[2000];
	unsigned done = 0, n = 1;

	job_start1(&j[0], A, CSV_PR);
	granted(A, CSV_PR);
	EVENTUALLY(j[0].ready == 1);
	bast(A, CSV_EX);
	for (; n < 2000; n++) { /* overlapping: one begins before the last ends */
		job_start1(&j[n], A, CSV_PR);
		if (!j[n].ready)
			break;
		csv_op_done(&j[done++].op);
		usleep(100);
	}
	assert_true(n < 2000);
	csv_op_done(&j[done].op);
	LOG("A:PR A-NL A:PR");
	granted(A, CSV_PR);
	EVENTUALLY(j[n].ready == 1);
	csv_op_done(&j[n].op);
}

static void test_pin_remembers_bast(void **state)
{
	struct job j, k;

	job_start_noqueue(&j, L);
	LOG("L:EX?");
	granted(L, CSV_EX);
	EVENTUALLY(j.ready == 1);
	csv_hold_pin(&j.op, L);
	csv_op_done(&j.op);
	bast(L, CSV_EX);
	SETTLE();
	LOG("L:EX?");
	assert_true(csv_hold_pinned(rig.locks, L));
	job_start1(&k, L, CSV_PR); /* this node goes on */
	assert_int_equal(k.ready, 1);
	csv_op_done(&k.op);
	job_start_noqueue(&k, L);
	assert_int_equal(k.last, CSV_BUSY); /* but for nobody alone */
	csv_op_done(&k.op);
	csv_hold_unpin(rig.locks, L);
	LOG("L:EX? L-NL");
}

static void test_pinned_pr_goes_down_from_ex(void **state)
{
	struct job j;

	job_start1(&j, A, CSV_PR);
	granted(A, CSV_EX); /* more than asked for */
	EVENTUALLY(j.ready == 1);
	csv_hold_pin(&j.op, A);
	csv_op_done(&j.op);
	bast(A, CSV_PR);
	LOG("A:PR A-PR");
	assert_true(csv_hold_pinned(rig.locks, A));
	csv_hold_unpin(rig.locks, A);
}

static void test_noqueue_denied(void **state)
{
	struct job j;

	job_start_noqueue(&j, L);
	assert_int_equal(j.ready, 0);
	denied(L);
	EVENTUALLY(j.ready == 1);
	assert_int_equal(j.last, CSV_BUSY);
	assert_string_equal(csv_hold_busy_node(&j.op), "n2");
	csv_op_done(&j.op);
}

/* In EX it keeps this node's others out too. */
static void test_noqueue_excludes_own_node(void **state)
{
	struct job j, k, m;

	job_start_noqueue(&j, L);
	granted(L, CSV_EX);
	EVENTUALLY(j.ready == 1);
	job_start1(&k, L, CSV_PR);
	job_start_noqueue(&m, L);
	assert_int_equal(m.last, CSV_BUSY);
	csv_op_done(&m.op);
	assert_int_equal(k.ready, 0);
	csv_op_done(&j.op);
	EVENTUALLY(k.ready == 1);
	job_start_noqueue(&m, L);
	assert_int_equal(m.last, CSV_BUSY);
	csv_op_done(&m.op);
	csv_op_done(&k.op);
}

/* What lies behind the first missing lock is given up while parked, whatever the order of naming. */
static void test_keeps_only_the_prefix(void **state)
{
	struct job a, b;

	job_start1(&b, B, CSV_EX);
	granted(B, CSV_EX);
	EVENTUALLY(b.ready == 1);
	csv_op_done(&b.op);
	job_start(&a, 2, B, CSV_EX, A, CSV_EX);
	assert_int_equal(a.ready, 0);
	SETTLE();
	bast(B, CSV_EX);
	LOG("B:EX A:EX B-NL");
	granted(A, CSV_EX);
	LOG("B:EX A:EX B-NL B:EX");
	SETTLE();
	bast(A, CSV_EX); /* A comes before B: it is kept */
	SETTLE();
	LOG("B:EX A:EX B-NL B:EX");
	granted(B, CSV_EX);
	EVENTUALLY(a.ready == 1);
	csv_op_done(&a.op);
	LOG("B:EX A:EX B-NL B:EX A-NL");
}

/* A lock granted ahead of its turn is not kept for those who still wait for an earlier one. */
static void test_early_grant_obeys_bast(void **state)
{
	struct job j;

	job_start(&j, 2, A, CSV_EX, B, CSV_EX);
	LOG("A:EX B:EX");
	granted(B, CSV_EX);
	bast(B, CSV_EX);
	LOG("A:EX B:EX B-NL");
	granted(A, CSV_EX);
	LOG("A:EX B:EX B-NL B:EX");
	granted(B, CSV_EX);
	EVENTUALLY(j.ready == 1);
	csv_op_done(&j.op);
}

static void test_await(void **state)
{
	struct job j;

	job_start1(&j, A, CSV_PR);
	granted(A, CSV_PR);
	EVENTUALLY(j.ready == 1);
	csv_op_await(&j.op);
	csv_op_wake(&j.op); /* before the park: not lost */
	assert_true(csv_op_waits(&j.op));
	csv_op_park(&j.op);
	EVENTUALLY(j.ready == 2);
	csv_op_await(&j.op);
	csv_op_park(&j.op);
	SETTLE();
	assert_int_equal(j.runs, 3);
	bast(A, CSV_EX); /* nothing is held meanwhile */
	LOG("A:PR A-NL");
	csv_op_wake(&j.op);
	LOG("A:PR A-NL A:PR");
	granted(A, CSV_PR);
	EVENTUALLY(j.ready == 3);
	csv_op_done(&j.op);
}

static void test_out_fails_the_parked(void **state)
{
	struct job j, k, m;

	job_start1(&j, A, CSV_EX);
	job_start1(&k, B, CSV_PR);
	granted(B, CSV_PR);
	EVENTUALLY(k.ready == 1);
	csv_op_await(&k.op);
	csv_op_park(&k.op);
	csv_locks_out(rig.locks, CSV_FENCED);
	EVENTUALLY(j.failed == CSV_FENCED);
	SETTLE();
	assert_int_equal(k.failed, 0); /* what it waits for will still wake it */
	csv_op_wake(&k.op);
	EVENTUALLY(k.failed == CSV_FENCED);
	job_start1(&m, B, CSV_PR);
	assert_int_equal(m.last, CSV_FENCED);
	csv_op_done(&m.op);
	bast(B, CSV_EX); /* nothing is given to others any more */
	SETTLE();
	LOG("A:EX B:PR");
}

static void test_failed_flush_keeps_the_lock(void **state)
{
	struct job j;

	job_start1(&j, A, CSV_EX);
	granted(A, CSV_EX);
	EVENTUALLY(j.ready == 1);
	rig.flush_err = CSV_IO;
	csv_op_done(&j.op);
	bast(A, CSV_EX);
	EVENTUALLY(rig.fs.withdrawn != 0);
	SETTLE();
	LOG("A:EX");
	assert_int_equal(csv_locks_mode(rig.locks, A), CSV_EX);
}

static void note_declared(void *arg, struct csv_res res, enum csv_mode mode)
{
	note(res, "=", mode, "");
}

/* L3: csvlockd is lost with a request on its way, and comes back. */
static void test_freeze_and_thaw(void **state)
{
	struct job j, k, m;

	job_start1(&j, A, CSV_EX);
	granted(A, CSV_EX);
	EVENTUALLY(j.ready == 1);
	job_start1(&k, B, CSV_EX);
	LOG("A:EX B:EX");
	csv_locks_freeze(rig.locks);
	rig.script.answer = CSV_NOTCONN;
	csv_op_done(&j.op);
	job_start1(&m, A, CSV_PR); /* cached, but no new I/O starts */
	bast(A, CSV_EX);
	SETTLE();
	assert_int_equal(m.ready + k.ready, 0);
	csv_locks_declare(rig.locks, note_declared, NULL);
	LOG("A:EX B:EX A=EX");
	rig.script.answer = CSV_OK;
	csv_locks_thaw(rig.locks);
	granted(B, CSV_EX);
	EVENTUALLY(k.ready == 1);
	csv_op_done(&k.op);
	EVENTUALLY(log_has(" B:EX A=EX ") && log_has(" A-NL") && log_has(" A:PR")); /* B's request at any place */
	granted(A, CSV_PR);
	EVENTUALLY(m.ready == 1);
	csv_op_done(&m.op);
}

static void test_limit(void **state)
{
	struct csv_locks_stats st;
	struct job j;

	csv_locks_set_limit(rig.locks, 8);
	for (unsigned i = 0; i < 40; i++) {
		struct csv_res res = csv_res(CSV_RES_AG, i);

		job_start1(&j, res, CSV_PR);
		granted(res, CSV_PR);
		EVENTUALLY(j.ready == 1);
		csv_op_done(&j.op);
	}
	EVENTUALLY((csv_locks_stats(rig.locks, &st), st.cached <= 9));
	assert_int_equal(csv_locks_mode(rig.locks, csv_res(CSV_RES_AG, 39)), CSV_PR);
}

static void test_local_engine(void **state)
{
	struct csv_engine *e;
	struct csv_locks *locks;
	struct csv_op op;

	assert_int_equal(csv_engine_local(&e), CSV_OK);
	assert_int_equal(csv_locks_new(&rig.fs, rig.workq, e, NULL, &locks), CSV_OK);
	csv_op_init(&op, locks, NULL, NULL);
	assert_int_equal(csv_hold(&op, A, CSV_PR), CSV_OK); /* never waits */
	assert_int_equal(csv_hold(&op, A, CSV_EX), CSV_OK);
	assert_int_equal(csv_hold_noqueue(&op, L, CSV_EX), CSV_OK);
	assert_false(csv_op_waits(&op));
	csv_op_done(&op);
	csv_locks_free(locks);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_parks_and_caches),
		T(test_no_upgrade_in_place),
		T(test_own_upgrade),
		T(test_bast_waits_for_holds_and_flushes),
		T(test_bast_before_grant),
		T(test_constant_readers_do_not_starve),
		T(test_pin_remembers_bast),
		T(test_pinned_pr_goes_down_from_ex),
		T(test_noqueue_denied),
		T(test_noqueue_excludes_own_node),
		T(test_keeps_only_the_prefix),
		T(test_early_grant_obeys_bast),
		T(test_await),
		T(test_out_fails_the_parked),
		T(test_failed_flush_keeps_the_lock),
		T(test_freeze_and_thaw),
		T(test_limit),
		T(test_local_engine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
