/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Records of csvfs, as csvlockd gets them over its socket: sound in size, and in nothing else.  Two clients speak, one
 * of them may go and come again; the machine is alone in the group, so all that it sends comes back at once.
 *
 * An input is steps: client and kind of record, how many bytes of it, which are laid over one that is nearly sound.
 */
#include <fcntl.h>
#include <string.h>

#include "lockd/core/core.h"
#include "tests/fuzz/fuzz.h"

static const uint8_t types[] = {
	CSV_MSG_HELLO,	 CSV_MSG_LOCK,	    CSV_MSG_UNLOCK,	CSV_MSG_ATTACH,	     CSV_MSG_DIRTY,
	CSV_MSG_DETACH,	 CSV_MSG_REATTACH,  CSV_MSG_DECLARED,	CSV_MSG_DONE,	     CSV_MSG_IN_USE,
	CSV_MSG_BRL_SET, CSV_MSG_BRL_TEST,  CSV_MSG_FENCE_DONE, CSV_MSG_REPLAY_DONE, CSV_MSG_BRL_DROP,
	CSV_MSG_HO_FILE, CSV_MSG_HO_ANSWER, CSV_MSG_BRL_CANCEL, CSV_MSG_SHUTDOWN,
};
#define TYPES (sizeof(types) / sizeof(types[0]))

enum { STEP_GONE = TYPES, STEP_TIMERS, STEP_DLM, STEPS };

static struct csv_msg nearly_sound(uint8_t type, uint64_t seq)
{
	struct csv_msg msg = { .type = type, .seq = seq };

	switch (type) {
	case CSV_MSG_HELLO:
		msg.hello.version = CSV_PROTO_VERSION;
		msg.hello.role = CSV_ROLE_FS;
		strcpy(msg.hello.volume, "fuzz");
		msg.hello.engine = CSV_ENGINE_CPG;
		break;
	case CSV_MSG_LOCK:
		msg.lock.res_type = CSV_RES_MOUNT;
		msg.lock.mode = CSV_EX;
		break;
	case CSV_MSG_ATTACH:
	case CSV_MSG_REATTACH:
	case CSV_MSG_DIRTY:
		msg.slot.incarnation = 1;
		break;
	case CSV_MSG_BRL_SET:
	case CSV_MSG_BRL_TEST:
		msg.brl.type = F_WRLCK;
		msg.brl.end = 10;
		break;
	default:
		break;
	}
	return msg;
}

static void record(struct fuzz_bus *b, struct fuzz_in *in, uint64_t client, uint8_t type, uint64_t seq)
{
	struct csv_msg msg = nearly_sound(type, seq);
	struct csv_event ev = { .type = CSV_EV_CLIENT, .client = client, .msg = &msg };
	uint8_t from = fuzz_u8(in), n = fuzz_u8(in) % 64;

	if (type == CSV_MSG_HELLO && from & 1) {
		msg.hello.engine = CSV_ENGINE_DLM;
		msg.hello.dlm = 1;
	}
	fuzz_take(in, msg.raw + from, n);
	/* The server lets no other through. */
	if (type == CSV_MSG_HELLO && (msg.hello.engine >= CSV_ENGINES || !memchr(msg.hello.volume, 0, 64)))
		return;
	fuzz_bus_step(b, &ev);
}

static void dlm_says(struct fuzz_bus *b, struct fuzz_in *in)
{
	struct csv_dlm_saying s = { .what = (enum csv_dlm_said)(fuzz_u8(in) % 4) };
	struct csv_event ev = { .type = CSV_EV_DLM, .dlm = &s };

	s.res = csv_res((enum csv_res_type)(fuzz_u8(in) % CSV_RES_TYPES), fuzz_u8(in));
	s.mode = (enum csv_mode)(fuzz_u8(in) % (CSV_EX + 1));
	s.seq = fuzz_u8(in);
	fuzz_bus_step(b, &ev);
}

static void run(const uint8_t *data, size_t len)
{
	struct csv_event gone = { .type = CSV_EV_CLIENT_GONE };
	uint64_t client[2] = { 1, 2 }, next = 2, seq = 0;
	struct fuzz_in in = { data, len };
	struct fuzz_bus b;

	fuzz_bus_open(&b);
	fuzz_bus_form(&b, false);
	while (fuzz_more(&in)) {
		uint8_t step = fuzz_u8(&in), which = step >> 7;

		step = (uint8_t)((step & 127) % STEPS);
		if (step == STEP_GONE) {
			gone.client = client[which];
			fuzz_bus_step(&b, &gone);
			client[which] = ++next;
		} else if (step == STEP_TIMERS) {
			fuzz_bus_timers(&b);
		} else if (step == STEP_DLM) {
			dlm_says(&b, &in);
		} else {
			record(&b, &in, client[which], types[step], ++seq);
		}
		fuzz_bus_settle(&b);
	}
	fuzz_bus_check(&b);
	fuzz_bus_close(&b);
}

static void put(struct fuzz_out *out, uint8_t type, const void *over, uint8_t at, uint8_t len)
{
	for (uint8_t i = 0; i < TYPES; i++)
		if (types[i] == type)
			fuzz_put8(out, i);
	fuzz_put8(out, at);
	fuzz_put8(out, len);
	fuzz_put(out, over, len);
}

/* Mounted, with each engine, locks and a range, and unmounted or gone. */
static size_t seed(unsigned i, uint8_t *data)
{
	struct csv_msg_lock slot = { .res_type = CSV_RES_SLOT, .mode = CSV_EX };
	struct csv_msg_lock inode = { .res_type = CSV_RES_INODE, .mode = CSV_PR, .res_id = 5 };
	struct fuzz_out out = { data, 0 };

	if (i > 2)
		return 0;
	put(&out, CSV_MSG_HELLO, "", i == 1, 0);
	put(&out, CSV_MSG_LOCK, "", 0, 0);
	put(&out, CSV_MSG_LOCK, &slot, 0, 16);
	put(&out, CSV_MSG_ATTACH, "", 0, 0);
	put(&out, CSV_MSG_LOCK, &inode, 0, 16);
	put(&out, CSV_MSG_BRL_SET, "", 0, 0);
	if (i == 2) {
		fuzz_put8(&out, STEP_GONE);
		put(&out, CSV_MSG_HELLO, "", 0, 0);
		put(&out, CSV_MSG_LOCK, "", 0, 0);
	} else {
		put(&out, CSV_MSG_DETACH, "", 0, 0);
	}
	return out.len;
}

const struct fuzz_target fuzz_frames = { "frames", run, seed };
