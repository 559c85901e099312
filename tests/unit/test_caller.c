/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a thread waits for a lock, as /proc tells it. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "fs/fuse/caller.h"

struct waiter {
	const char *path;
	int cmd;
	_Atomic pid_t tid;
	pthread_t thread;
};

/* Another open file of the same process: as a process it has the lock already, so it needs one of its own to wait. */
static void *wait_for_it(void *arg)
{
	struct waiter *w = arg;
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open(w->path, O_RDWR);

	w->tid = gettid();
	assert_int_equal(fcntl(fd, w->cmd, &l), 0);
	close(fd);
	return NULL;
}

static void check(int cmd, bool process)
{
	char path[] = "/tmp/csv-caller-XXXXXX";
	struct waiter w = { .path = path, .cmd = cmd };
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
	assert_int_equal(pthread_create(&w.thread, NULL, wait_for_it, &w), 0);
	while (!w.tid)
		usleep(100);
	assert_int_equal(csv_caller_is_process(w.tid), process);
	l.l_type = F_UNLCK;
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
	pthread_join(w.thread, NULL);
	close(fd);
	unlink(path);
}

static void test_process(void **state)
{
	check(F_SETLKW, true);
}

static void test_open_file(void **state)
{
	check(F_OFD_SETLKW, false);
}

static void test_nobody(void **state)
{
	assert_false(csv_caller_is_process(0));
	assert_false(csv_caller_is_process(-1));
	assert_false(csv_caller_is_process(0x7fffffff));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_process),
		cmocka_unit_test(test_open_file),
		cmocka_unit_test(test_nobody),
	};

	return cmocka_run_group_tests_name("who waits", tests, NULL, NULL);
}
