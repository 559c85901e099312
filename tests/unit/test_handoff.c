/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The handoff's record, messages and table, one step at a time; tests/sim/test_handoff.c plays whole stories. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/env.h"
#include "migrate/target/agent.h"
#include "migrate/core/table.h"

static struct csv_ho_view view = { .live = 7, .incarnation = { 5, 6, 7 }, .nodeid = { 1, 2, 3 } };

struct seen {
	enum csv_ho_verb last;
	enum csv_err err;
	char why[200];
	unsigned moves;
};
static struct seen seen;

static bool on_view(void *arg, const uint8_t *uuid, struct csv_ho_view *v)
{
	*v = view;
	return uuid[0] == 1;
}
static void on_order(void *arg, const struct csv_handoff *h, enum csv_ho_verb verb, uint32_t slot, uint32_t inc)
{
	seen.last = verb;
}
static void on_tell(void *arg, const struct csv_handoff *h, enum csv_ho_verb verb)
{
}
static void on_move(void *arg, const struct csv_handoff *h, uint32_t from, uint32_t to)
{
	seen.moves++;
}
static void on_reply(void *arg, uint64_t token, const struct csv_handoff *h, enum csv_err err, const char *why)
{
	seen.err = err;
	snprintf(seen.why, sizeof(seen.why), "%s", why);
}
static void on_changed(void *arg, const struct csv_handoff *h)
{
}

static const struct csv_ho_host host = { on_view, on_order, on_tell, on_move, on_reply, on_changed, 1, NULL };
static struct csv_ho_msg msg;
static uint8_t data[CSV_HO_MSG_MAX];

static void deliver(struct csv_ho_table *t, uint32_t sender)
{
	csv_ho_deliver(t, sender, data, csv_ho_msg_encode(&msg, data));
}

static void prepare(struct csv_ho_table *t, uint8_t id, const char *vm, uint64_t ino, uint32_t src, uint32_t dst)
{
	memset(&msg, 0, sizeof(msg));
	msg.kind = CSV_HO_MSG_PREPARE;
	memset(msg.plan.id, id, CSV_HO_ID);
	msg.plan.uuid[0] = 1;
	strcpy(msg.plan.vm, vm);
	msg.plan.src.nodeid = src;
	msg.plan.dst.nodeid = dst;
	strcpy(msg.plan.dst.node, "n2");
	msg.plan.nfiles = 1;
	msg.plan.file[0] = (struct csv_ho_file){ .ino = ino, .gen = 1, .epoch = 3, .path = "web1.vhd" };
	deliver(t, src);
}

static void answer(struct csv_ho_table *t, uint8_t id, enum csv_ho_event_type event, uint32_t slot)
{
	memset(&msg, 0, sizeof(msg));
	msg.kind = CSV_HO_MSG_ANSWER;
	memset(msg.id, id, CSV_HO_ID);
	msg.event = event;
	msg.slot = slot;
	msg.incarnation = view.incarnation[slot];
	if (event == CSV_HO_EV_COMMITTED) {
		msg.plan.nfiles = 1;
		msg.plan.file[0].epoch = 4;
	}
	deliver(t, slot + 1);
}

static void request(struct csv_ho_table *t, uint8_t id, enum csv_ho_request req, uint32_t sender)
{
	memset(&msg, 0, sizeof(msg));
	msg.kind = CSV_HO_MSG_REQUEST;
	memset(msg.id, id, CSV_HO_ID);
	msg.req = req;
	seen.err = CSV_OK;
	deliver(t, sender);
}

static void first_io(struct csv_ho_table *t, uint8_t id, uint32_t slot, double ms)
{
	memset(&msg, 0, sizeof(msg));
	msg.kind = CSV_HO_MSG_ANSWER;
	memset(msg.id, id, CSV_HO_ID);
	msg.event = CSV_HO_EV_FIRST_IO;
	msg.slot = slot;
	msg.incarnation = view.incarnation[slot];
	msg.times.first = ms;
	deliver(t, slot + 1);
}

