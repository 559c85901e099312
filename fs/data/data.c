/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The data path of a mount: its making and end, and gates for whole operations on a map. */
#include <stdlib.h>

#include "fs/data/data_int.h"

enum csv_err csv_data_new(struct csv_fs *fs, struct csv_workq *workq, struct csv_data **out)
{
	struct csv_data *d = calloc(1, sizeof(*d));

	if (!d)
		return CSV_NOMEM;
	d->fs = fs;
	d->workq = workq;
	pthread_mutex_init(&d->lock, NULL);
	for (unsigned i = 0; i < FILE_HASH; i++)
		csv_list_init(&d->hash[i]);
	csv_data_attach(d);
	*out = d;
	return CSV_OK;
}

void csv_data_free(struct csv_data *d)
{
	if (!d)
		return;
	if (d->fs->journal)
		csv_journal_on_lost(d->fs, NULL, NULL);
	file_drop_all(d);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

void csv_data_stats(struct csv_data *d, struct csv_data_stats *st)
{
	*st = (struct csv_data_stats){
		.reads = atomic_load(&d->reads),
		.writes = atomic_load(&d->writes),
		.bytes_read = atomic_load(&d->bytes_read),
		.bytes_written = atomic_load(&d->bytes_written),
		.converted = atomic_load(&d->converted),
		.zeroed = atomic_load(&d->zeroed),
		.flushes = atomic_load(&d->flushes),
	};
}

static void gate_work(struct csv_work *work)
{
	struct csv_data_gate *g = csv_list_entry(work, struct csv_data_gate, work);

	g->go(g);
}

static void gate_granted(struct csv_span *r)
{
	struct csv_data_gate *g = csv_list_entry(r, struct csv_data_gate, span);

	csv_workq_add(g->d->workq, &g->work);
}

void csv_data_gate_open(struct csv_data *d, struct csv_data_gate *g, uint64_t off, uint64_t len)
{
	uint64_t last = len > UINT64_MAX - off ? UINT64_MAX : (off + len - 1) / CSV_BLOCK_SIZE;

	g->d = d;
	g->work.fn = gate_work;
	g->span =
	    (struct csv_span){ .first = off / CSV_BLOCK_SIZE, .last = last, .excl = true, .granted = gate_granted };
	file_begin(g->file);
	if (csv_span_lock(&g->file->spans, &g->span))
		csv_workq_add(d->workq, &g->work);
}

void csv_data_gate_close(struct csv_data_gate *g)
{
	csv_span_unlock(&g->file->spans, &g->span);
	file_end(g->file);
}
