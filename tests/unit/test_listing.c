/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Long lists: told in full, in little memory, to somebody who reads slowly, while the state changes. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "lockd/daemon/daemon.h"
#include "tests/unit/machine_rig.h"

#define MANY 100000u
#define OUT 400u /* records that may be kept for a client */

#define INODE(n) csv_res(CSV_RES_INODE, n)

static struct rig rig;
static struct csv_daemon d;
static struct csv_peer fs; /* the volume is mounted here */
static char run_dir[64];

/* The client, in the same loop. */
static struct {
	int fd;
	unsigned at_once; /* records read at a turn */
	unsigned items, max_out;
	bool over;
	enum csv_err err;
	uint8_t *seen; /* by number */
	uint64_t (*number)(const struct csv_msg *msg);
	void (*change)(unsigned items); /* after each turn */
	qb_loop_timer_handle timer;
} cl;

static int open_all(void **state)
{
	struct csv_why why;

	rig_open(&rig, 1);
	rig_mount(&rig, 1, 0);
	snprintf(run_dir, sizeof(run_dir), "/tmp/csv-test-listing-XXXXXX");
	assert_non_null(mkdtemp(run_dir));
	memset(&d, 0, sizeof(d));
	memset(&fs, 0, sizeof(fs));
	memset(&cl, 0, sizeof(cl));
	d.listen_fd = -1;
	d.loop = qb_loop_create();
	csv_list_init(&d.peers);
	csv_list_init(&d.timers);
	csv_list_init(&d.nodes);
	csv_registry_init(&d);
	snprintf(d.conf.run_dir, sizeof(d.conf.run_dir), "%s", run_dir);
	d.machine = rig.m[0];
	fs.role = CSV_ROLE_FS;
	fs.daemon = &d;
	strcpy(fs.hello.volume, "rig");
	memcpy(fs.hello.uuid, rig_volume, sizeof(fs.hello.uuid));
	csv_list_init(&fs.out);
	csv_list_init(&fs.asked);
	csv_list_push_back(&d.peers, &fs.link);
	csv_why_init(&why);
	assert_int_equal(csv_server_open(&d, &why), CSV_OK);
	return 0;
}

static int close_all(void **state)
{
	csv_list_del(&fs.link);
	close(cl.fd);
	csv_server_close(&d);
	csv_registry_free(&d);
	qb_loop_destroy(d.loop);
	rmdir(run_dir);
	free(cl.seen);
	rig_close(&rig);
	return 0;
}

static void dial(void)
{
	struct csv_msg hello = { .type = CSV_MSG_HELLO };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/lockd.sock", run_dir);
	cl.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(cl.fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	hello.hello.version = CSV_PROTO_VERSION;
	hello.hello.role = CSV_ROLE_ADMIN;
	assert_int_equal(send(cl.fd, &hello, sizeof(hello), 0), sizeof(hello));
}

static void take(const struct csv_msg *msg)
{
	if (msg->type == CSV_MSG_WELCOME)
		return;
	if (msg->type == CSV_MSG_DONE || msg->type == CSV_MSG_ERROR) {
		cl.over = true;
		cl.err = (enum csv_err)msg->err;
		qb_loop_stop(d.loop);
		return;
	}
	assert_int_equal(msg->seq, 7);
	cl.items++;
	cl.seen[cl.number(msg)]++;
}

static void look_at_queues(void)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &d.peers) {
		const struct csv_peer *p = csv_list_entry(pos, const struct csv_peer, link);

		if (p->out_count > cl.max_out)
			cl.max_out = p->out_count;
	}
}

