// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vm-agent ADDRESS: first process of a virtual machine of the lab. Runs the commands that vm-exec sends, each in a
 * handler process of its own, and reaps what has lost its parent.
 */
#include "frame.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct command {
	char *folder;
	char **arguments;
	char **environment;
};

struct running {
	int link; /* to vm-exec; -1 after EXIT was sent */
	pid_t pid;
	int end;	 /* pidfd of the command; -1 when it was reaped */
	int in;		 /* its standard input; -1: closed */
	int out[2];	 /* its standard output and error; -1: ended */
	char *input;	 /* not yet taken by the command; NULL: none */
	size_t size, at; /* of input, and how much of it was taken */
};

static void fail(const char *what)
{
	fprintf(stderr, "vm-agent: %s: %s\n", what, strerror(errno));
	exit(125);
}

/* ---- starting a command ---- */

static char **append(char **list, size_t *count, char *text)
{
	list = realloc(list, (*count + 2) * sizeof(*list));
	if (!list)
		fail("memory");
	list[(*count)++] = text;
	list[*count] = NULL;
	return list;
}

static bool parse(char *data, size_t size, struct command *command)
{
	size_t arguments = 0, variables = 0;

	command->folder = data;
	command->arguments = append(NULL, &(size_t){ 0 }, NULL);
	command->environment = append(NULL, &(size_t){ 0 }, NULL);
	for (char *at = data + strlen(data) + 1; at < data + size; at += strlen(at) + 1) {
		if (*at == 'A')
			command->arguments = append(command->arguments, &arguments, at + 1);
		else
			command->environment = append(command->environment, &variables, at + 1);
	}
	return arguments > 0;
}

