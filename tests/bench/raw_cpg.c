// SPDX-License-Identifier: GPL-2.0-or-later
/* What the messages alone cost: a CPG group of its own, with nothing in it but two of us. */
#include <corosync/cpg.h>
#include <poll.h>
#include <string.h>

#include "tests/bench/bench.h"

struct ping {
	uint64_t id;
	uint32_t from; /* node id */
	uint32_t padding;
};

static struct {
	cpg_handle_t handle;
	int fd;
	uint32_t nodeid;
	size_t members;
	bool came; /* a message, the last one is: */
	struct ping last;
} c;

static void on_deliver(cpg_handle_t h, const struct cpg_name *name, uint32_t nodeid, uint32_t pid, void *msg,
		       size_t len)
{
	if (len != sizeof(c.last))
		bench_fail("a strange message");
	memcpy(&c.last, msg, len);
	c.came = true;
}

static void on_confchg(cpg_handle_t h, const struct cpg_name *name, const struct cpg_address *member, size_t nmember,
		       const struct cpg_address *left, size_t nleft, const struct cpg_address *joined, size_t njoined)
{
	c.members = nmember;
}

static void dispatch(void)
{
	struct pollfd set = { .fd = c.fd, .events = POLLIN };

	if (poll(&set, 1, 60000) != 1)
		bench_fail("corosync is silent");
	if (cpg_dispatch(c.handle, CS_DISPATCH_ONE) != CS_OK)
		bench_fail("cpg_dispatch");
}

static void send_ping(uint64_t id)
{
	struct ping ping = { .id = id, .from = c.nodeid };
	struct iovec iov = { &ping, sizeof(ping) };
	cs_error_t rc;

	do
		rc = cpg_mcast_joined(c.handle, CPG_TYPE_AGREED, &iov, 1);
	while (rc == CS_ERR_TRY_AGAIN);
	if (rc != CS_OK)
		bench_fail("cpg_mcast_joined");
}

/* Waits for a message of this measurement that we, or the other one, have sent. */
static void wait_ping(uint64_t id, bool own)
{
	do {
		c.came = false;
		dispatch();
	} while (!c.came || c.last.id != id || (c.last.from == c.nodeid) != own);
}

void cpg_open(unsigned members)
{
	struct cpg_name name = { .length = 5, .value = "bench" };
	cpg_callbacks_t callbacks = { on_deliver, on_confchg };

	if (cpg_initialize(&c.handle, &callbacks) != CS_OK || cpg_join(c.handle, &name) != CS_OK ||
	    cpg_fd_get(c.handle, &c.fd) != CS_OK || cpg_local_get(c.handle, &c.nodeid) != CS_OK)
		bench_fail("corosync cannot be reached");
	while (c.members < members)
		dispatch();
}

void cpg_own(size_t n)
{
	struct bench_samples s;
	uint64_t sent;

	bench_begin(&s, n);
	do {
		sent = bench_now();
		send_ping(UINT64_MAX);
		wait_ping(UINT64_MAX, true);
	} while (!bench_add(&s, bench_now() - sent));
	bench_tell(&s);
}

void cpg_pingpong(uint64_t id, size_t n, bool a)
{
	struct bench_samples s;
	uint64_t last = 0, now;
	bool over = false;

	bench_begin(&s, n);
	if (a)
		send_ping(id);
	while (!over) {
		wait_ping(id, false);
		now = bench_now();
		over = last && bench_add(&s, (now - last) / 2);
		last = now;
		/* Who began hears the last one. */
		if (!over || !a)
			send_ping(id);
	}
	bench_tell(&s);
}
