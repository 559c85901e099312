/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fence agent of the DLM: what it is asked, what it asks, and which dlm.conf makes dlm_controld ask it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lockd/dlm/ask.h"
#include "lockd/dlm/check.h"
#include "lockd/dlm/params.h"
#include "tests/unit/sock_lockd.h"

static struct csv_fence_params params(const char *a, const char *b, const char *c)
{
	struct csv_fence_params p = { 0 };

	csv_fence_param(&p, a);
	csv_fence_param(&p, b);
	csv_fence_param(&p, c);
	return p;
}

static void test_params(void **state)
{
	struct csv_fence_params p = params("node=3\n", "fail_time=17\n", "");

	assert_int_equal(p.nodeid, 3);
	assert_int_equal(p.action, CSV_FENCE_OFF);
	p = params("# node=1", " node=2 \n", "action=reboot");
	assert_int_equal(p.nodeid, 2);
	assert_int_equal(p.action, CSV_FENCE_OFF);
	p = params("action=on", "nodename=n1", "port=1");
	assert_int_equal(p.nodeid, 0);
	assert_int_equal(p.action, CSV_FENCE_ON);
	assert_int_equal(params("action=monitor", "", "").action, CSV_FENCE_ASK);
	assert_int_equal(params("action=offf", "node=1", "").action, CSV_FENCE_UNKNOWN);
	/* Half a number is none: to fence another node than the dead one would open the gate for the dead one. */
	assert_int_equal(params("node=3x", "", "").nodeid, 0);
	assert_int_equal(params("node=0", "", "").nodeid, 0);
	assert_int_equal(params("node=-1", "", "").nodeid, 0);
	assert_int_equal(params("node=4294967296", "", "").nodeid, 0);
	assert_int_equal(params("node=3", "node=", "node").nodeid, 3);
}

static bool fences(const char *conf)
{
	char why[256];
	bool yes = csv_dlm_conf_fences(conf, why, sizeof(why));

	assert_true(yes ? !why[0] : why[0]);
	assert_null(strchr(why, '\n'));
	return yes;
}

static void test_conf(void **state)
{
	assert_true(fences("fence_all csv-dlm-fence\n"));
	assert_true(fences("log_debug=1\n\n  fence_all\t/usr/local/sbin/csv-dlm-fence node_timeout=3\nprotocol=tcp"));
	assert_true(fences("#fence_all dlm_stonith\nfence_all csv-dlm-fence"));
	assert_false(fences(""));
	assert_false(fences("#fence_all csv-dlm-fence\n"));
	assert_false(fences("fence_all dlm_stonith\n"));
	assert_false(fences("fence_all\n"));
	assert_false(fences("fence_all /bin/true csv-dlm-fence\n"));
	assert_false(fences("fence_all not-csv-dlm-fence\n"));
	assert_false(fences("fence_all csv-dlm-fence\nfence_all /bin/true\n"));
	assert_false(fences("fence_all csv-dlm-fence\ndevice a /bin/true\nconnect a node=1\n"));
	assert_false(fences("connect a node=1\nfence_all csv-dlm-fence\n"));
}

static bool names(const char *conf, size_t room, const char *expected)
{
	char agent[64] = "";
	bool yes = csv_dlm_conf_agent(conf, agent, room);

	return yes && !strcmp(agent, expected);
}

static void test_agent(void **state)
{
	char agent[64];

	assert_true(names("fence_all csv-dlm-fence\n", 64, "csv-dlm-fence"));
	assert_true(names("enable_fencing=1\n fence_all\t/usr/sbin/csv-dlm-fence node_timeout=3\n", 64,
			  "/usr/sbin/csv-dlm-fence"));
	assert_false(csv_dlm_conf_agent("fence_all csv-dlm-fence\n", agent, 13));
	assert_false(csv_dlm_conf_agent("fence_all /bin/true\n", agent, sizeof(agent)));
	assert_false(csv_dlm_conf_agent("fence_all csv-dlm-fence\nconnect a node=1\n", agent, sizeof(agent)));
	assert_false(csv_dlm_conf_agent("", agent, sizeof(agent)));
}

static void test_option(void **state)
{
	const char *dump = "daemon_debug=1 (cli option)\nenable_fencing=0 (dlm.conf)\nenable_startup_fencing=1\nx=2\n";

	assert_int_equal(csv_dlm_option(dump, "enable_fencing"), 0);
	assert_int_equal(csv_dlm_option(dump, "enable_startup_fencing"), 1);
	assert_int_equal(csv_dlm_option(dump, "x"), 2);
	assert_int_equal(csv_dlm_option(dump, "enable"), -1);
	assert_int_equal(csv_dlm_option("", "x"), -1);
}

static enum csv_msg_type answer_type;
static enum csv_err answer_err;
static uint32_t asked;

static bool lockd(struct csv_msg *msg)
{
	struct csv_msg res = { .type = answer_type, .seq = msg->seq, .err = answer_err, .last = 1 };

	if (msg->type != CSV_MSG_NODE_FENCE)
		return false;
	asked = msg->node.nodeid;
	if (answer_type == CSV_MSG_ERROR)
		strcpy(res.text, "node 3: fenced by nobody yet");
	if (!answer_type)
		return false;
	if (answer_type != CSV_MSG_HELLO)
		sock_lockd_send(&res);
	return true;
}

static enum csv_err ask(enum csv_msg_type type, enum csv_err err, int ms, struct csv_why *why)
{
	enum csv_err result;

	answer_type = type;
	answer_err = err;
	asked = 0;
	setenv("CSV_RUN_DIR", sock_lockd_start(lockd, NULL), 1);
	csv_why_init(why);
	result = csv_fence_ask(3, 10000, ms, why);
	sock_lockd_stop();
	assert_int_equal(asked, 3);
	assert_true(!result || why->text[0]);
	return result;
}

static void test_only_done_is_well(void **state)
{
	struct csv_why why;

	assert_int_equal(ask(CSV_MSG_DONE, CSV_OK, 10000, &why), CSV_OK);
	assert_int_equal(ask(CSV_MSG_DONE, CSV_NOQUORUM, 10000, &why), CSV_NOQUORUM);
	assert_int_equal(ask(CSV_MSG_ERROR, CSV_AGAIN, 10000, &why), CSV_AGAIN);
	assert_string_equal(why.text, "node 3: fenced by nobody yet");
	assert_int_equal(ask(CSV_MSG_STATUS_NODE, CSV_OK, 10000, &why), CSV_PROTO);
	assert_int_equal(ask(0, CSV_OK, 10000, &why), CSV_NOTCONN);	     /* hangs up */
	assert_int_equal(ask(CSV_MSG_HELLO, CSV_OK, 50, &why), CSV_TIMEOUT); /* says nothing */
}

static void test_nobody_there(void **state)
{
	struct csv_why why;

	setenv("CSV_RUN_DIR", "/nonexistent", 1);
	csv_why_init(&why);
	assert_int_equal(csv_fence_ask(3, 1000, 1000, &why), CSV_NOCLUSTER);
	assert_int_equal(csv_fence_reachable(1000, &why), CSV_NOCLUSTER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_params),
		cmocka_unit_test(test_conf),
		cmocka_unit_test(test_agent),
		cmocka_unit_test(test_option),
		cmocka_unit_test(test_only_done_is_well),
		cmocka_unit_test(test_nobody_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