static _Noreturn void become(const struct command *command, const int *in, const int *out, const int *err)
{
	setsid();
	dup2(in[0], 0);
	dup2(out[1], 1);
	dup2(err[1], 2);
	if (chdir(command->folder) != 0 && chdir("/") != 0)
		fail("chdir");
	environ = command->environment;
	execvp(command->arguments[0], command->arguments);
	fprintf(stderr, "%s: %s\n", command->arguments[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static void begin(struct running *run, const struct command *command)
{
	int in[2], out[2], err[2];

	if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0)
		fail("pipe");
	run->pid = fork();
	if (run->pid < 0)
		fail("fork");
	if (run->pid == 0)
		become(command, in, out, err);
	close(in[0]);
	close(out[1]);
	close(err[1]);
	run->end = (int)syscall(SYS_pidfd_open, run->pid, 0);
	if (run->end < 0)
		fail("pidfd_open");
	fcntl(in[1], F_SETFL, O_NONBLOCK);
	run->in = in[1];
	run->out[0] = out[0];
	run->out[1] = err[0];
}

/* ---- while it runs ---- */

static void hung_up(struct running *run)
{
	if (run->end >= 0)
		kill(run->pid, SIGKILL);
	close(run->link);
	run->link = -1;
}

static void say(struct running *run, enum frame_type type, const void *data, size_t size)
{
	if (run->link >= 0 && !send_frame(run->link, type, data, size))
		hung_up(run);
}

static void close_input(struct running *run)
{
	free(run->input);
	run->input = NULL;
	if (run->in >= 0)
		close(run->in);
	run->in = -1;
}

/* One frame from vm-exec. Not called while input waits, so that the host feels a command that does not read. */
static void hear(struct running *run)
{
	struct frame frame;
	char *data;

	if (!receive_frame(run->link, &frame, &data)) {
		hung_up(run);
		return;
	}
	if (frame.type == FRAME_SIGNAL && frame.size == sizeof(uint32_t) && run->end >= 0) {
		uint32_t number;
		memcpy(&number, data, sizeof(number));
		kill(run->pid, (int)number);
	}
	if (frame.type == FRAME_INPUT && frame.size == 0)
		close_input(run);
	if (frame.type == FRAME_INPUT && frame.size > 0 && run->in >= 0) {
		run->input = data;
		run->size = frame.size;
		run->at = 0;
		return;
	}
	free(data);
}

static void feed(struct running *run)
{
	ssize_t done = write(run->in, run->input + run->at, run->size - run->at);
	if (done < 0 && errno != EAGAIN && errno != EINTR) {
		close_input(run);
		return;
	}
	run->at += done > 0 ? (size_t)done : 0;
	if (run->at == run->size) {
		free(run->input);
		run->input = NULL;
	}
}

/* Pass on output; false when there is none at the moment. */
static bool pass(struct running *run, int which)
{
	char data[65536];
	ssize_t got = read(run->out[which], data, sizeof(data));

	if (got > 0) {
		say(run, which ? FRAME_ERROR : FRAME_OUTPUT, data, (size_t)got);
		return true;
	}
	if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
		close(run->out[which]);
		run->out[which] = -1;
	}
	return false;
}

/*
 * The command has ended. What it wrote goes first; what its children write later goes nowhere, but their end of
 * the pipe stays good.
 */
static void ended(struct running *run)
{
	int status = 0;

	waitpid(run->pid, &status, 0);
	close(run->end);
	run->end = -1;
	close_input(run);
	for (int which = 0; which < 2; which++) {
		if (run->out[which] >= 0)
			fcntl(run->out[which], F_SETFL, O_NONBLOCK);
		while (run->out[which] >= 0 && pass(run, which))
			;
	}
	uint32_t word = (uint32_t)status;
	say(run, FRAME_EXIT, &word, sizeof(word));
	if (run->link >= 0)
		close(run->link);
	run->link = -1;
}

static bool ready(const struct pollfd *entry)
{
	return entry->fd >= 0 && entry->revents != 0;
}

static void attend(struct running *run)
{
	while (run->end >= 0 || run->out[0] >= 0 || run->out[1] >= 0) {
		/* With input waiting the link is watched for its end only. */
		short wanted = (short)(POLLRDHUP | (run->input ? 0 : POLLIN));
		struct pollfd set[] = { { .fd = run->link, .events = wanted },
					{ .fd = run->end, .events = POLLIN },
					{ .fd = run->input ? run->in : -1, .events = POLLOUT },
					{ .fd = run->out[0], .events = POLLIN },
					{ .fd = run->out[1], .events = POLLIN } };
		if (poll(set, sizeof(set) / sizeof(set[0]), -1) < 0)
			continue;
		if (ready(&set[2]))
			feed(run);
		for (int which = 0; which < 2; which++)
			if (ready(&set[3 + which]))
				pass(run, which);
		if (ready(&set[1]))
			ended(run);
		if (ready(&set[0]) && run->link >= 0) {
			if (run->input)
				hung_up(run);
			else
				hear(run);
		}
	}
}

static _Noreturn void handle(int link)
{
	struct running run = { .link = link };
	struct command command;
	struct frame frame;
	char *data;

	signal(SIGCHLD, SIG_DFL);
	if (!receive_frame(link, &frame, &data) || frame.type != FRAME_START || !parse(data, frame.size, &command))
		exit(125);
	begin(&run, &command);
	signal(SIGPIPE, SIG_IGN); /* not before the command is started: it would inherit this */
	attend(&run);
	exit(0);
}

/* ---- the first process ---- */

static int listen_on(const char *address)
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(AGENT_PORT) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (inet_pton(AF_INET, address, &name.sin_addr) != 1)
		fail(address);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) != 0 ||
	    bind(fd, (struct sockaddr *)&name, sizeof(name)) != 0 || listen(fd, 64) != 0)
		fail("listen");
	return fd;
}

int main(int count, char **words)
{
	if (count != 2) {
		fprintf(stderr, "usage: vm-agent ADDRESS\n");
		return 2;
	}
	int fd = listen_on(words[1]);
	signal(SIGCHLD, SIG_IGN); /* the kernel reaps handlers and orphans */
	printf("lab: ready\n");
	fflush(stdout);
	for (;;) {
		int link = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		if (link < 0)
			continue;
		setsockopt(link, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
		pid_t pid = fork();
		if (pid == 0) {
			close(fd);
			handle(link);
		}
		close(link);
	}
}
