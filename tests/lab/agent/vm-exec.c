// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vm-exec PID ADDRESS CMD ARG...: run a command in the virtual machine at ADDRESS, whose QEMU is process PID, as if it
 * were this process: same folder, variables, standard files, signals and end. If the machine goes, it dies by SIGKILL
 * as the command did; if it is killed itself, so is the command. Exit 125: the machine could not be asked.
 *
 * It has no time-out: a machine that is frozen answers when it goes on.
 */
#include "frame.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "vm-exec: %s: %s\n", what, strerror(errno));
	exit(125);
}

/* End as the command did. */
static _Noreturn void end_as(int status)
{
	if (WIFSIGNALED(status)) {
		int number = WTERMSIG(status);
		sigset_t set;

		signal(number, SIG_DFL);
		sigemptyset(&set);
		sigaddset(&set, number);
		sigprocmask(SIG_UNBLOCK, &set, NULL);
		kill(getpid(), number);
	}
	exit(WEXITSTATUS(status));
}

static _Noreturn void end_with_machine(void)
{
	kill(getpid(), SIGKILL);
	abort();
}

/* ---- the beginning ---- */

static int watch_machine(const char *word)
{
	char *end;
	long pid = strtol(word, &end, 10);
	if (*end || pid <= 0) {
		errno = EINVAL;
		fail(word);
	}
	int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	if (fd < 0)
		fail("the machine's process");
	return fd;
}

static bool gone(int machine)
{
	struct pollfd one = { .fd = machine, .events = POLLIN };
	return poll(&one, 1, 0) > 0;
}

static int reach(const char *address, int machine)
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(AGENT_PORT) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || inet_pton(AF_INET, address, &name.sin_addr) != 1)
		fail(address);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (connect(fd, (struct sockaddr *)&name, sizeof(name)) != 0 && errno != EINPROGRESS)
		fail("connect");
	struct pollfd set[] = { { .fd = fd, .events = POLLOUT }, { .fd = machine, .events = POLLIN } };
	while (poll(set, 2, -1) < 0)
		;
	if (set[1].revents)
		end_with_machine();
	socklen_t size = sizeof(errno);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &errno, &size) != 0 || errno != 0)
		fail("connect");
	return fd;
}

static void add(FILE *file, const char *kind, const char *text)
{
	fputs(kind, file);
	fputs(text, file);
	fputc(0, file);
}

static void send_start(int link, char **arguments)
{
	char *data = NULL, *folder = getcwd(NULL, 0);
	size_t size = 0;
	FILE *file = open_memstream(&data, &size);

	if (!file)
		fail("memory");
	add(file, "", folder ? folder : "/");
	for (; *arguments; arguments++)
		add(file, "A", *arguments);
	for (char **variable = environ; *variable; variable++)
		add(file, "E", *variable);
	fclose(file);
	if (!send_frame(link, FRAME_START, data, size))
		fail("send");
	free(data);
	free(folder);
}

/* ---- while it runs ---- */

/* What these do to us happens to the command instead. */
static int catch_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	const int numbers[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2 };
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaddset(&set, numbers[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static void forward_signal(int signals, int link)
{
	struct signalfd_siginfo info;
	if (!read_all(signals, &info, sizeof(info)))
		return;
	send_frame(link, FRAME_SIGNAL, &info.ssi_signo, sizeof(info.ssi_signo));
}

/* Some input, or its end; false at the end. */
static bool forward_input(int link)
{
	char data[65536];
	ssize_t got = read(STDIN_FILENO, data, sizeof(data));

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	send_frame(link, FRAME_INPUT, data, got > 0 ? (size_t)got : 0);
	return got > 0;
}

/* Our reader has gone: the command shall feel it as if it wrote itself. */
static void pass_output(int link, int fd, const char *data, size_t size)
{
	uint32_t number = SIGPIPE;
	if (!write_all(fd, data, size))
		send_frame(link, FRAME_SIGNAL, &number, sizeof(number));
}

/* One frame from the machine; does not return after the last. */
static void hear(int link, int machine)
{
	struct frame frame;
	char *data;
	uint32_t status;

	if (!receive_frame(link, &frame, &data)) {
		if (gone(machine))
			end_with_machine();
		errno = ECONNRESET;
		fail("the agent hung up");
	}
	switch (frame.type) {
	case FRAME_OUTPUT:
		pass_output(link, STDOUT_FILENO, data, frame.size);
		break;
	case FRAME_ERROR:
		pass_output(link, STDERR_FILENO, data, frame.size);
		break;
	case FRAME_EXIT:
		memcpy(&status, data, sizeof(status));
		end_as((int)status);
	default:
		break;
	}
	free(data);
}

int main(int count, char **words)
{
	if (count < 4) {
		fprintf(stderr, "usage: vm-exec PID ADDRESS CMD ARG...\n");
		return 125;
	}
	signal(SIGPIPE, SIG_IGN);
	int machine = watch_machine(words[1]);
	int link = reach(words[2], machine);
	int signals = catch_signals();
	bool input = true;

	send_start(link, words + 3);
	for (;;) {
		struct pollfd set[] = { { .fd = link, .events = POLLIN },
					{ .fd = machine, .events = POLLIN },
					{ .fd = signals, .events = POLLIN },
					{ .fd = input ? STDIN_FILENO : -1, .events = POLLIN } };
		if (poll(set, sizeof(set) / sizeof(set[0]), -1) < 0)
			continue;
		if (set[0].revents)
			hear(link, machine);
		else if (set[1].revents)
			end_with_machine();
		if (set[2].revents)
			forward_signal(signals, link);
		if (set[3].revents)
			input = forward_input(link);
	}
}
