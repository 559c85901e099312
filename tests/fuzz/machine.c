/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages of other members, as they may come if one of them errs: sound headers, any bodies, in any order, between
 * changes of the configuration.  Nothing may end the machine, and its state stays one that a joiner can load.
 *
 * An input is steps: a byte that says which, and what it needs.
 */
#include <endian.h>
#include <string.h>

#include "lockd/core/core.h"
#include "tests/fuzz/fuzz.h"

enum { STEP_MESSAGE, STEP_RAW, STEP_CONF, STEP_TIMERS, STEP_SETTLE, STEP_FORM, STEPS };

static const uint8_t volume[16] = "fuzz";

static const uint8_t kinds[] = {
#define KIND(n, name, text) CSV_G_##name,
	CSV_GROUP_LIST(KIND)
#undef KIND
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* sender, kind, length; body, after the volume's name where the kind has one. */
static void message(struct fuzz_bus *b, struct fuzz_in *in, bool raw)
{
	uint8_t sender = fuzz_u8(in), kind = kinds[fuzz_u8(in) % KINDS];
	size_t want = fuzz_u8(in), len = 0;
	uint8_t body[16 + 255];

	if (!raw) {
		memcpy(body, volume, sizeof(volume));
		len = sizeof(volume);
	}
	len += fuzz_take(in, body + len, want);
	fuzz_bus_message(b, 2 + (sender & 1), kind, body, len);
}

static void run(const uint8_t *data, size_t len)
{
	struct fuzz_in in = { data, len };
	struct fuzz_bus b;
	uint8_t members;

	fuzz_bus_open(&b);
	fuzz_bus_form(&b, false);
	while (fuzz_more(&in)) {
		switch (fuzz_u8(&in) % STEPS) {
		case STEP_MESSAGE:
			message(&b, &in, false);
			break;
		case STEP_RAW:
			message(&b, &in, true);
			break;
		case STEP_CONF:
			members = fuzz_u8(&in);
			fuzz_bus_conf(&b, members, members >> 4);
			break;
		case STEP_TIMERS:
			fuzz_bus_timers(&b);
			break;
		case STEP_SETTLE:
			fuzz_bus_settle(&b);
			break;
		case STEP_FORM:
			fuzz_bus_form(&b, false);
			break;
		}
	}
	fuzz_bus_settle(&b);
	fuzz_bus_check(&b);
	fuzz_bus_close(&b);
}

/* ---- seeds: a life of a mount of node 2, message by message ---- */

static uint8_t index_of(enum csv_group_kind kind)
{
	for (uint8_t i = 0; i < KINDS; i++)
		if (kinds[i] == kind)
			return i;
	return 0;
}

static void put_message(struct fuzz_out *out, uint32_t sender, enum csv_group_kind kind, struct csv_wbuf *body)
{
	fuzz_put8(out, STEP_MESSAGE);
	fuzz_put8(out, (uint8_t)(sender - 2));
	fuzz_put8(out, index_of(kind));
	fuzz_put8(out, (uint8_t)body->len);
	fuzz_put(out, body->data, body->len);
	csv_wbuf_free(body);
}

static struct csv_wbuf life(uint32_t slot, uint32_t incarnation)
{
	struct csv_wbuf w = { 0 };

	csv_put32(&w, slot);
	csv_put32(&w, incarnation);
	return w;
}

static struct csv_wbuf named(void)
{
	struct csv_wbuf w = { 0 };

	csv_put_str(&w, "fuzz");
	return w;
}

static void put_join(struct fuzz_out *out, uint32_t node)
{
	struct csv_wbuf w = named();

	csv_put64(&w, 10 + node);
	csv_put8(&w, CSV_ENGINE_CPG);
	csv_put8(&w, 0);
	put_message(out, node, CSV_G_JOIN, &w);
}

static void put_lock(struct fuzz_out *out, uint32_t node, enum csv_res_type type, uint64_t id, enum csv_mode mode)
{
	struct csv_wbuf w = { 0 };

	csv_put8(&w, (uint8_t)type);
	csv_put64(&w, id);
	csv_put8(&w, (uint8_t)mode);
	csv_put32(&w, 0);
	csv_put64(&w, 5);
	put_message(out, node, CSV_G_LOCK, &w);
}

static void put_attach(struct fuzz_out *out, uint32_t node, uint32_t slot)
{
	struct csv_wbuf w;

	put_join(out, node);
	put_lock(out, node, CSV_RES_MOUNT, 0, CSV_EX);
	put_lock(out, node, CSV_RES_SLOT, slot, CSV_EX);
	w = life(slot, 1);
	csv_put64(&w, 100 + node);
	csv_put32(&w, node);
	csv_put_str(&w, "n");
	csv_put64(&w, 6);
	put_message(out, node, CSV_G_ATTACH, &w);
	fuzz_put8(out, STEP_SETTLE);
	for (uint32_t n = 2; n <= 3; n++) {
		w = life(slot, 1);
		put_message(out, n, CSV_G_SEEN, &w);
	}
	w = (struct csv_wbuf){ 0 };
	csv_put8(&w, CSV_RES_MOUNT);
	csv_put64(&w, 0);
	csv_put8(&w, CSV_NL);
	put_message(out, node, CSV_G_UNLOCK, &w);
}

static void put_brl(struct fuzz_out *out, uint32_t node, uint8_t how)
{
	struct csv_brl l = {
		.ino = 9, .gen = 1, .node = 0, .handle = 3, .owner = node, .end = 100, .type = 1, .pid = 7
	};
	struct csv_wbuf w = { 0 };

	csv_put64(&w, 8);
	csv_put8(&w, how);
	csv_brl_put(&w, &l);
	put_message(out, node, CSV_G_BRL, &w);
}

static void put_recovery(struct fuzz_out *out, uint32_t recoverer, uint32_t slot, uint32_t round)
{
	for (unsigned replay = 0; replay < 2; replay++) {
		struct csv_wbuf w = life(slot, 1);

		csv_put32(&w, round);
		csv_put32(&w, CSV_OK);
		csv_put64(&w, 1000);
		put_message(out, recoverer, replay ? CSV_G_REPLAYED : CSV_G_FENCED, &w);
	}
}

static size_t seed(unsigned i, uint8_t *data)
{
	struct fuzz_out out = { data, 0 };
	struct csv_wbuf w;

	if (i > 3)
		return 0;
	put_attach(&out, 2, 0);
	if (i > 0)
		put_attach(&out, 3, 1);
	put_lock(&out, 2, CSV_RES_INODE, 5, CSV_EX);
	put_lock(&out, 3, CSV_RES_INODE, 5, CSV_PR);
	if (i == 1) {
		put_brl(&out, 2, CSV_BRL_HOW_SET);
		put_brl(&out, 3, CSV_BRL_HOW_WAIT_PROCESS);
	}
	if (i == 2) { /* node 3 dies, node 2 recovers its slot */
		fuzz_put8(&out, STEP_CONF);
		fuzz_put8(&out, 0x43);
		fuzz_put8(&out, STEP_FORM);
		fuzz_put8(&out, STEP_TIMERS);
		fuzz_put8(&out, STEP_SETTLE);
		put_recovery(&out, 2, 1, 1);
	}
	if (i == 3) {
		w = life(0, 1);
		csv_put64(&w, 4);
		put_message(&out, 2, CSV_G_DETACH, &w);
		w = (struct csv_wbuf){ 0 };
		csv_put32(&w, 3);
		fuzz_put8(&out, STEP_RAW);
		fuzz_put8(&out, 0);
		fuzz_put8(&out, index_of(CSV_G_EXPEL));
		fuzz_put8(&out, 4);
		fuzz_put(&out, w.data, w.len);
		csv_wbuf_free(&w);
	}
	return out.len;
}

const struct fuzz_target fuzz_machine = { "machine", run, seed };

/* ---- the state that a joiner loads, and goes on with ---- */

static void run_state(const uint8_t *data, size_t len)
{
	struct csv_wbuf piece = { 0 };
	struct fuzz_bus b;
	uint64_t vid;

	fuzz_bus_open(&b);
	fuzz_bus_form(&b, true);
	CSV_ASSERT(b.m->phase == CSV_PHASE_LOADING);
	/* The view's name comes first; with another one it would not be taken. */
	vid = htole64(b.m->start);
	csv_put32(&piece, 0);
	csv_put8(&piece, 1);
	csv_put64(&piece, 0);
	csv_put32(&piece, (uint32_t)len);
	csv_put(&piece, data, len);
	if (len >= sizeof(vid))
		memcpy(piece.data + 17, &vid, sizeof(vid));
	vid = htole64(csv_mix(0, piece.data + 17, len));
	memcpy(piece.data + 5, &vid, sizeof(vid));
	fuzz_bus_message(&b, 2, CSV_G_SNAPSHOT, piece.data, piece.len);
	csv_wbuf_free(&piece);
	fuzz_bus_settle(&b);
	fuzz_bus_timers(&b);
	fuzz_bus_settle(&b);
	fuzz_bus_check(&b);
	fuzz_bus_conf(&b, 3, 4);
	fuzz_bus_form(&b, false);
	fuzz_bus_settle(&b);
	fuzz_bus_close(&b);
}

static size_t seed_state(unsigned i, uint8_t *data)
{
	uint8_t steps[FUZZ_MAX];
	size_t len = seed(i, steps);
	struct fuzz_in in = { steps, len };
	struct csv_wbuf w = { 0 };
	struct fuzz_bus b;

	if (!len)
		return 0;
	fuzz_bus_open(&b);
	fuzz_bus_form(&b, false);
	while (fuzz_more(&in)) {
		uint8_t step = fuzz_u8(&in);

		if (step == STEP_MESSAGE || step == STEP_RAW)
			message(&b, &in, step == STEP_RAW);
		else if (step == STEP_CONF)
			fuzz_u8(&in);
		else
			fuzz_bus_settle(&b);
	}
	csv_state_write(&b.m->state, &w);
	len = w.len < FUZZ_MAX ? w.len : FUZZ_MAX;
	memcpy(data, w.data, len);
	csv_wbuf_free(&w);
	fuzz_bus_close(&b);
	return len;
}

const struct fuzz_target fuzz_state = { "state", run_state, seed_state };