static const struct csv_handoff *record(struct csv_ho_table *t, uint8_t id)
{
	uint8_t full[CSV_HO_ID];

	memset(full, id, sizeof(full));
	return csv_ho_find(t, full);
}

static void test_good_day(void **state)
{
	struct csv_ho_table t;

	csv_ho_table_init(&t, &host);
	prepare(&t, 1, "web1", 100, 1, 2);
	assert_int_equal(seen.last, CSV_HO_ARM);
	assert_int_equal(record(&t, 1)->plan.dst.slot, 1);
	assert_non_null(csv_ho_of_file(&t, record(&t, 1)->plan.uuid, 100));
	request(&t, 1, CSV_HO_REQ_COMMIT, 1);
	assert_int_equal(seen.err, CSV_BUSY); /* not armed yet */
	answer(&t, 1, CSV_HO_EV_ARMED, 0);    /* not the one who was asked */
	assert_int_equal(record(&t, 1)->state, CSV_HO_PREPARING);
	answer(&t, 1, CSV_HO_EV_ARMED, 1);
	request(&t, 1, CSV_HO_REQ_COMMIT, 1);
	assert_int_equal(seen.last, CSV_HO_COMMIT);
	request(&t, 1, CSV_HO_REQ_COMMIT, 1); /* the hook was run again */
	assert_int_equal(seen.err, CSV_OK);
	request(&t, 1, CSV_HO_REQ_ABORT, 1);
	assert_int_equal(seen.err, CSV_BUSY);
	answer(&t, 1, CSV_HO_EV_COMMITTED, 0);
	assert_int_equal(seen.moves, 1);
	assert_int_equal(record(&t, 1)->plan.file[0].epoch, 4);
	assert_int_equal(csv_handoff_verdict(record(&t, 1), CSV_HO_REQ_COMMIT), CSV_HO_PENDING);
	answer(&t, 1, CSV_HO_EV_ACTIVATED, 1);
	assert_int_equal(seen.last, CSV_HO_REVOKE);
	assert_int_equal(csv_handoff_verdict(record(&t, 1), CSV_HO_REQ_COMMIT), CSV_HO_YES);
	assert_null(csv_ho_of_file(&t, record(&t, 1)->plan.uuid, 100));
	request(&t, 1, CSV_HO_REQ_FINISH, 2);
	assert_int_equal(record(&t, 1)->state, CSV_HO_DONE);
	assert_string_equal(csv_ho_outcome_name(record(&t, 1)->outcome), "moved");
	csv_ho_table_free(&t);
}

/* Told when it happens, which may be after the finish; the first of the disks counts, and only the destination's word.
 */
static void test_first_io(void **state)
{
	struct csv_ho_table t;

	csv_ho_table_init(&t, &host);
	prepare(&t, 1, "web1", 100, 1, 2);
	answer(&t, 1, CSV_HO_EV_ARMED, 1);
	request(&t, 1, CSV_HO_REQ_COMMIT, 1);
	first_io(&t, 1, 1, 9);
	assert_true(record(&t, 1)->times.first <= 0); /* it has not moved yet */
	answer(&t, 1, CSV_HO_EV_COMMITTED, 0);
	answer(&t, 1, CSV_HO_EV_ACTIVATED, 1);
	first_io(&t, 1, 0, 1);
	first_io(&t, 1, 1, 7.5);
	first_io(&t, 1, 1, 8);
	assert_true(record(&t, 1)->times.first > 7.4 && record(&t, 1)->times.first < 7.6);
	request(&t, 1, CSV_HO_REQ_FINISH, 2);
	first_io(&t, 1, 1, 3);
	assert_true(record(&t, 1)->times.first < 3.1);
	assert_int_equal(record(&t, 1)->state, CSV_HO_DONE);
	csv_ho_table_free(&t);
}