static void on_turn(void *arg)
{
	struct csv_msg msg;

	look_at_queues();
	for (unsigned i = 0; i < cl.at_once && !cl.over; i++) {
		ssize_t n = recv(cl.fd, &msg, sizeof(msg), MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			break;
		assert_int_equal(n, sizeof(msg));
		take(&msg);
	}
	if (cl.change)
		cl.change(cl.items);
	if (!cl.over)
		qb_loop_timer_add(d.loop, QB_LOOP_HIGH, 1, NULL, on_turn, &cl.timer);
}

/* Asks for a list and reads it, so much at a turn of the loop. */
static void list(uint32_t type, uint64_t (*number)(const struct csv_msg *msg), unsigned at_once)
{
	struct csv_msg req = { .type = type, .seq = 7 };

	free(cl.seen);
	cl.seen = calloc(2 * MANY, 1);
	assert_non_null(cl.seen);
	cl.items = cl.max_out = 0;
	cl.over = false;
	cl.number = number;
	cl.at_once = at_once;
	if (type != CSV_MSG_HANDLE_LIST)
		strcpy(req.volume.name, "rig");
	assert_int_equal(send(cl.fd, &req, sizeof(req), 0), sizeof(req));
	qb_loop_timer_add(d.loop, QB_LOOP_HIGH, 1, NULL, on_turn, &cl.timer);
	qb_loop_run(d.loop);
	assert_true(cl.over);
}

static void expect_each_once(uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		assert_int_equal(cl.seen[i], 1);
}

static uint64_t lock_number(const struct csv_msg *msg)
{
	assert_int_equal(msg->type, CSV_MSG_LOCK_ITEM);
	return msg->lock.res_type == CSV_RES_INODE ? msg->lock.res_id : 0;
}

static void many_locks(void)
{
	for (uint64_t i = 1; i <= MANY; i++) {
		rig_lock(&rig, 1, INODE(i), CSV_PR, 0);
		if (i % 100 == 0)
			rig_forget(&rig);
	}
}

static void test_locks(void **state)
{
	many_locks();
	dial();
	list(CSV_MSG_LOCK_LIST, lock_number, 1000);
	assert_int_equal(cl.err, CSV_OK);
	assert_int_equal(cl.items, MANY + 1); /* and slot.0 */
	expect_each_once(1, MANY + 1);
	assert_in_range(cl.max_out, 1, OUT);

	/* Again, and by somebody who is slow. */
	list(CSV_MSG_LOCK_LIST, lock_number, 61);
	assert_int_equal(cl.items, MANY + 1);
	assert_in_range(cl.max_out, 1, OUT);
}

static unsigned changed;

/* What was told, and what is still to be told, goes; new ones come. What stays is what the number says. */
static void change(unsigned items)
{
	uint64_t gone = ++changed;

	if (gone % 2 || gone >= MANY)
		return;
	rig_unlock(&rig, 1, INODE(gone), CSV_NL);
	rig_unlock(&rig, 1, INODE(MANY - gone), CSV_NL);
	rig_lock(&rig, 1, INODE(MANY + gone), CSV_PR, 0);
	rig_forget(&rig);
}

static void test_locks_change(void **state)
{
	many_locks();
	dial();
	changed = 0;
	cl.change = change;
	list(CSV_MSG_LOCK_LIST, lock_number, 500);
	assert_int_equal(cl.err, CSV_OK);
	assert_true(changed > 100);
	for (uint64_t i = 1; i <= MANY; i++) {
		bool went = (i % 2 == 0 && i <= changed) || ((MANY - i) % 2 == 0 && MANY - i <= changed && i != MANY);

		if (!went)
			assert_int_equal(cl.seen[i], 1);
		else
			assert_in_range(cl.seen[i], 0, 1);
	}
}

static uint64_t range_number(const struct csv_msg *msg)
{
	assert_int_equal(msg->type, CSV_MSG_BRL_ITEM);
	return msg->brl_item.brl.start / 2 + (msg->brl_item.state == CSV_BRL_HELD ? 0 : MANY);
}

static void range(uint64_t n, uint64_t owner, bool wait)
{
	struct csv_msg msg = { .type = CSV_MSG_BRL_SET };

	/* Some in each of a few files, so that pieces end within a file and between two. */
	msg.brl =
	    (struct csv_msg_brl){ .ino = 1 + n / 30000, .gen = 1, .type = F_WRLCK, .handle = owner, .owner = owner };
	msg.brl.start = msg.brl.end = 2 * n;
	msg.brl.wait = wait ? CSV_BRL_WAIT : CSV_BRL_NOWAIT;
	rig_record(&rig, 1, &msg);
	rig_forget(&rig);
}

static void test_ranges(void **state)
{
	for (uint64_t i = 0; i < MANY; i++)
		range(i, 1 + i % 3, false);
	for (uint64_t i = 0; i < 1000; i++)
		range(i, 9, true);
	dial();
	list(CSV_MSG_BRL_LIST, range_number, 300);
	assert_int_equal(cl.err, CSV_OK);
	assert_int_equal(cl.items, MANY + 1000);
	expect_each_once(0, MANY + 1000);
	assert_in_range(cl.max_out, 1, OUT);
}

static uint64_t handle_number(const struct csv_msg *msg)
{
	assert_int_equal(msg->type, CSV_MSG_HANDLE);
	return msg->handle.id;
}

static void test_handles(void **state)
{
	struct csv_msg msg = { .type = CSV_MSG_HANDLE };

	for (uint64_t i = 1; i <= 5000; i++) {
		msg.handle.id = i;
		strcpy(msg.handle.vm, i % 2 ? "a" : "b");
		assert_true(csv_registry_record(&fs, &msg));
	}
	dial();
	list(CSV_MSG_HANDLE_LIST, handle_number, 300);
	assert_int_equal(cl.items, 5000);
	expect_each_once(1, 5001);
	assert_in_range(cl.max_out, 1, OUT);
}

/* The cluster goes while somebody reads: he is told. */
static void lose_cluster(unsigned items)
{
	if (items > 1000)
		d.machine = NULL;
}

static void test_cluster_lost(void **state)
{
	many_locks();
	dial();
	cl.change = lose_cluster;
	list(CSV_MSG_LOCK_LIST, lock_number, 100);
	assert_int_equal(cl.err, CSV_NOCLUSTER);
	assert_in_range(cl.items, 1, MANY - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_locks, open_all, close_all),
		cmocka_unit_test_setup_teardown(test_locks_change, open_all, close_all),
		cmocka_unit_test_setup_teardown(test_ranges, open_all, close_all),
		cmocka_unit_test_setup_teardown(test_handles, open_all, close_all),
		cmocka_unit_test_setup_teardown(test_cluster_lost, open_all, close_all),
	};

	return cmocka_run_group_tests_name("listing", tests, NULL, NULL);
}
