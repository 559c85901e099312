/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lock=local: this node is alone, every request is granted at once, and in EX, so
 * that no lock ever has to go to NL to become more.
 */
#include "fs/lock/engine.h"

#include <stdlib.h>

static enum csv_err local_lock(struct csv_engine *e, struct csv_res res, enum csv_mode mode, bool noqueue)
{
	e->up.granted(e->up.arg, res, CSV_EX);
	return CSV_OK;
}

static enum csv_err local_unlock(struct csv_engine *e, struct csv_res res, enum csv_mode keep)
{
	return CSV_OK;
}

static void local_close(struct csv_engine *e)
{
	free(e);
}

static const struct csv_engine_ops local_ops = { "local", local_lock, local_unlock, local_close, true };

enum csv_err csv_engine_local(struct csv_engine **out)
{
	struct csv_engine *e = calloc(1, sizeof(*e));

	if (!e)
		return CSV_NOMEM;
	e->ops = &local_ops;
	*out = e;
	return CSV_OK;
}