static void test_one_at_a_time(void **state)
{
	struct csv_ho_table t;

	csv_ho_table_init(&t, &host);
	prepare(&t, 1, "web1", 100, 1, 2);
	prepare(&t, 2, "web1", 101, 1, 3);
	assert_int_equal(seen.err, CSV_BUSY);
	assert_non_null(strstr(seen.why, "01010101010101010101010101010101 of web1 to n2 is preparing"));
	prepare(&t, 3, "web2", 100, 1, 3);
	assert_int_equal(seen.err, CSV_BUSY);
	prepare(&t, 4, "web3", 200, 1, 3);
	assert_int_equal(seen.err, CSV_OK);
	prepare(&t, 5, "web4", 300, 1, 9);
	assert_int_equal(seen.err, CSV_UNREACH);
	assert_null(record(&t, 5));
	request(&t, 9, CSV_HO_REQ_COMMIT, 1);
	assert_int_equal(seen.err, CSV_NOENT);
	answer(&t, 1, CSV_HO_EV_ARMED, 1);
	request(&t, 1, CSV_HO_REQ_COMMIT, 2);
	csv_ho_table_free(&t);
}

/* The VM moved on without a finish: the next handoff from there is one. */
static void test_moves_on(void **state)
{
	struct csv_ho_table t;

	csv_ho_table_init(&t, &host);
	prepare(&t, 1, "web1", 100, 1, 2);
	answer(&t, 1, CSV_HO_EV_ARMED, 1);
	request(&t, 1, CSV_HO_REQ_COMMIT, 1);
	answer(&t, 1, CSV_HO_EV_COMMITTED, 0);
	answer(&t, 1, CSV_HO_EV_ACTIVATED, 1);
	prepare(&t, 2, "web1", 100, 2, 1);
	assert_int_equal(record(&t, 1)->state, CSV_HO_DONE);
	assert_int_equal(record(&t, 2)->state, CSV_HO_PREPARING);
	csv_ho_table_free(&t);
}

/* The VM moved to a node that then died, and was started elsewhere from its disks: nobody will finish that handoff. */
static void test_moves_on_from_a_dead_node(void **state)
{
	struct csv_ho_table t;

	csv_ho_table_init(&t, &host);
	prepare(&t, 1, "web1", 100, 1, 2);
	answer(&t, 1, CSV_HO_EV_ARMED, 1);
	request(&t, 1, CSV_HO_REQ_COMMIT, 1);
	answer(&t, 1, CSV_HO_EV_COMMITTED, 0);
	answer(&t, 1, CSV_HO_EV_ACTIVATED, 1);
	prepare(&t, 2, "web1", 100, 3, 1);
	assert_null(record(&t, 2)); /* its destination lives and has the leases */
	csv_ho_life(&t, record(&t, 1)->plan.uuid, CSV_HO_EV_OUT, 1, view.incarnation[1]);
	csv_ho_life(&t, record(&t, 1)->plan.uuid, CSV_HO_EV_RECOVERED, 1, view.incarnation[1]);
	answer(&t, 1, CSV_HO_EV_IS_DST, 0);
	assert_int_equal(record(&t, 1)->state, CSV_HO_ACTIVE);
	prepare(&t, 3, "web1", 100, 3, 1);
	assert_int_equal(record(&t, 1)->state, CSV_HO_DONE);
	assert_int_equal(record(&t, 3)->state, CSV_HO_PREPARING);
	csv_ho_table_free(&t);
}

static void test_transfer(void **state)
{
	struct csv_ho_table a, b;
	uint8_t *bytes;
	size_t len;

	csv_ho_table_init(&a, &host);
	csv_ho_table_init(&b, &host);
	prepare(&a, 1, "web1", 100, 1, 2);
	prepare(&a, 2, "web2", 200, 1, 2);
	bytes = malloc(csv_ho_export_size(&a));
	len = csv_ho_export(&a, bytes);
	assert_true(csv_ho_import(&b, bytes, len));
	assert_true(csv_ho_digest(&a) == csv_ho_digest(&b));
	for (size_t cut = 0; cut < len; cut += 7)
		assert_false(csv_ho_import(&b, bytes, cut));
	assert_int_equal(b.n, 0);
	free(bytes);
	csv_ho_table_free(&a);
	csv_ho_table_free(&b);
}

