/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of what the daemon is to do after a step. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lockd/core/core.h"

static struct csv_action *add(struct csv_machine *m, enum csv_action_type type)
{
	struct csv_actions *a = m->out;
	struct csv_action *act;

	CSV_ASSERT(a);
	if (a->n == a->cap) {
		a->cap = a->cap ? a->cap * 2 : 16;
		a->list = realloc(a->list, a->cap * sizeof(*a->list));
		CSV_ASSERT(a->list);
	}
	act = &a->list[a->n++];
	memset(act, 0, sizeof(*act));
	act->type = type;
	return act;
}

void csv_actions_clear(struct csv_actions *a)
{
	for (size_t i = 0; i < a->n; i++)
		free(a->list[i].data);
	a->n = 0;
}

void csv_actions_free(struct csv_actions *a)
{
	csv_actions_clear(a);
	free(a->list);
	*a = (struct csv_actions){ 0 };
}

void csv_act_send(struct csv_machine *m, const void *data, size_t len)
{
	struct csv_action *a = add(m, CSV_ACT_SEND);

	CSV_ASSERT(len && len <= CSV_MACHINE_SEND_MAX);
	a->data = malloc(len);
	CSV_ASSERT(a->data);
	memcpy(a->data, data, len);
	a->len = len;
}

void csv_act_client(struct csv_machine *m, uint64_t client, const struct csv_msg *msg)
{
	struct csv_action *a = add(m, CSV_ACT_CLIENT);

	a->client = client;
	a->msg = *msg;
}

void csv_act_close(struct csv_machine *m, uint64_t client)
{
	add(m, CSV_ACT_CLOSE)->client = client;
}

void csv_act_rejoin(struct csv_machine *m)
{
	add(m, CSV_ACT_REJOIN);
}

void csv_act_timer(struct csv_machine *m, uint64_t timer, unsigned ms)
{
	struct csv_action *a = add(m, CSV_ACT_TIMER);

	a->timer = timer;
	a->ms = ms;
}

void csv_act_dlm(struct csv_machine *m, const struct csv_dlm_order *order)
{
	add(m, CSV_ACT_DLM)->dlm = *order;
}

void csv_act_kill(struct csv_machine *m, uint32_t nodeid)
{
	add(m, CSV_ACT_KILL)->nodeid = nodeid;
}

void csv_act_log(struct csv_machine *m, enum csv_log_level level, const char *fmt, ...)
{
	struct csv_action *a = add(m, CSV_ACT_LOG);
	va_list ap;

	a->level = (int)level;
	va_start(ap, fmt);
	vsnprintf(a->text, sizeof(a->text), fmt, ap);
	va_end(ap);
}
