/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What csv-dlm-space says, true or not, while csvlockd orders what it may: each lock asked for once, given up only when
 * it is there or asked for.  A helper that is found to be broken is replaced, as the daemon does.
 */
#include <string.h>

#include "lockd/engine/dlm_table.h"
#include "tests/fuzz/fuzz.h"

#define LOCKS 4u
#define SENT 32u

enum { STEP_LOCK, STEP_UNLOCK, STEP_ANSWER, STEP_EVENT, STEP_AGAIN, STEP_DROP, STEPS };

struct world {
	struct csv_dlm_table *t;
	bool has[LOCKS]; /* holds it, or asks for it */
	struct csv_dlm_req sent[SENT];
	unsigned nsent;
	bool broken;
	uint64_t seq;
};

static struct csv_res res_of(unsigned i)
{
	return csv_res(CSV_RES_INODE, i);
}

static void on_send(void *arg, const struct csv_dlm_req *req)
{
	struct world *w = arg;

	CSV_ASSERT(memchr(req->name, 0, sizeof(req->name)) || req->op != CSV_DLM_LOCK);
	w->sent[w->nsent++ % SENT] = *req;
}

static void on_say(void *arg, const struct csv_dlm_saying *s)
{
	struct world *w = arg;

	CSV_ASSERT(s->res.type == CSV_RES_INODE && s->res.id < LOCKS);
	if (s->what == CSV_DLM_SAID_DENY || s->what == CSV_DLM_SAID_LOST)
		w->has[s->res.id] = false;
}

static void on_broken(void *arg, const char *what, unsigned status)
{
	struct world *w = arg;

	w->broken = true;
}

static void order(struct world *w, struct fuzz_in *in, bool lock)
{
	unsigned i = fuzz_u8(in) % LOCKS;
	struct csv_dlm_order o = { .verb = lock ? CSV_DLM_DO_LOCK : CSV_DLM_DO_UNLOCK, .res = res_of(i) };

	if (w->has[i] == lock)
		return;
	w->has[i] = lock;
	o.mode = lock ? (enum csv_mode)(1 + fuzz_u8(in) % CSV_EX) : CSV_NL;
	o.noqueue = lock && fuzz_u8(in) & 1;
	o.seq = ++w->seq;
	o.client = 1;
	csv_dlm_table_order(w->t, &o);
}

/* To something that was asked, or of anything. */
static void event(struct world *w, struct fuzz_in *in, bool answer)
{
	struct csv_dlm_res r = { .event = answer ? CSV_DLM_DONE : fuzz_u8(in) % 6 };
	const struct csv_dlm_req *req = &w->sent[fuzz_u8(in) % SENT];

	r.cookie = answer || fuzz_u8(in) & 1 ? req->cookie : fuzz_u64(in);
	r.mode = answer && req->op == CSV_DLM_LOCK ? req->mode : fuzz_u8(in);
	r.status = fuzz_u8(in);
	csv_dlm_table_event(w->t, &r);
}

static void step(struct world *w, struct fuzz_in *in)
{
	const struct csv_dlm_order drop = { .verb = CSV_DLM_DO_DROP };

	switch (fuzz_u8(in) % STEPS) {
	case STEP_LOCK:
		order(w, in, true);
		break;
	case STEP_UNLOCK:
		order(w, in, false);
		break;
	case STEP_ANSWER:
		event(w, in, true);
		break;
	case STEP_EVENT:
		event(w, in, false);
		break;
	case STEP_AGAIN:
		w->broken = true;
		break;
	case STEP_DROP:
		csv_dlm_table_order(w->t, &drop);
		memset(w->has, 0, sizeof(w->has));
		break;
	}
	if (w->broken)
		csv_dlm_table_again(w->t);
	w->broken = false;
}

static void run(const uint8_t *data, size_t len)
{
	struct world w = { 0 };
	struct csv_dlm_host host = { .send = on_send, .say = on_say, .broken = on_broken, .arg = &w };
	struct fuzz_in in = { data, len };

	w.t = csv_dlm_table_new(&host);
	while (fuzz_more(&in))
		step(&w, &in);
	csv_dlm_table_free(w.t);
}

static size_t seed(unsigned i, uint8_t *data)
{
	static const uint8_t steps[] = {
		STEP_LOCK,   1, CSV_EX - 1, 0, STEP_ANSWER, 0, 0, STEP_UNLOCK, 1,
		STEP_ANSWER, 1, 0,	    0, STEP_LOCK,   2, 0, 1,
	};

	if (i > 0)
		return 0;
	memcpy(data, steps, sizeof(steps));
	return sizeof(steps);
}

const struct fuzz_target fuzz_dlm = { "dlm", run, seed };
