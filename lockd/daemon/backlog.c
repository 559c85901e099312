/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lockd/daemon/backlog.h"

void csv_backlog_took(struct csv_backlog *b, size_t len)
{
	b->taken += len + CSV_BACKLOG_HEADER;
}

void csv_backlog_ring_empty(struct csv_backlog *b)
{
	if (b->state != CSV_BACKLOG_CLEAN)
		return;
	if (b->taken >= CSV_BACKLOG_LIMIT)
		b->state = CSV_BACKLOG_BEHIND;
	b->taken = 0;
}

bool csv_backlog_ask(struct csv_backlog *b, bool own_back)
{
	csv_backlog_ring_empty(b);
	if (b->state == CSV_BACKLOG_ASKED && own_back) {
		b->state = b->taken < CSV_BACKLOG_LIMIT ? CSV_BACKLOG_CLEAN : CSV_BACKLOG_BEHIND;
		b->taken = 0;
	}
	if (b->state == CSV_BACKLOG_BEHIND) {
		b->state = CSV_BACKLOG_ASKED;
		b->taken = 0;
	}
	return b->state == CSV_BACKLOG_ASKED;
}
