/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/tgt.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define ADM "tgtadm -C 7 --lld iscsi "

static char image[] = "/tmp/csv-tgt-XXXXXX";
static pid_t pid;

static bool loopback_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &ifr) == 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

bool tgt_enter(uint64_t image_size)
{
	int fd;

	if (access("/usr/sbin/tgtd", X_OK) || unshare(CLONE_NEWNET | CLONE_NEWNS))
		return false;
	/* tgtd's control socket lies in /run: a private one. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("tmpfs", "/run", "tmpfs", 0, NULL) ||
	    mkdir("/run/tgtd", 0700) || !loopback_up())
		return false;
	fd = mkstemp(image);
	if (fd < 0 || ftruncate(fd, (off_t)image_size))
		return false;
	close(fd);
	return true;
}

__attribute__((format(printf, 1, 2))) static int run(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	return system(cmd);
}

static void wait_for_answer(void)
{
	for (int i = 0; i < 100; i++) {
		if (run(ADM "--op show --mode system >/dev/null 2>&1") == 0)
			return;
		usleep(50000);
	}
	fail_msg("tgtd does not answer");
}

void tgt_start(void)
{
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, 1);
		dup2(null, 2);
		execl("/usr/sbin/tgtd", "tgtd", "-f", "-C", "7", "--iscsi", "portal=127.0.0.1:3260", (char *)NULL);
		_exit(127);
	}
	wait_for_answer();
	assert_int_equal(run(ADM "--op new --mode target --tid 1 -T " TGT_IQN), 0);
	assert_int_equal(
	    run(ADM "--op new --mode logicalunit --tid 1 --lun 1 --bstype rdwr --bsoflags direct -b %s", image), 0);
	assert_int_equal(run(ADM "--op update --mode logicalunit --tid 1 --lun 1 --params thin_provisioning=1"), 0);
	assert_int_equal(run(ADM "--op bind --mode target --tid 1 -I ALL"), 0);
}

void tgt_disguise(void)
{
	assert_int_equal(run(ADM "--op update --mode logicalunit --tid 1 --lun 1 --params vendor_id=OTHER"), 0);
}

void tgt_kill(void)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	pid = 0;
}

void tgt_freeze(void)
{
	kill(pid, SIGSTOP);
}

void tgt_thaw(void)
{
	kill(pid, SIGCONT);
}

void tgt_chap(const char *user, const char *secret)
{
	assert_int_equal(run(ADM "--op new --mode account --user %s --password %s", user, secret), 0);
	assert_int_equal(run(ADM "--op bind --mode account --tid 1 --user %s", user), 0);
}

int tgt_image(void)
{
	return open(image, O_RDWR | O_CLOEXEC);
}

void tgt_leave(void)
{
	tgt_kill();
	unlink(image);
}
