/* SPDX-License-Identifier: GPL-2.0-or-later */
/* L5: the process that watches csvlockd, with children that do what a csvlockd should not. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "csv/timeouts.h"
#include "lockd/daemon/daemon.h"
#include "lockd/daemon/supervise.h"

#define HANG_MS 600u
#define BEAT_MS 50
#define LONG_MS 20000 /* a deadline, never waited for */

/* Seen by test, supervisor and children. */
struct shared {
	volatile unsigned children, beats;
	volatile pid_t child;
	char news[2][128];
};

static struct shared *sh;

static int open_shared(void **state)
{
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return sh == MAP_FAILED ? -1 : 0;
}

static int close_shared(void **state)
{
	return munmap(sh, sizeof(*sh));
}

static void beat(int fd, unsigned times)
{
	for (; times; times--) {
		ssize_t n = write(fd, "", 1);

		(void)n;
		sh->beats++;
		poll(NULL, 0, BEAT_MS);
	}
}

/* The number of this child, from 1. */
static unsigned enter(const char *news)
{
	unsigned n = ++sh->children;

	sh->child = getpid();
	if (n <= 2)
		strncpy(sh->news[n - 1], news, sizeof(sh->news[0]) - 1);
	return n;
}

static int supervise(int (*serve)(int fd, const char *news, void *arg))
{
	struct csv_supervised s = { .hang_ms = HANG_MS, .rest_ms = 100, .serve = serve };

	return csv_supervise(&s);
}

/* In a process of its own, as the tests send signals to it. */
static pid_t supervisor(int (*serve)(int fd, const char *news, void *arg))
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		_exit(supervise(serve));
	return pid;
}

static int code_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void wait_beats(unsigned more)
{
	unsigned until = sh->beats + more;

	for (int ms = 0; sh->beats < until; ms += 10) {
		assert_true(ms < LONG_MS);
		poll(NULL, 0, 10);
	}
}

static int serve_once(int fd, const char *news, void *arg)
{
	enter(news);
	beat(fd, 3);
	return 42;
}

static void test_exit_code_is_the_childs(void **state)
{
	assert_int_equal(supervise(serve_once), 42);
	assert_int_equal(sh->children, 1);
	assert_string_equal(sh->news[0], "");
}

static int serve_hang(int fd, const char *news, void *arg)
{
	if (enter(news) == 2)
		return 7;
	beat(fd, 3);
	raise(SIGSTOP);
	return 1;
}

static void test_hung_child_is_replaced(void **state)
{
	assert_int_equal(supervise(serve_hang), 7);
	assert_int_equal(sh->children, 2);
	assert_non_null(strstr(sh->news[1], "hung for 600 ms"));
}

static int serve_hang_at_start(int fd, const char *news, void *arg)
{
	if (enter(news) == 2)
		return 8;
	raise(SIGSTOP);
	return 1;
}

static void test_hung_at_start(void **state)
{
	assert_int_equal(supervise(serve_hang_at_start), 8);
}

static int serve_crash(int fd, const char *news, void *arg)
{
	if (enter(news) == 2)
		return 9;
	beat(fd, 3);
	raise(SIGKILL);
	return 1;
}

static void test_crashed_child_is_replaced(void **state)
{
	assert_int_equal(supervise(serve_crash), 9);
	assert_non_null(strstr(sh->news[1], "ended by signal 9"));
}

static int serve_never(int fd, const char *news, void *arg)
{
	enter(news);
	raise(SIGKILL);
	return 1;
}

static void test_crash_at_start_is_the_end(void **state)
{
	assert_int_not_equal(supervise(serve_never), 0);
	assert_int_equal(sh->children, 1);
}

static volatile sig_atomic_t stopped;

static void on_term(int sig)
{
	stopped = 1;
}

static int serve_until_term(int fd, const char *news, void *arg)
{
	signal(SIGTERM, on_term);
	enter(news);
	while (!stopped)
		beat(fd, 1);
	return 5;
}

static void test_stop_is_passed_on(void **state)
{
	pid_t pid = supervisor(serve_until_term);

	wait_beats(3);
	kill(pid, SIGTERM);
	assert_int_equal(code_of(pid), 5);
	assert_int_equal(sh->children, 1);
}

/* Both stand still for longer than a child may hang, as in a frozen node: neither is to blame. */
static void test_frozen_together(void **state)
{
	pid_t pid = supervisor(serve_until_term), child;

	wait_beats(3);
	child = sh->child;
	kill(pid, SIGSTOP);
	kill(child, SIGSTOP);
	poll(NULL, 0, 2 * HANG_MS); /* the time is the test */
	kill(pid, SIGCONT);
	poll(NULL, 0, BEAT_MS);
	kill(child, SIGCONT);
	wait_beats(HANG_MS / BEAT_MS);
	assert_int_equal(sh->children, 1);
	kill(pid, SIGTERM);
	assert_int_equal(code_of(pid), 5);
}

static int serve_deaf(int fd, const char *news, void *arg)
{
	signal(SIGTERM, SIG_IGN);
	enter(news);
	beat(fd, 3);
	for (;;)
		pause();
	return 1;
}

