/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/farewell.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static socklen_t address(struct sockaddr_un *sa, pid_t pid)
{
	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	/* A name that begins with a zero byte is in no filesystem. */
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			   (size_t)snprintf(sa->sun_path + 1, sizeof(sa->sun_path) - 1, "csvfs-end-%d", (int)pid));
}

void csv_farewell_send(const struct csv_farewell *f)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sa;
	socklen_t len = address(&sa, getpid());

	if (fd < 0)
		return;
	/* Mostly nobody listens. */
	(void)!sendto(fd, f, sizeof(*f), MSG_NOSIGNAL, (struct sockaddr *)&sa, len);
	close(fd);
}

int csv_farewell_listen(pid_t pid)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), yes = 1;
	struct sockaddr_un sa;
	socklen_t len = address(&sa, pid);

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes)) || bind(fd, (struct sockaddr *)&sa, len)) {
		close(fd);
		return -1;
	}
	return fd;
}

bool csv_farewell_read(int fd, pid_t pid, struct csv_farewell *f)
{
	union {
		char buf[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = f, .iov_len = sizeof(*f) };

	for (;;) {
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf };
		struct cmsghdr *c;
		struct ucred from;
		ssize_t n;

		msg.msg_controllen = sizeof(control.buf);
		n = recvmsg(fd, &msg, 0);
		if (n < 0)
			return false;
		c = CMSG_FIRSTHDR(&msg);
		if (n != sizeof(*f) || !c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS)
			continue;
		memcpy(&from, CMSG_DATA(c), sizeof(from));
		f->volume[CSV_VOLNAME_MAX] = 0;
		if (from.pid == pid)
			return true;
	}
}
