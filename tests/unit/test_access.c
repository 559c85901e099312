/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who may ask csvlockd what: its socket, with clients of other users. */
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "lockd/client/client.h"
#include "lockd/daemon/daemon.h"

#define GROUP 54321
#define OTHER 54322
#define SOMEBODY 54323

static char run_dir[64];
static pid_t server;

/* csvlockd's part that is asked, without a cluster. */
static void serve(bool has_group)
{
	struct csv_daemon d = { .listen_fd = -1 };
	struct csv_why why;

	csv_why_init(&why);
	d.loop = qb_loop_create();
	csv_list_init(&d.peers);
	csv_list_init(&d.timers);
	csv_list_init(&d.nodes);
	csv_registry_init(&d);
	snprintf(d.conf.run_dir, sizeof(d.conf.run_dir), "%s", run_dir);
	d.conf.status_ms = 1000;
	d.conf.gid = GROUP;
	d.conf.has_group = has_group;
	if (csv_server_open(&d, &why)) {
		fprintf(stderr, "%s\n", why.text);
		_exit(1);
	}
	qb_loop_run(d.loop);
	_exit(0);
}

static enum csv_err open_as(enum csv_role role, struct csv_client **cl)
{
	struct csv_msg_hello hello = { .role = role };

	return csv_client_open(run_dir, &hello, 5000, cl, NULL, NULL);
}

static void start(bool has_group)
{
	const struct timespec tick = { .tv_nsec = 10000000 };
	struct csv_client *cl;
	enum csv_err err;

	if (geteuid())
		skip();
	snprintf(run_dir, sizeof(run_dir), "/tmp/csv-test-access-XXXXXX");
	assert_non_null(mkdtemp(run_dir));
	assert_int_equal(chmod(run_dir, 0755), 0);
	server = fork();
	assert_true(server >= 0);
	if (!server)
		serve(has_group);
	for (int i = 0; (err = open_as(CSV_ROLE_ADMIN, &cl)) == CSV_NOCLUSTER && i < 1000; i++)
		nanosleep(&tick, NULL);
	assert_int_equal(err, CSV_OK);
	csv_client_close(cl);
}

static void stop(void)
{
	char path[128];

	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	snprintf(path, sizeof(path), "%s/lockd.sock", run_dir);
	unlink(path);
	rmdir(run_dir);
}

static struct stat socket_stat(void)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/lockd.sock", run_dir);
	assert_int_equal(stat(path, &st), 0);
	return st;
}

struct who {
	uid_t uid;
	gid_t gid, more; /* more: a further group, 0: none */
};

/* What somebody gets: the error of the connection, or of the request; 0: no request. */
static enum csv_err ask(const struct who *w, enum csv_role role, uint32_t type)
{
	struct csv_msg msg = { .type = type };
	struct csv_client *cl;
	enum csv_err err;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid) {
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		return (enum csv_err)WEXITSTATUS(status);
	}
	if (w->uid && (setgroups(w->more ? 1 : 0, &w->more) || setgid(w->gid) || setuid(w->uid)))
		_exit(255);
	err = open_as(role, &cl);
	if (!err && type)
		err = csv_client_call(cl, &msg, 5000, NULL, NULL, NULL);
	_exit(err);
}

static const struct who root = { 0, 0, 0 };
static const struct who member = { SOMEBODY, GROUP, 0 };
static const struct who further = { SOMEBODY, OTHER, GROUP };
static const struct who stranger = { SOMEBODY, OTHER, OTHER };

static void test_root_alone(void **state)
{
	start(false);
	assert_int_equal(socket_stat().st_mode & 0777, 0600);
	assert_int_equal(ask(&root, CSV_ROLE_ADMIN, CSV_MSG_STATUS), CSV_OK);
	assert_int_equal(ask(&member, CSV_ROLE_ADMIN, 0), CSV_ACCESS);
	assert_int_equal(ask(&stranger, CSV_ROLE_ADMIN, 0), CSV_ACCESS);
	stop();
}

static void test_members_look(void **state)
{
	static const uint32_t looks[] = { CSV_MSG_STATUS, CSV_MSG_HANDLE_LIST };
	static const uint32_t others[] = { CSV_MSG_NODE_FENCE, CSV_MSG_SHUTDOWN, CSV_MSG_VM_SET, CSV_MSG_HO_REQUEST,
					   CSV_MSG_HO_FILE,    CSV_MSG_LOCK,	 CSV_MSG_DETACH, 999 };
	const struct who *members[] = { &member, &further };

	start(true);
	assert_int_equal(socket_stat().st_mode & 0777, 0660);
	assert_int_equal(socket_stat().st_gid, GROUP);
	for (unsigned m = 0; m < 2; m++) {
		for (unsigned i = 0; i < sizeof(looks) / sizeof(looks[0]); i++)
			assert_int_equal(ask(members[m], CSV_ROLE_ADMIN, looks[i]), CSV_OK);
		/* May ask; there is no cluster. */
		assert_int_equal(ask(members[m], CSV_ROLE_ADMIN, CSV_MSG_NODE_LIST), CSV_NOCLUSTER);
		for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
			assert_int_equal(ask(members[m], CSV_ROLE_ADMIN, others[i]), CSV_PERM);
		assert_int_equal(ask(members[m], CSV_ROLE_FS, 0), CSV_PERM);
		assert_int_equal(ask(members[m], CSV_ROLE_OUT, 0), CSV_PERM);
	}
	assert_int_equal(ask(&stranger, CSV_ROLE_ADMIN, 0), CSV_ACCESS);
	assert_int_equal(ask(&root, CSV_ROLE_ADMIN, CSV_MSG_NODE_FENCE), CSV_NOCLUSTER);
	stop();
}

/* Somebody has opened the socket to all: the credentials count. */
static void test_loosened(void **state)
{
	char path[128];

	start(true);
	snprintf(path, sizeof(path), "%s/lockd.sock", run_dir);
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(ask(&stranger, CSV_ROLE_ADMIN, 0), CSV_PERM);
	assert_int_equal(ask(&stranger, CSV_ROLE_FS, 0), CSV_PERM);
	assert_int_equal(ask(&member, CSV_ROLE_ADMIN, CSV_MSG_STATUS), CSV_OK);
	stop();
}

static enum csv_err group_of(const char *name, struct csv_daemon_conf *c, struct csv_why *why)
{
	memset(c, 0, sizeof(*c));
	csv_why_init(why);
	return csv_access_group(c, name, why);
}

static void test_group_by_name(void **state)
{
	struct csv_daemon_conf c;
	struct csv_why why;

	assert_int_equal(group_of("", &c, &why), CSV_OK);
	assert_false(c.has_group);
	assert_int_equal(group_of("root", &c, &why), CSV_OK);
	assert_true(c.has_group);
	assert_int_equal(c.gid, 0);
	assert_int_equal(group_of("csv-no-such-group", &c, &why), CSV_INVAL);
	assert_non_null(strstr(why.text, "csv-no-such-group"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_root_alone),
		cmocka_unit_test(test_members_look),
		cmocka_unit_test(test_loosened),
		cmocka_unit_test(test_group_by_name),
	};

	return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
