/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of DLM locks, step by step. tests/sim runs it against a DLM, with faults. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lockd/engine/dlm_table.h"

#define SENT 64u

struct rig {
	struct csv_dlm_table *t;
	struct csv_dlm_req sent[SENT];
	unsigned nsent, broken;
	struct csv_dlm_saying said[SENT];
	unsigned nsaid;
};

static void on_send(void *arg, const struct csv_dlm_req *req)
{
	struct rig *r = arg;

	assert_true(r->nsent < SENT);
	r->sent[r->nsent++] = *req;
}

static void on_say(void *arg, const struct csv_dlm_saying *s)
{
	struct rig *r = arg;

	assert_true(r->nsaid < SENT);
	r->said[r->nsaid++] = *s;
}

static void on_broken(void *arg, const char *what, unsigned status)
{
	((struct rig *)arg)->broken++;
}

static const struct csv_res inode = { CSV_RES_INODE, 0x4711 };

static void open_rig(struct rig *r)
{
	struct csv_dlm_host host = { on_send, on_say, on_broken, r };

	memset(r, 0, sizeof(*r));
	r->t = csv_dlm_table_new(&host);
}

static void order(struct rig *r, enum csv_dlm_verb verb, enum csv_mode mode, uint64_t seq, bool noqueue,
		  uint64_t client)
{
	struct csv_dlm_order o = { verb, .res = inode, .mode = mode, .seq = seq, .noqueue = noqueue, .client = client };

	csv_dlm_table_order(r->t, &o);
}

/* The one request that was sent since. */
static struct csv_dlm_req one_sent(struct rig *r, enum csv_dlm_op op)
{
	assert_int_equal(r->nsent, 1);
	assert_int_equal(r->sent[0].op, op);
	r->nsent = 0;
	return r->sent[0];
}

static void nothing(struct rig *r)
{
	assert_int_equal(r->nsent, 0);
	assert_int_equal(r->nsaid, 0);
}

/* The one thing that was said since. */
static void one_said(struct rig *r, enum csv_dlm_said what)
{
	assert_int_equal(r->nsaid, 1);
	assert_int_equal(r->said[0].what, what);
	r->nsaid = 0;
}

static void event(struct rig *r, enum csv_dlm_event e, uint64_t cookie, enum csv_mode mode, unsigned status)
{
	struct csv_dlm_res res = { .event = e, .cookie = cookie, .mode = mode, .status = status };

	csv_dlm_table_event(r->t, &res);
}

static struct csv_dlm_req granted(struct rig *r, enum csv_mode mode)
{
	struct csv_dlm_req q;

	order(r, CSV_DLM_DO_LOCK, mode, 1, false, 7);
	q = one_sent(r, CSV_DLM_LOCK);
	event(r, CSV_DLM_DONE, q.cookie, mode, 0);
	one_said(r, CSV_DLM_SAID_GRANT);
	nothing(r);
	return q;
}

static void test_lock_and_unlock(void **state)
{
	struct csv_dlm_req q;
	struct rig r;

	open_rig(&r);
	order(&r, CSV_DLM_DO_LOCK, CSV_EX, 41, false, 7);
	q = one_sent(&r, CSV_DLM_LOCK);
	assert_int_equal(q.mode, CSV_EX);
	assert_false(q.noqueue);
	assert_string_equal(q.name, "inode:4711");
	nothing(&r);
	event(&r, CSV_DLM_DONE, q.cookie, CSV_EX, 0);
	assert_int_equal(r.nsaid, 1);
	assert_int_equal(r.said[0].what, CSV_DLM_SAID_GRANT);
	assert_int_equal(r.said[0].seq, 41);
	assert_int_equal(r.said[0].mode, CSV_EX);
	r.nsaid = 0;
	order(&r, CSV_DLM_DO_UNLOCK, CSV_PR, 0, false, 0);
	q = one_sent(&r, CSV_DLM_CONVERT);
	assert_int_equal(q.mode, CSV_PR);
	event(&r, CSV_DLM_DONE, q.cookie, CSV_PR, 0);
	nothing(&r);
	order(&r, CSV_DLM_DO_UNLOCK, CSV_NL, 0, false, 0);
	q = one_sent(&r, CSV_DLM_UNLOCK);
	assert_int_equal(csv_dlm_table_count(r.t), 1);
	event(&r, CSV_DLM_DONE, q.cookie, CSV_NL, 0);
	nothing(&r);
	assert_int_equal(csv_dlm_table_count(r.t), 0);
	csv_dlm_table_free(r.t);
}

