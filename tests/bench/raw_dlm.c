// SPDX-License-Identifier: GPL-2.0-or-later
/* The kernel's DLM by libdlm alone: a lockspace of its own, with nothing of csvfs between. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
/* Needs types that it does not include. */
#include <libdlm.h>

#include "tests/bench/bench.h"

#define SPACE "csvbench"

static struct {
	dlm_lshandle_t space;
	int fd;
	struct dlm_lksb block;
	bool completed, wanted;
} d;

static void on_completed(void *arg)
{
	d.completed = true;
}

static void on_wanted(void *arg)
{
	d.wanted = true;
}

static void dispatch_until(const bool *what)
{
	struct pollfd set = { .fd = d.fd, .events = POLLIN };

	while (!*what) {
		if (poll(&set, 1, 120000) != 1)
			bench_fail("the DLM is silent");
		dlm_dispatch(d.fd);
	}
}

static void wait_completed(int status)
{
	dispatch_until(&d.completed);
	if (d.block.sb_status != status)
		bench_fail("the DLM refuses");
}

static void lock(uint32_t mode, uint32_t flags, uint64_t id)
{
	char name[24];
	int len = snprintf(name, sizeof(name), "r%llu", (unsigned long long)id);

	d.completed = false;
	if (dlm_ls_lock(d.space, mode, &d.block, flags, name, (unsigned)len, 0, on_completed, NULL, on_wanted, NULL) !=
	    0)
		bench_fail("dlm_ls_lock");
	wait_completed(0);
}

static void unlock(void)
{
	d.completed = false;
	if (dlm_ls_unlock(d.space, d.block.sb_lkid, 0, &d.block, NULL) != 0)
		bench_fail("dlm_ls_unlock");
	wait_completed(EUNLOCK);
}

void dlm_open(void)
{
	d.space = dlm_create_lockspace(SPACE, 0600);
	if (!d.space)
		bench_fail("dlm_create_lockspace");
	d.fd = dlm_ls_get_fd(d.space);
}

void dlm_first(uint64_t id, size_t n)
{
	struct bench_samples s;
	uint64_t name = id * 1000000, asked;
	bool over;

	bench_begin(&s, n);
	do {
		asked = bench_now();
		lock(LKM_EXMODE, 0, name++);
		over = bench_add(&s, bench_now() - asked);
		unlock();
	} while (!over);
	bench_tell(&s);
}

void dlm_pingpong(uint64_t id, size_t n)
{
	struct bench_samples s;
	uint64_t last = 0, now;
	bool over = false;

	bench_begin(&s, n);
	d.wanted = false;
	lock(LKM_EXMODE, 0, id * 1000000);
	for (;;) {
		now = bench_now();
		over = last && bench_add(&s, (now - last) / 2);
		last = now;
		if (over)
			break;
		dispatch_until(&d.wanted);
		d.wanted = false;
		lock(LKM_NLMODE, LKF_CONVERT, 0);
		lock(LKM_EXMODE, LKF_CONVERT, 0);
	}
	unlock();
	bench_tell(&s);
}

void dlm_close(void)
{
	if (dlm_release_lockspace(SPACE, d.space, 1) != 0)
		bench_fail("dlm_release_lockspace");
}
