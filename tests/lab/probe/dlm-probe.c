// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dlm-probe LOCKSPACE: takes and gives up locks of the kernel's DLM as standard input says, a command a line.
 *
 *   lock ID RESOURCE MODE [noqueue]   ID is a letter of the caller's choice, MODE one of NL CR CW PR PW EX
 *   convert ID MODE [noqueue]
 *   value ID TEXT                     what the next conversion of ID carries, if it goes down from PW or EX
 *   unlock ID
 *
 * Each request and conversion asks for the value block. It says on standard output, a line each:
 *
 *   joined
 *   ast ID STATUS VALUE               STATUS 0 (granted) or an error's name, VALUE the block's
 *                                     text (hexadecimal if it is none), "-" if empty, "?" if not valid
 *   bast ID                           somebody waits for this lock
 *
 * Its locks end with it. End of input: leaves the lockspace, for good if nobody else on the node is in it.
 */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
/* Needs types that it does not include. */
#include <libdlm.h>

struct probe_lock {
	struct dlm_lksb block;
	char value[DLM_LVB_LEN + 1];
	char id; /* also its place in the table */
};

static struct probe_lock locks[128];
static dlm_lshandle_t space;

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "dlm-probe: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint32_t mode_of(const char *name)
{
	static const char *const names[] = { "NL", "CR", "CW", "PR", "PW", "EX" };

	for (uint32_t mode = 0; mode < sizeof(names) / sizeof(names[0]); mode++)
		if (name && strcmp(name, names[mode]) == 0)
			return mode;
	errno = EINVAL;
	fail("mode");
}

static struct probe_lock *lock_of(const char *id)
{
	if (!id || (unsigned char)*id >= sizeof(locks) / sizeof(locks[0])) {
		errno = EINVAL;
		fail("lock");
	}
	struct probe_lock *lock = &locks[(unsigned char)*id];
	lock->id = *id;
	lock->block.sb_lvbptr = lock->value;
	return lock;
}

static const char *status_text(int status)
{
	if (status == EUNLOCK)
		return "EUNLOCK";
	if (status == ECANCEL)
		return "ECANCEL";
	return status == 0 ? "0" : strerrorname_np(status);
}

static const char *value_text(const struct probe_lock *lock)
{
	static char text[2 * DLM_LVB_LEN + 3];

	if (lock->block.sb_flags & DLM_SBF_VALNOTVALID)
		return "?";
	for (size_t i = 0; i < strlen(lock->value); i++)
		if (!isgraph((unsigned char)lock->value[i])) {
			char *at = text + sprintf(text, "0x");
			for (size_t j = 0; j < DLM_LVB_LEN; j++)
				at += sprintf(at, "%02x", (unsigned char)lock->value[j]);
			return text;
		}
	return lock->value[0] ? lock->value : "-";
}

static void completed(void *argument)
{
	const struct probe_lock *lock = argument;
	printf("ast %c %s %s\n", lock->id, status_text(lock->block.sb_status), value_text(lock));
}

static void blocking(void *argument)
{
	const struct probe_lock *lock = argument;
	printf("bast %c\n", lock->id);
}

static void request(struct probe_lock *lock, const char *resource, const char *mode, const char *option, uint32_t flags)
{
	flags |= LKF_VALBLK | (option && strcmp(option, "noqueue") == 0 ? LKF_NOQUEUE : 0);
	unsigned int length = resource ? (unsigned int)strlen(resource) : 0;
	if (dlm_ls_lock(space, mode_of(mode), &lock->block, flags, resource, length, 0, completed, lock, blocking,
			NULL) != 0)
		fail("dlm_ls_lock");
}

static void obey(char *line)
{
	char *verb = strtok(line, " \n"), *id = strtok(NULL, " \n");
	struct probe_lock *lock = lock_of(id);
	char *first = strtok(NULL, " \n"), *second = strtok(NULL, " \n"), *third = strtok(NULL, " \n");

	if (strcmp(verb, "lock") == 0) {
		memset(lock->value, 0, sizeof(lock->value));
		request(lock, first, second, third, 0);
	} else if (strcmp(verb, "convert") == 0) {
		request(lock, NULL, first, second, LKF_CONVERT);
	} else if (strcmp(verb, "value") == 0) {
		memset(lock->value, 0, sizeof(lock->value));
		strncpy(lock->value, first ? first : "", DLM_LVB_LEN);
	} else if (strcmp(verb, "unlock") == 0) {
		if (dlm_ls_unlock(space, lock->block.sb_lkid, 0, &lock->block, lock) != 0)
			fail("dlm_ls_unlock");
	} else {
		errno = EINVAL;
		fail(verb);
	}
}

int main(int count, char **words)
{
	char line[256];

	if (count != 2) {
		fprintf(stderr, "usage: dlm-probe LOCKSPACE\n");
		return 2;
	}
	/* No buffers: poll() must see what is there. */
	setvbuf(stdin, NULL, _IONBF, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	space = dlm_create_lockspace(words[1], 0600);
	if (!space)
		fail("dlm_create_lockspace");
	printf("joined\n");
	int fd = dlm_ls_get_fd(space);
	for (;;) {
		struct pollfd set[] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = fd, .events = POLLIN } };
		if (poll(set, 2, -1) < 0)
			continue;
		if (set[1].revents)
			dlm_dispatch(fd);
		if (!set[0].revents)
			continue;
		if (!fgets(line, sizeof(line), stdin))
			break;
		obey(line);
	}
	/* 2: with all locks; EBUSY if another process of the node has it open, which then goes on. */
	if (dlm_release_lockspace(words[1], space, 2) != 0 && errno != EBUSY)
		fail("dlm_release_lockspace");
	return 0;
}