static void test_noqueue_is_denied(void **state)
{
	struct csv_dlm_req q;
	struct rig r;

	open_rig(&r);
	order(&r, CSV_DLM_DO_LOCK, CSV_EX, 9, true, 7);
	q = one_sent(&r, CSV_DLM_LOCK);
	assert_true(q.noqueue);
	event(&r, CSV_DLM_DONE, q.cookie, CSV_NL, EAGAIN);
	assert_int_equal(r.said[0].what, CSV_DLM_SAID_DENY);
	assert_int_equal(r.said[0].seq, 9);
	assert_int_equal(csv_dlm_table_count(r.t), 0);
	csv_dlm_table_free(r.t);
}

/* Taken back while it waits: cancelled, and asked for anew in the new mode. */
static void test_other_wish_while_asking(void **state)
{
	struct csv_dlm_req q;
	struct rig r;

	open_rig(&r);
	order(&r, CSV_DLM_DO_LOCK, CSV_EX, 1, false, 7);
	q = one_sent(&r, CSV_DLM_LOCK);
	order(&r, CSV_DLM_DO_UNLOCK, CSV_NL, 0, false, 0);
	one_sent(&r, CSV_DLM_CANCEL);
	order(&r, CSV_DLM_DO_LOCK, CSV_PR, 2, false, 7);
	nothing(&r);
	event(&r, CSV_DLM_DONE, q.cookie, CSV_NL, ECANCELED);
	q = one_sent(&r, CSV_DLM_LOCK);
	assert_int_equal(q.mode, CSV_PR);
	event(&r, CSV_DLM_DONE, q.cookie, CSV_PR, 0);
	assert_int_equal(r.nsaid, 1);
	assert_int_equal(r.said[0].seq, 2);
	csv_dlm_table_free(r.t);
}

/* The cancel came too late: what was granted goes, it is never converted up (L7). */
static void test_cancel_comes_too_late(void **state)
{
	struct csv_dlm_req q;
	struct rig r;

	open_rig(&r);
	order(&r, CSV_DLM_DO_LOCK, CSV_PR, 1, false, 7);
	q = one_sent(&r, CSV_DLM_LOCK);
	order(&r, CSV_DLM_DO_UNLOCK, CSV_NL, 0, false, 0);
	one_sent(&r, CSV_DLM_CANCEL);
	order(&r, CSV_DLM_DO_LOCK, CSV_EX, 2, false, 7);
	event(&r, CSV_DLM_DONE, q.cookie, CSV_PR, 0);
	q = one_sent(&r, CSV_DLM_UNLOCK);
	assert_int_equal(r.nsaid, 0);
	event(&r, CSV_DLM_DONE, q.cookie, CSV_NL, 0);
	q = one_sent(&r, CSV_DLM_LOCK);
	assert_int_equal(q.mode, CSV_EX);
	csv_dlm_table_free(r.t);
}

