/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/sock_lockd.h"

static struct {
	char dir[64];
	int listener, fd;
	pthread_t thread;
	sock_lockd_fn fn;
	bool viewed;
	struct csv_msg_view view;
} lockd;

unsigned sock_lockd_detect_ms;

void sock_lockd_send(const struct csv_msg *msg)
{
	assert_int_equal(send(lockd.fd, msg, sizeof(*msg), MSG_NOSIGNAL), sizeof(*msg));
}

static bool welcome(const struct csv_msg *hello)
{
	struct csv_msg msg = { .type = CSV_MSG_WELCOME, .seq = hello->seq };

	msg.welcome.version = CSV_PROTO_VERSION;
	msg.welcome.nodeid = 1;
	msg.welcome.quorate = 1;
	msg.welcome.detect_ms = sock_lockd_detect_ms;
	sock_lockd_send(&msg);
	if (lockd.viewed) {
		msg = (struct csv_msg){ .type = CSV_MSG_VIEW, .view = lockd.view };
		sock_lockd_send(&msg);
	}
	return true;
}

static void *lockd_thread(void *arg)
{
	struct csv_msg msg;

	lockd.fd = accept(lockd.listener, NULL, NULL);
	while (lockd.fd >= 0 && recv(lockd.fd, &msg, sizeof(msg), 0) == (ssize_t)sizeof(msg) &&
	       (msg.type == CSV_MSG_HELLO ? welcome(&msg) : lockd.fn(&msg)))
		;
	close(lockd.fd);
	return NULL;
}

const char *sock_lockd_start(sock_lockd_fn fn, const struct csv_msg_view *view)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	memset(&lockd, 0, sizeof(lockd));
	lockd.fn = fn;
	lockd.viewed = view;
	if (view)
		lockd.view = *view;
	strcpy(lockd.dir, "/tmp/csv-test-lockd.XXXXXX");
	assert_non_null(mkdtemp(lockd.dir));
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/lockd.sock", lockd.dir);
	lockd.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(lockd.listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(lockd.listener, 1), 0);
	assert_int_equal(pthread_create(&lockd.thread, NULL, lockd_thread, NULL), 0);
	return lockd.dir;
}

void sock_lockd_stop(void)
{
	char path[128];

	pthread_join(lockd.thread, NULL);
	close(lockd.listener);
	snprintf(path, sizeof(path), "%s/lockd.sock", lockd.dir);
	unlink(path);
	rmdir(lockd.dir);
}
