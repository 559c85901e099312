/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lockd/dlm/params.h"

#include <stdio.h>
#include <string.h>

#include "lib/number.h"

static enum csv_fence_action action_of(const char *name)
{
	static const struct {
		const char *name;
		enum csv_fence_action action;
	} table[] = {
		{ "off", CSV_FENCE_OFF },      { "reboot", CSV_FENCE_OFF }, { "on", CSV_FENCE_ON },
		{ "monitor", CSV_FENCE_ASK },  { "status", CSV_FENCE_ASK }, { "list", CSV_FENCE_ASK },
		{ "metadata", CSV_FENCE_ASK },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (strcmp(name, table[i].name) == 0)
			return table[i].action;
	}
	return CSV_FENCE_UNKNOWN;
}

void csv_fence_param(struct csv_fence_params *p, const char *text)
{
	char key[32], value[64];
	uint64_t number;

	if (sscanf(text, " %31[^= \t#]=%63s", key, value) != 2)
		return;
	if (strcmp(key, "action") == 0)
		p->action = action_of(value);
	else if (strcmp(key, "node") == 0)
		p->nodeid = csv_number(value, 1, UINT32_MAX, &number) ? (uint32_t)number : 0;
}