static void test_stop_of_one_that_hangs(void **state)
{
	pid_t pid = supervisor(serve_deaf);

	wait_beats(2);
	kill(pid, SIGTERM);
	assert_int_equal(code_of(pid), 0);
	assert_int_equal(sh->children, 1);
}

static void test_child_dies_with_its_supervisor(void **state)
{
	pid_t pid = supervisor(serve_until_term), child;
	int status;

	wait_beats(3);
	child = sh->child;
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	for (int ms = 0; !kill(child, 0) || errno != ESRCH; ms += 10) {
		assert_true(ms < LONG_MS);
		waitpid(-1, &status, WNOHANG); /* we may be its reaper */
		poll(NULL, 0, 10);
	}
}

/* systemd's Type=notify */
static void test_ready_is_told(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char text[32] = "";

	snprintf(sa.sun_path, sizeof(sa.sun_path), "@csv-test-notify-%d", (int)getpid());
	setenv("NOTIFY_SOCKET", sa.sun_path, 1);
	sa.sun_path[0] = 0;
	assert_int_equal(bind(fd, (struct sockaddr *)&sa,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(sa.sun_path + 1) + 1)),
			 0);
	assert_int_equal(supervise(serve_once), 42);
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT), 7);
	assert_string_equal(text, "READY=1");
	assert_int_equal(recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT), -1);
	close(fd);
}

static enum csv_err load(const char *text, struct csv_daemon_conf *c, struct csv_why *why)
{
	char path[] = "/tmp/csv-test-conf-XXXXXX";
	int fd = mkstemp(path);
	enum csv_err err;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	csv_why_init(why);
	err = csv_conf_load(c, path, why);
	unlink(path);
	return err;
}

static void test_slow_corosync(void **state)
{
	struct csv_why why;
	unsigned ms;

	csv_why_init(&why);
	assert_int_equal(csv_conf_detect(3000, 3600, &ms, &why), CSV_OK);
	assert_int_equal(ms, 6600);
	assert_int_equal(csv_conf_detect(60000, 60000, &ms, &why), CSV_OK);
	assert_int_equal(csv_conf_detect(60000, 60001, &ms, &why), CSV_INVAL);
	assert_non_null(strstr(why.text, "120001"));
	assert_int_equal(csv_conf_detect(UINT32_MAX, UINT32_MAX, &ms, &why), CSV_INVAL);
}

/* include/csv/timeouts.h */
static void test_timeouts_that_contradict(void **state)
{
	struct csv_daemon_conf c;
	struct csv_why why;

	assert_int_equal(load("", &c, &why), CSV_OK);
	assert_int_equal(c.watchdog_ms, CSV_WATCHDOG_MS);
	assert_int_equal(c.evict_ms, CSV_EVICT_MS);
	assert_int_equal(load("[timeouts]\nwatchdog_ms = 2000\nevict_ms = 5000\n", &c, &why), CSV_OK);
	assert_int_equal(c.evict_ms, 5000);
	assert_int_equal(load("[timeouts]\nwatchdog_ms = 0\nevict_ms = 3000\n", &c, &why), CSV_OK);
	assert_int_equal(load("[timeouts]\nwatchdog_ms = 1000\n", &c, &why), CSV_INVAL);
	assert_non_null(strstr(why.text, "watchdog_ms 1000 is less than 2000"));
	assert_int_equal(load("[timeouts]\nevict_ms = 7999\n", &c, &why), CSV_INVAL);
	assert_non_null(strstr(why.text, "evict_ms 7999 is less than 8000"));
	assert_int_equal(load("[timeouts]\nwatchdog_ms = 10000\n", &c, &why), CSV_INVAL);
	assert_int_equal(load("[timeouts]\nevict_ms = 30000\n", &c, &why), CSV_INVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_exit_code_is_the_childs, open_shared, close_shared),
		cmocka_unit_test_setup_teardown(test_hung_child_is_replaced, open_shared, close_shared),
		cmocka_unit_test_setup_teardown(test_hung_at_start, open_shared, close_shared),
		cmocka_unit_test_setup_teardown(test_crashed_child_is_replaced, open_shared, close_shared),
		cmocka_unit_test_setup_teardown(test_crash_at_start_is_the_end, open_shared, close_shared),
		cmocka_unit_test_setup_teardown(test_stop_is_passed_on, open_shared, close_shared),
		cmocka_unit_test_setup_teardown(test_frozen_together, open_shared, close_shared),
		cmocka_unit_test_setup_teardown(test_stop_of_one_that_hangs, open_shared, close_shared),
		cmocka_unit_test_setup_teardown(test_child_dies_with_its_supervisor, open_shared, close_shared),
		cmocka_unit_test_setup_teardown(test_ready_is_told, open_shared, close_shared),
		cmocka_unit_test(test_slow_corosync),
		cmocka_unit_test(test_timeouts_that_contradict),
	};

	return cmocka_run_group_tests_name("supervisor", tests, NULL, NULL);
}