/* L8: before the grant, while it goes down, and when it is down and still stands in the way. */
static void test_bast(void **state)
{
	struct csv_dlm_req q;
	struct rig r;

	open_rig(&r);
	order(&r, CSV_DLM_DO_LOCK, CSV_EX, 1, false, 7);
	q = one_sent(&r, CSV_DLM_LOCK);
	event(&r, CSV_DLM_BAST, q.cookie, CSV_PR, 0);
	nothing(&r);
	event(&r, CSV_DLM_DONE, q.cookie, CSV_EX, 0);
	assert_int_equal(r.nsaid, 2);
	assert_int_equal(r.said[0].what, CSV_DLM_SAID_GRANT);
	assert_int_equal(r.said[1].what, CSV_DLM_SAID_BAST);
	assert_int_equal(r.said[1].mode, CSV_PR);
	r.nsaid = 0;
	order(&r, CSV_DLM_DO_UNLOCK, CSV_PR, 0, false, 0);
	q = one_sent(&r, CSV_DLM_CONVERT);
	event(&r, CSV_DLM_BAST, q.cookie, CSV_EX, 0);
	nothing(&r);
	event(&r, CSV_DLM_DONE, q.cookie, CSV_PR, 0);
	assert_int_equal(r.nsaid, 1);
	assert_int_equal(r.said[0].what, CSV_DLM_SAID_BAST);
	assert_int_equal(r.said[0].mode, CSV_EX);
	csv_dlm_table_free(r.t);
}

/* L4, after a restart of csvlockd: found in the claimed mode, in a stronger one, not at all. */
static void test_claims(void **state)
{
	struct csv_dlm_req q;
	struct rig r;

	open_rig(&r);
	order(&r, CSV_DLM_DO_CLAIM, CSV_PR, 0, false, 8);
	q = one_sent(&r, CSV_DLM_ADOPT);
	order(&r, CSV_DLM_DO_CLAIMED, CSV_NL, 0, false, 8);
	one_sent(&r, CSV_DLM_PURGE);
	event(&r, CSV_DLM_DONE, q.cookie, CSV_EX, 0);
	assert_int_equal(r.said[0].what, CSV_DLM_SAID_BAST); /* as if somebody had just asked */
	assert_int_equal(r.said[0].mode, CSV_EX);
	q = one_sent(&r, CSV_DLM_CONVERT);
	assert_int_equal(q.mode, CSV_PR);
	csv_dlm_table_free(r.t);

	open_rig(&r);
	order(&r, CSV_DLM_DO_CLAIM, CSV_EX, 0, false, 8);
	q = one_sent(&r, CSV_DLM_ADOPT);
	event(&r, CSV_DLM_DONE, q.cookie, CSV_PR, 0);
	assert_int_equal(r.said[0].what, CSV_DLM_SAID_LOST);
	one_sent(&r, CSV_DLM_UNLOCK);
	csv_dlm_table_free(r.t);

	open_rig(&r);
	order(&r, CSV_DLM_DO_CLAIM, CSV_EX, 0, false, 8);
	q = one_sent(&r, CSV_DLM_ADOPT);
	event(&r, CSV_DLM_DONE, q.cookie, CSV_NL, ENOENT);
	assert_int_equal(r.said[0].what, CSV_DLM_SAID_LOST);
	assert_int_equal(csv_dlm_table_count(r.t), 0);
	csv_dlm_table_free(r.t);
}

/* The machine was made anew, the table was not: what is claimed stays, what is not goes. */
static void test_claims_of_known_locks(void **state)
{
	struct csv_dlm_req q;
	struct rig r;

	open_rig(&r);
	granted(&r, CSV_EX);
	order(&r, CSV_DLM_DO_CLAIM, CSV_EX, 0, false, 8);
	nothing(&r);
	order(&r, CSV_DLM_DO_CLAIMED, CSV_NL, 0, false, 8);
	one_sent(&r, CSV_DLM_PURGE);
	assert_int_equal(csv_dlm_table_count(r.t), 1);
	order(&r, CSV_DLM_DO_CLAIMED, CSV_NL, 0, false, 8); /* of another life, which claims nothing */
	assert_int_equal(r.nsent, 2);
	q = r.sent[0];
	assert_int_equal(q.op, CSV_DLM_UNLOCK);
	csv_dlm_table_free(r.t);
}

