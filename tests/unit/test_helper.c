/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Children of csvlockd that find something out (lockd/daemon/helper.h), in a real loop. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "lockd/daemon/helper.h"

static struct csv_helper h;
static char text[8];
static int ends, last;

static void ended(void *arg, int status)
{
	assert_ptr_equal(arg, &ends);
	assert_int_equal(h.pid, 0);
	ends++;
	last = status;
	qb_loop_stop(h.loop);
}

static int setup(void **state)
{
	memset(text, 'x', sizeof(text));
	h = (struct csv_helper){
		.loop = qb_loop_create(), .ended = ended, .arg = &ends, .text = text, .size = sizeof(text)
	};
	ends = last = 0;
	assert_non_null(h.loop);
	return 0;
}

static int teardown(void **state)
{
	qb_loop_destroy(h.loop);
	return 0;
}

static _Noreturn void says(const char *what, int code)
{
	if (write(h.fd, what, strlen(what)) != (ssize_t)strlen(what))
		_exit(99);
	_exit(code);
}

static void test_says_and_ends(void **state)
{
	for (int code = 0; code < 2; code++) {
		if (!csv_helper_fork(&h, 0))
			says("told", code);
		qb_loop_run(h.loop);
		assert_int_equal(ends, code + 1);
		assert_true(WIFEXITED(last));
		assert_int_equal(WEXITSTATUS(last), code);
		assert_string_equal(text, "told");
	}
}

static void test_says_nothing(void **state)
{
	if (!csv_helper_fork(&h, 0))
		_exit(7);
	qb_loop_run(h.loop);
	assert_int_equal(WEXITSTATUS(last), 7);
	assert_string_equal(text, "");
}

/* It does not wait for room in the pipe either. */
static void test_says_too_much(void **state)
{
	if (!csv_helper_fork(&h, 0)) {
		for (int i = 0; i < 20000; i++) {
			if (write(h.fd, "0123456789", 10) != 10)
				_exit(99);
		}
		_exit(0);
	}
	qb_loop_run(h.loop);
	assert_int_equal(WEXITSTATUS(last), 0);
	assert_string_equal(text, "0123456");
}

static void test_late(void **state)
{
	if (!csv_helper_fork(&h, 1)) {
		for (;;)
			pause();
	}
	qb_loop_run(h.loop);
	assert_int_equal(ends, 1);
	assert_true(WIFSIGNALED(last));
	assert_int_equal(WTERMSIG(last), SIGKILL);
}

/* What it has started has the pipe too, and goes with it. The limit leaves time for that to be there. */
static void test_late_with_its_group(void **state)
{
	h.leads = true;
	if (!csv_helper_fork(&h, 200)) {
		fork();
		for (;;)
			pause();
	}
	qb_loop_run(h.loop);
	assert_int_equal(ends, 1);
	assert_int_equal(WTERMSIG(last), SIGKILL);
}

static void stop(void *arg)
{
	qb_loop_stop(h.loop);
}

static void test_forgotten(void **state)
{
	qb_loop_timer_handle unused;
	int status;
	pid_t pid = csv_helper_fork(&h, 0);

	if (!pid)
		_exit(5);
	csv_helper_forget(&h);
	csv_helper_forget(&h);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(qb_loop_timer_add(h.loop, QB_LOOP_LOW, 1, NULL, stop, &unused), 0);
	qb_loop_run(h.loop);
	assert_int_equal(ends, 0);
}

static void test_killed(void **state)
{
	int status;
	pid_t pid = csv_helper_fork(&h, 60000);

	if (!pid) {
		for (;;)
			pause();
	}
	csv_helper_kill(&h);
	csv_helper_kill(&h);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(ends, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_says_and_ends),	     T(test_says_nothing), T(test_says_too_much), T(test_late),
		T(test_late_with_its_group), T(test_forgotten),	   T(test_killed),
	};

	return cmocka_run_group_tests_name("children of csvlockd", tests, NULL, NULL);
}
