/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long csvfs waits for what is ordered among the nodes: as long as corosync may need to notice a death, and more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "csv/timeouts.h"
#include "fs/ctl/link.h"
#include "sock_lockd.h"

#define LATE_NS 100000000 /* csvlockd's answer */
#define SHORT_MS 1u	  /* what the caller allows for */

static struct csv_mount m;
static struct csv_link *l;
static sem_t answered;

static bool on_record(struct csv_msg *msg)
{
	struct csv_msg answer = { .type = CSV_MSG_DONE, .seq = msg->seq };
	struct timespec late = { .tv_nsec = LATE_NS };

	if (msg->type != CSV_MSG_DIRTY)
		return true;
	nanosleep(&late, NULL);
	sock_lockd_send(&answer);
	sem_post(&answered);
	return true;
}

static void start(unsigned detect_ms)
{
	struct csv_why why;

	memset(&m, 0, sizeof(m));
	csv_why_init(&why);
	m.env = csv_env_system();
	pthread_mutex_init(&m.lock, NULL);
	sem_init(&answered, 0, 0);
	sock_lockd_detect_ms = detect_ms;
	m.opts.run_dir = sock_lockd_start(on_record, NULL);
	assert_int_equal(csv_link_open(&m, &l, &why), CSV_OK);
}

static void stop(void)
{
	csv_link_close(l);
	sock_lockd_stop();
	pthread_mutex_destroy(&m.lock);
	sem_destroy(&answered);
}

static enum csv_err ask(void)
{
	struct csv_msg msg = { .type = CSV_MSG_DIRTY };
	enum csv_err err = csv_link_call(l, &msg, SHORT_MS);

	sem_wait(&answered); /* the connection stays as long */
	return err;
}

static void test_no_longer_than_allowed(void **state)
{
	start(0);
	assert_int_equal(ask(), CSV_TIMEOUT);
	stop();
}

static void test_as_long_as_corosync_looks_for_a_dead_node(void **state)
{
	start(60000);
	assert_int_equal(ask(), CSV_OK);
	stop();
}

/* csvlockd would not have started with that. */
static void test_not_for_ever(void **state)
{
	start(UINT32_MAX);
	assert_int_equal(l->welcome.detect_ms, CSV_DETECT_MAX_MS);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_longer_than_allowed),
		cmocka_unit_test(test_as_long_as_corosync_looks_for_a_dead_node),
		cmocka_unit_test(test_not_for_ever),
	};

	return cmocka_run_group_tests_name("link_patience", tests, NULL, NULL);
}
