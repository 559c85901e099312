/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/data/span.h"

#include "lib/log.h"

void csv_spans_init(struct csv_spans *rs)
{
	pthread_mutex_init(&rs->lock, NULL);
	csv_list_init(&rs->held);
	csv_list_init(&rs->waiting);
}

void csv_spans_destroy(struct csv_spans *rs)
{
	CSV_ASSERT(csv_list_empty(&rs->held) && csv_list_empty(&rs->waiting));
	pthread_mutex_destroy(&rs->lock);
}

static bool conflict(const struct csv_span *a, const struct csv_span *b)
{
	return (a->excl || b->excl) && a->first <= b->last && b->first <= a->last;
}

/* Whether `r` conflicts with one of [from, end) of a list. */
static bool conflicts_in(const struct csv_list *head, const struct csv_list *end, const struct csv_span *r)
{
	for (const struct csv_list *pos = head->next; pos != end; pos = pos->next)
		if (conflict(csv_list_entry(pos, const struct csv_span, link), r))
			return true;
	return false;
}

bool csv_span_lock(struct csv_spans *rs, struct csv_span *r)
{
	bool wait;

	pthread_mutex_lock(&rs->lock);
	wait = conflicts_in(&rs->held, &rs->held, r) || conflicts_in(&rs->waiting, &rs->waiting, r);
	csv_list_push_back(wait ? &rs->waiting : &rs->held, &r->link);
	pthread_mutex_unlock(&rs->lock);
	return !wait;
}

void csv_span_unlock(struct csv_spans *rs, struct csv_span *r)
{
	struct csv_list *pos, *tmp, wake = CSV_LIST_INIT(wake);

	pthread_mutex_lock(&rs->lock);
	csv_list_del(&r->link);
	csv_list_for_each_safe(pos, tmp, &rs->waiting) {
		struct csv_span *w = csv_list_entry(pos, struct csv_span, link);

		if (conflicts_in(&rs->held, &rs->held, w) || conflicts_in(&rs->waiting, pos, w))
			continue;
		csv_list_del(pos);
		csv_list_push_back(&rs->held, pos);
		csv_list_push_back(&wake, &w->wake);
	}
	pthread_mutex_unlock(&rs->lock);
	while (!csv_list_empty(&wake)) {
		struct csv_span *w = csv_list_entry(wake.next, struct csv_span, wake);

		csv_list_del(&w->wake);
		w->granted(w);
	}
}