/* Who has it from a message and who has it from a member's state have the same. */
static void test_times_stay(void **state)
{
	static struct csv_ho_msg back;

	memset(&msg, 0, sizeof(msg));
	msg.kind = CSV_HO_MSG_ANSWER;
	msg.event = CSV_HO_EV_COMMITTED;
	for (uint64_t us = 0; us < 300000; us++) {
		double ms = (double)us / 1000;

		msg.times.journal = ms;
		assert_true(csv_ho_msg_decode(&back, data, csv_ho_msg_encode(&msg, data)));
		assert_true(back.times.journal >= ms && back.times.journal <= ms);
	}
}

/* Whatever comes over the wire, the table stays whole. */
static void test_garbage(void **state)
{
	struct csv_ho_table t;
	uint64_t rng = 1;
	size_t len;

	csv_ho_table_init(&t, &host);
	prepare(&t, 1, "web1", 100, 1, 2);
	len = csv_ho_msg_encode(&msg, data);
	for (unsigned i = 0; i < 20000; i++) {
		size_t n = i % 3 ? len : csv_rng_next(&rng) % len;
		uint8_t bad[1024];

		assert_true(n <= sizeof(bad));
		memcpy(bad, data, n);
		for (unsigned k = 0; n && k < 1 + i % 4; k++)
			bad[csv_rng_next(&rng) % n] = (uint8_t)csv_rng_next(&rng);
		csv_ho_deliver(&t, 1, bad, n);
	}
	for (unsigned i = 0; i < t.n; i++)
		assert_true(csv_handoff_ok(t.rec[i]));
	csv_ho_table_free(&t);
}

/* In every state, every event leaves a sound record. */
static void test_all_pairs(void **state)
{
	uint64_t rng = 42;

	for (unsigned run = 0; run < 20000; run++) {
		struct csv_ho_plan plan = { .src = { 1, 0, 5, "n1" }, .dst = { 2, 1, 6, "n2" }, .nfiles = 1 };
		struct csv_ho_actions acts = { 0 };
		struct csv_handoff h;

		csv_handoff_start(&h, &plan, &acts);
		for (unsigned i = 0; i < 30; i++) {
			uint32_t slot = (uint32_t)(csv_rng_next(&rng) % 3);
			struct csv_ho_event ev = { .type =
						       (enum csv_ho_event_type)(csv_rng_next(&rng) % CSV_HO_EV_COUNT),
						   .slot = slot,
						   .incarnation = view.incarnation[slot],
						   .view = &view };

			acts.n = 0;
			csv_handoff_step(&h, &ev, &acts);
			assert_true(csv_handoff_ok(&h));
			for (uint32_t s = 0; s < 3; s++) {
				acts.n = 0;
				csv_handoff_greet(&h, s, view.incarnation[s], &acts);
				assert_true(acts.n <= CSV_HO_ACTIONS_MAX);
			}
		}
	}
}

static void test_agent_repeats(void **state)
{
	struct csv_ho_agent_acts acts = { 0 };
	struct csv_ho_agent a;

	csv_ho_agent_init(&a);
	csv_ho_agent_order(&a, CSV_HO_COMMIT, CSV_HO_NONE, &acts);
	assert_int_equal(acts.n, 2); /* park, job */
	acts.n = 0;
	csv_ho_agent_order(&a, CSV_HO_COMMIT, CSV_HO_NONE, &acts);
	assert_int_equal(acts.n, 0);
	csv_ho_agent_job(&a, CSV_HO_JOB_OK, CSV_HO_EV_COUNT, &acts);
	assert_int_equal(acts.a[0].event, CSV_HO_EV_COMMITTED);
	acts.n = 0;
	csv_ho_agent_order(&a, CSV_HO_COMMIT, CSV_HO_NONE, &acts);
	assert_int_equal(acts.n, 1);
	assert_int_equal(acts.a[0].event, CSV_HO_EV_COMMITTED);
	acts.n = 0;
	csv_ho_agent_order(&a, CSV_HO_REVOKE, CSV_HO_MOVED, &acts);
	assert_int_equal(a.handles, CSV_HO_H_REVOKED);
}