/* A former life's slot is found and recovered while this one is at work. */
static void test_drop_spares_the_living(void **state)
{
	struct rig r;

	open_rig(&r);
	granted(&r, CSV_EX);
	order(&r, CSV_DLM_DO_DROP, CSV_NL, 0, false, 7);
	one_sent(&r, CSV_DLM_PURGE);
	order(&r, CSV_DLM_DO_DROP, CSV_NL, 0, false, 0);
	assert_int_equal(r.nsent, 2);
	assert_int_equal(r.sent[0].op, CSV_DLM_UNLOCK);
	csv_dlm_table_free(r.t);
}

/* Its csv-dlm-space has died: what was held is adopted, what was asked for asked again. */
static void test_again(void **state)
{
	struct csv_dlm_req q;
	struct rig r;

	open_rig(&r);
	granted(&r, CSV_EX);
	csv_dlm_table_again(r.t);
	q = one_sent(&r, CSV_DLM_ADOPT);
	assert_int_equal(q.mode, CSV_EX);
	event(&r, CSV_DLM_DONE, q.cookie, CSV_EX, 0);
	assert_int_equal(r.said[0].what, CSV_DLM_SAID_BAST);
	csv_dlm_table_free(r.t);

	open_rig(&r);
	order(&r, CSV_DLM_DO_LOCK, CSV_PR, 5, false, 7);
	one_sent(&r, CSV_DLM_LOCK);
	csv_dlm_table_again(r.t);
	q = one_sent(&r, CSV_DLM_ADOPT);
	event(&r, CSV_DLM_DONE, q.cookie, CSV_NL, ENOENT);
	q = one_sent(&r, CSV_DLM_LOCK);
	event(&r, CSV_DLM_DONE, q.cookie, CSV_PR, 0);
	assert_int_equal(r.said[0].what, CSV_DLM_SAID_GRANT);
	assert_int_equal(r.said[0].seq, 5);
	csv_dlm_table_free(r.t);
}

/* It died before it had purged: what nobody has claimed must not stay, and what is still to be claimed must. */
static void test_purge_is_repeated(void **state)
{
	struct rig r;

	open_rig(&r);
	csv_dlm_table_again(r.t); /* nothing was claimed yet */
	nothing(&r);
	order(&r, CSV_DLM_DO_CLAIMED, CSV_NL, 0, false, 8);
	one_sent(&r, CSV_DLM_PURGE);
	csv_dlm_table_again(r.t);
	one_sent(&r, CSV_DLM_PURGE);
	event(&r, CSV_DLM_DONE, 0, CSV_NL, 0);
	csv_dlm_table_again(r.t);
	nothing(&r);
	csv_dlm_table_free(r.t);
}

static void test_senseless_answers(void **state)
{
	struct csv_dlm_req q;
	struct rig r;

	open_rig(&r);
	event(&r, CSV_DLM_DONE, 99, CSV_EX, 0); /* of no lock */
	event(&r, CSV_DLM_BAST, 99, CSV_EX, 0);
	assert_int_equal(r.broken, 0);
	q = granted(&r, CSV_EX);
	event(&r, CSV_DLM_DONE, q.cookie, CSV_EX, 0);
	assert_int_equal(r.broken, 1);
	order(&r, CSV_DLM_DO_UNLOCK, CSV_NL, 0, false, 0);
	event(&r, CSV_DLM_DONE, q.cookie, CSV_NL, EINVAL);
	assert_int_equal(r.broken, 2);
	event(&r, CSV_DLM_BAST, q.cookie, 77, 0);
	csv_dlm_table_free(r.t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lock_and_unlock),
		cmocka_unit_test(test_noqueue_is_denied),
		cmocka_unit_test(test_other_wish_while_asking),
		cmocka_unit_test(test_cancel_comes_too_late),
		cmocka_unit_test(test_bast),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_claims_of_known_locks),
		cmocka_unit_test(test_drop_spares_the_living),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_purge_is_repeated),
		cmocka_unit_test(test_senseless_answers),
	};

	return cmocka_run_group_tests_name("table of DLM locks", tests, NULL, NULL);
}
