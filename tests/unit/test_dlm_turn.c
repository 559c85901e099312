/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who opens a lockspace waits for the one before it, and for that one's keeper. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "lockd/dlm/turn.h"

/* Long enough for a process that does not wait to get there. */
#define QUIET_MS 200

static char folder[] = "/tmp/csv-turn-XXXXXX";

/* A process in place of csv-dlm-space, and csvlockd's end of its socket. */
struct holder {
	pid_t pid;
	int socket;
};

/* Takes its turn, says the result in a byte, and lives on until it is killed. */
static struct holder start(pid_t keeper)
{
	struct holder h;
	int ends[2];
	char result;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	h.socket = ends[0];
	h.pid = fork();
	if (h.pid == 0) {
		close(ends[0]);
		result = (char)csv_dlm_turn_take("vol", ends[1]);
		if (!result && keeper)
			result = (char)csv_dlm_turn_share("vol", keeper);
		/* The other end may be closed. */
		send(ends[1], &result, 1, MSG_NOSIGNAL);
		if (result)
			_exit(result);
		for (;;)
			pause();
	}
	close(ends[1]);
	return h;
}

static bool has_turn(const struct holder *h, int ms)
{
	struct pollfd set = { .fd = h->socket, .events = POLLIN };
	char result = -1;

	if (poll(&set, 1, ms) <= 0)
		return false;
	assert_int_equal(recv(h->socket, &result, 1, 0), 1);
	assert_int_equal(result, 0);
	return true;
}

static int stop(struct holder *h)
{
	int status;

	kill(h->pid, SIGKILL);
	assert_int_equal(waitpid(h->pid, &status, 0), h->pid);
	close(h->socket);
	return status;
}

static void test_one_after_the_other(void **state)
{
	struct holder one = start(0), two, three;

	assert_true(has_turn(&one, -1));
	two = start(0);
	assert_false(has_turn(&two, QUIET_MS));
	/* One that gives up waiting leaves the next one with the same wait. */
	stop(&two);
	three = start(0);
	assert_false(has_turn(&three, QUIET_MS));
	stop(&one);
	assert_true(has_turn(&three, -1));
	stop(&three);
}

static void test_keeper(void **state)
{
	struct holder keeper = { .socket = -1 }, one, two;

	keeper.pid = fork();
	if (keeper.pid == 0) {
		for (;;)
			pause();
	}
	one = start(keeper.pid);
	assert_true(has_turn(&one, -1));
	stop(&one);
	two = start(0);
	assert_false(has_turn(&two, QUIET_MS));
	stop(&keeper);
	assert_true(has_turn(&two, -1));
	stop(&two);
}

static void test_csvlockd_goes_meanwhile(void **state)
{
	struct holder one = start(0), two;
	int status;

	assert_true(has_turn(&one, -1));
	two = start(0);
	assert_false(has_turn(&two, QUIET_MS));
	close(two.socket);
	assert_int_equal(waitpid(two.pid, &status, 0), two.pid);
	assert_int_equal(WEXITSTATUS(status), ECANCELED);
	stop(&one);
}

static int setup(void **state)
{
	return mkdtemp(folder) && !setenv("CSV_RUN_DIR", folder, 1) ? 0 : -1;
}

static int teardown(void **state)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/dlm-vol.pid", folder);
	return unlink(path) || rmdir(folder) ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_after_the_other),
		cmocka_unit_test(test_keeper),
		cmocka_unit_test(test_csvlockd_goes_meanwhile),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