/* A read error leaves RESOLVE without an answer: nobody else is asked, so it is run again until there is one. */
static void test_agent_tries_again(void **state)
{
	static const enum csv_ho_verb verbs[] = { CSV_HO_RESOLVE, CSV_HO_RECLAIM };

	for (unsigned i = 0; i < 2; i++) {
		struct csv_ho_agent_acts acts = { 0 };
		struct csv_ho_agent a;

		csv_ho_agent_init(&a);
		csv_ho_agent_again(&a, &acts);
		assert_int_equal(acts.n, 0);
		csv_ho_agent_order(&a, verbs[i], CSV_HO_NONE, &acts);
		for (unsigned tries = 0; tries < 3; tries++) {
			assert_int_equal(acts.n, 1);
			assert_int_equal(acts.a[0].todo, CSV_HO_DO_JOB);
			assert_int_equal(acts.a[0].verb, verbs[i]);
			acts.n = 0;
			csv_ho_agent_again(&a, &acts);
			assert_int_equal(acts.n, 0); /* it runs */
			csv_ho_agent_job(&a, CSV_HO_JOB_UNKNOWN, CSV_HO_EV_COUNT, &acts);
			assert_int_equal(acts.n, 0);
			csv_ho_agent_order(&a, CSV_HO_WATCH, CSV_HO_NONE, &acts);
			csv_ho_agent_again(&a, &acts);
		}
		acts.n = 0;
		csv_ho_agent_job(&a, CSV_HO_JOB_OK, CSV_HO_EV_IS_DST, &acts);
		assert_int_equal(acts.a[0].todo, CSV_HO_DO_ANSWER);
		acts.n = 0;
		csv_ho_agent_again(&a, &acts);
		assert_int_equal(acts.n, 0);
	}
}

/* The fate of a commit is not found out by trying again (H4); and what csvlockd has decided meanwhile counts. */
static void test_agent_leaves_it(void **state)
{
	struct csv_ho_agent_acts acts = { 0 };
	struct csv_ho_agent a;

	csv_ho_agent_init(&a);
	csv_ho_agent_order(&a, CSV_HO_COMMIT, CSV_HO_NONE, &acts);
	csv_ho_agent_job(&a, CSV_HO_JOB_UNKNOWN, CSV_HO_EV_COUNT, &acts);
	acts.n = 0;
	csv_ho_agent_again(&a, &acts);
	assert_int_equal(acts.n, 0);

	for (unsigned i = 0; i < 2; i++) {
		csv_ho_agent_init(&a);
		acts.n = 0;
		csv_ho_agent_order(&a, CSV_HO_RECLAIM, CSV_HO_NONE, &acts);
		csv_ho_agent_job(&a, CSV_HO_JOB_UNKNOWN, CSV_HO_EV_COUNT, &acts);
		csv_ho_agent_order(&a, i ? CSV_HO_RESUME : CSV_HO_REVOKE, CSV_HO_KEPT, &acts);
		acts.n = 0;
		csv_ho_agent_again(&a, &acts);
		assert_int_equal(acts.n, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_day),	  cmocka_unit_test(test_one_at_a_time),
		cmocka_unit_test(test_moves_on),	  cmocka_unit_test(test_transfer),
		cmocka_unit_test(test_times_stay),	  cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_all_pairs),	  cmocka_unit_test(test_agent_repeats),
		cmocka_unit_test(test_agent_tries_again), cmocka_unit_test(test_agent_leaves_it),
		cmocka_unit_test(test_first_io),	  cmocka_unit_test(test_moves_on_from_a_dead_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
