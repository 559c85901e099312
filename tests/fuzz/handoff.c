/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handoff messages and records as bytes: what is understood is understood again when it is written. */
#include <stdlib.h>
#include <string.h>

#include "migrate/core/table.h"
#include "migrate/core/wire.h"
#include "tests/fuzz/fuzz.h"

enum { AS_MESSAGE, AS_RECORD, AS_TABLE, FORMS };

static uint8_t first[CSV_HO_MSG_MAX], again[CSV_HO_MSG_MAX];

static void message(const uint8_t *data, size_t len)
{
	static struct csv_ho_msg m, back;
	size_t n;

	if (!csv_ho_msg_decode(&m, data, len))
		return;
	n = csv_ho_msg_encode(&m, first);
	CSV_ASSERT(n <= CSV_HO_MSG_MAX && csv_ho_msg_decode(&back, first, n));
	CSV_ASSERT(csv_ho_msg_encode(&back, again) == n && !memcmp(first, again, n));
}

static void record(const uint8_t *data, size_t len)
{
	static struct csv_handoff h, back;
	size_t n, used = csv_handoff_decode(&h, data, len);

	CSV_ASSERT(used <= len);
	if (!used)
		return;
	n = csv_handoff_encode(&h, first);
	CSV_ASSERT(n <= CSV_HO_MSG_MAX && csv_handoff_decode(&back, first, n) == n);
	CSV_ASSERT(csv_handoff_encode(&back, again) == n && !memcmp(first, again, n));
}

static void table(const uint8_t *data, size_t len)
{
	struct csv_ho_table t = { 0 }, back = { 0 };
	uint8_t *bytes;
	size_t n;

	if (csv_ho_import(&t, data, len)) {
		bytes = malloc(csv_ho_export_size(&t));
		CSV_ASSERT(bytes);
		n = csv_ho_export(&t, bytes);
		CSV_ASSERT(csv_ho_import(&back, bytes, n) && csv_ho_digest(&back) == csv_ho_digest(&t));
		free(bytes);
	} else {
		CSV_ASSERT(!t.n);
	}
	csv_ho_table_free(&t);
	csv_ho_table_free(&back);
}

static void run(const uint8_t *data, size_t len)
{
	if (!len)
		return;
	if (data[0] % FORMS == AS_MESSAGE)
		message(data + 1, len - 1);
	else if (data[0] % FORMS == AS_RECORD)
		record(data + 1, len - 1);
	else
		table(data + 1, len - 1);
}

static void plan(struct csv_ho_plan *p)
{
	memset(p, 0, sizeof(*p));
	memcpy(p->uuid, "fuzz", 4);
	strcpy(p->vm, "vm");
	p->src.nodeid = 1;
	p->dst.nodeid = 2;
	p->nfiles = 2;
	for (unsigned i = 0; i < 2; i++) {
		p->file[i].ino = 5 + i;
		p->file[i].epoch = 3;
		p->file[i].size = 1 << 20;
		strcpy(p->file[i].path, "disk.vhd");
	}
}

static size_t seed(unsigned i, uint8_t *data)
{
	static struct csv_handoff h;
	static struct csv_ho_msg m;
	size_t len;

	if (i > 4)
		return 0;
	if (i < 3) {
		memset(&m, 0, sizeof(m));
		m.kind = (enum csv_ho_msg_kind)(CSV_HO_MSG_PREPARE + i);
		plan(&m.plan);
		m.id[0] = 1;
		m.token = 9;
		len = csv_ho_msg_encode(&m, first);
	} else {
		memset(&h, 0, sizeof(h));
		plan(&h.plan);
		h.plan.id[0] = 1;
		len = csv_handoff_encode(&h, first);
	}
	if (len >= FUZZ_MAX)
		len = FUZZ_MAX - 1;
	data[0] = i < 3 ? AS_MESSAGE : i == 3 ? AS_RECORD : AS_TABLE;
	memcpy(data + 1, first, len);
	return len + 1;
}

const struct fuzz_target fuzz_handoff = { "handoff", run, seed };
