// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Locks through csvlockd, by its client library: a mount of a volume that has no disk. It attaches a slot as a mounter
 * does, under the lock `mount`: giving that up says that the slot table was looked at. It carries out recovery orders
 * by saying so. All is done in the client's thread, as each record comes.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lockd/client/client.h"
#include "tests/bench/bench.h"

#define WAIT_MS 120000 /* of everything: in the lab an attach takes its time */
#define IDS 1000000u   /* resources of one measurement */

static struct {
	struct csv_client *client;
	sem_t mounting, attached, done;
	pthread_mutex_t mutex; /* covers the rest */
	struct bench_samples samples;
	bool pingpong, wanted, held;
	uint64_t id, asked, seq; /* the lock in question; when it was asked for or, in a ping-pong, granted last */
	struct csv_msg_slot slot;
} e;

static void send_msg(struct csv_msg *msg)
{
	if (csv_client_send(e.client, msg) != CSV_OK)
		bench_fail("csvlockd does not take a record");
}

static void send_lock_of(uint32_t res_type, uint64_t res_id, uint32_t type, uint32_t mode)
{
	struct csv_msg msg = { .type = type, .seq = ++e.seq };

	msg.lock.res_type = res_type;
	msg.lock.res_id = res_id;
	msg.lock.mode = mode;
	send_msg(&msg);
}

static void send_lock(uint32_t type, uint32_t mode)
{
	send_lock_of(CSV_RES_INODE, e.id, type, mode);
}

static void release(void)
{
	e.held = e.wanted = false;
	send_lock(CSV_MSG_UNLOCK, CSV_NL);
}

/* Alone: the next resource. */
static void granted_first(uint64_t now)
{
	bool last = bench_add(&e.samples, now - e.asked);

	release();
	if (last) {
		sem_post(&e.done);
		return;
	}
	e.id++;
	e.asked = bench_now();
	send_lock(CSV_MSG_LOCK, CSV_EX);
}

static void give_way(void)
{
	release();
	send_lock(CSV_MSG_LOCK, CSV_EX);
}

/* In a pair: from grant to grant there are two handovers. The last grant is given up without being asked for. */
static void granted_pingpong(uint64_t now)
{
	bool last = e.asked && bench_add(&e.samples, (now - e.asked) / 2);

	e.asked = now;
	if (last) {
		release();
		sem_post(&e.done);
	} else if (e.wanted) {
		give_way();
	}
}

static void on_lock(const struct csv_msg *msg)
{
	uint64_t now = bench_now();

	pthread_mutex_lock(&e.mutex);
	if (msg->lock.res_id == e.id && msg->type == CSV_MSG_GRANT && msg->seq == e.seq) {
		e.held = true;
		(e.pingpong ? granted_pingpong : granted_first)(now);
	} else if (msg->lock.res_id == e.id && msg->type == CSV_MSG_BAST) {
		e.wanted = true;
		if (e.held)
			give_way();
	}
	pthread_mutex_unlock(&e.mutex);
}

static void answer(const struct csv_msg *order, uint32_t type)
{
	struct csv_msg msg = { .type = type, .seq = order->seq };

	msg.slot.slot = order->slot.slot;
	msg.slot.incarnation = order->slot.incarnation;
	send_msg(&msg);
}

static void on_record(void *arg, const struct csv_msg *msg)
{
	if (msg->type == CSV_MSG_GRANT && msg->lock.res_type == CSV_RES_MOUNT)
		sem_post(&e.mounting);
	else if ((msg->type == CSV_MSG_GRANT || msg->type == CSV_MSG_BAST) && msg->lock.res_type == CSV_RES_INODE)
		on_lock(msg);
	else if (msg->type == CSV_MSG_ATTACHED || msg->type == CSV_MSG_DONE)
		sem_post(&e.attached);
	else if (msg->type == CSV_MSG_FENCE)
		answer(msg, CSV_MSG_FENCE_DONE);
	else if (msg->type == CSV_MSG_REPLAY)
		answer(msg, CSV_MSG_REPLAY_DONE);
	else if (msg->type == CSV_MSG_DIRTY)
		answer(msg, CSV_MSG_DONE);
	else if (msg->type == CSV_MSG_ERROR || msg->type == CSV_MSG_FENCED || msg->type == CSV_MSG_DENY)
		bench_fail(msg->type == CSV_MSG_ERROR ? msg->text : csv_msg_name(msg->type));
}

static void on_lost(void *arg)
{
	bench_fail("the connection to csvlockd is lost");
}

static void wait_for(sem_t *sem, const char *what)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_MS / 1000;
	if (sem_timedwait(sem, &until) != 0)
		bench_fail(what);
}

void engine_open(const char *engine, unsigned slot, const char *cluster)
{
	struct csv_client_events events = { .record = on_record, .lost = on_lost };
	struct csv_msg_hello hello = { .version = CSV_PROTO_VERSION, .role = CSV_ROLE_FS };
	struct csv_msg msg = { .type = CSV_MSG_ATTACH };
	struct csv_msg_welcome welcome;
	struct csv_why why = { 0 };

	memset(hello.uuid, 0xbe, sizeof(hello.uuid));
	snprintf(hello.volume, sizeof(hello.volume), "bench");
	snprintf(hello.cluster, sizeof(hello.cluster), "%s", cluster);
	snprintf(hello.mount, sizeof(hello.mount), "/run/bench");
	snprintf(hello.lun, sizeof(hello.lun), "none");
	hello.engine = strcmp(engine, "dlm") ? CSV_ENGINE_CPG : CSV_ENGINE_DLM;
	sem_init(&e.mounting, 0, 0);
	sem_init(&e.attached, 0, 0);
	sem_init(&e.done, 0, 0);
	pthread_mutex_init(&e.mutex, NULL);
	if (csv_client_open(NULL, &hello, WAIT_MS, &e.client, &welcome, &why) != CSV_OK)
		bench_fail("csvlockd cannot be reached");
	if (csv_client_start(e.client, &events) != CSV_OK)
		bench_fail("no thread");
	send_lock_of(CSV_RES_MOUNT, 0, CSV_MSG_LOCK, CSV_EX);
	wait_for(&e.mounting, "the lock `mount` cannot be had");
	msg.seq = ++e.seq;
	msg.slot.slot = slot;
	msg.slot.incarnation = (uint32_t)time(NULL) & 0x7fffffff;
	e.slot = msg.slot;
	send_msg(&msg);
	wait_for(&e.attached, "no ATTACHED");
	send_lock_of(CSV_RES_MOUNT, 0, CSV_MSG_UNLOCK, CSV_NL);
}

static void begin(uint64_t id, size_t n, bool pingpong)
{
	pthread_mutex_lock(&e.mutex);
	bench_begin(&e.samples, n);
	e.pingpong = pingpong;
	e.id = id * IDS;
	e.asked = pingpong ? 0 : bench_now();
	send_lock(CSV_MSG_LOCK, CSV_EX);
	pthread_mutex_unlock(&e.mutex);
	wait_for(&e.done, "a measurement does not end");
	bench_tell(&e.samples);
}

void engine_first(uint64_t id, size_t n)
{
	begin(id, n, false);
}

void engine_pingpong(uint64_t id, size_t n)
{
	begin(id, n, true);
}

void engine_close(void)
{
	struct csv_msg msg = { .type = CSV_MSG_DETACH, .seq = ++e.seq };

	msg.slot = e.slot;
	send_msg(&msg);
	wait_for(&e.attached, "DETACH is not done");
}
