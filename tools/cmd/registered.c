/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which nodes have their key at the target: READ KEYS against the slot table, both from the LUN. */
#include <stdlib.h>
#include <string.h>

#include "fs/disk/keys.h"
#include "tools/csvadm.h"

static json_t *node_with_id(json_t *nodes, uint32_t nodeid)
{
	json_t *n;
	size_t i;

	json_array_foreach(nodes, i, n)
	{
		if (json_integer_value(json_object_get(n, "id")) == nodeid)
			return n;
	}
	return NULL;
}

/* The LUN is known: who has no slot there has no key. */
static void begin(json_t *nodes)
{
	json_t *n;
	size_t i;

	json_array_foreach(nodes, i, n)
	{
		if (json_is_null(json_object_get(n, "pr_registered")))
			json_object_set_new(n, "pr_registered", json_false());
	}
}

static void compare(json_t *nodes, json_t *seen, const struct csv_slot *s, const struct csv_pr_status *st)
{
	json_t *n = node_with_id(nodes, s->nodeid);
	const char *name;
	bool now;

	if (!n || s->state == CSV_SLOT_CLEAN || !s->pr_key)
		return;
	/* On a second volume it is only worse news that counts. */
	name = json_string_value(json_object_get(n, "name"));
	now = csv_key_among(st, s->pr_key) &&
	      (!json_object_get(seen, name) || json_is_true(json_object_get(n, "pr_registered")));
	json_object_set_new(seen, name, json_true());
	json_object_set_new(n, "pr_registered", json_boolean(now));
}

static void look(json_t *nodes, json_t *seen, const char *lun)
{
	struct csv_pr_status *st = calloc(1, sizeof(*st));
	struct csv_bdev *dev = NULL;
	struct csv_super sb;
	struct csv_slot s;

	if (st && !csv_bdev_open(lun, CSV_BDEV_RDONLY, &dev, NULL) && dev->ops->pr_status &&
	    !csv_super_read(dev, &sb, NULL) && !dev->ops->pr_status(dev, st)) {
		begin(nodes);
		for (uint32_t i = 0; i < sb.slots; i++) {
			if (!csv_slot_read(dev, &sb, i, &s, NULL))
				compare(nodes, seen, &s, st);
		}
	}
	csv_bdev_close(dev);
	free(st);
}

void csv_nodes_registered(json_t *nodes, const json_t *volumes)
{
	json_t *seen = json_object(), *v;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)volumes, i, v)
	{
		const char *state = json_string_value(json_object_get(v, "state"));
		const char *lun = json_string_value(json_object_get(v, "lun"));

		/* A LUN whose path is gone would only cost its time-out. */
		if (lun && state && (!strcmp(state, "online") || !strcmp(state, "recovering")))
			look(nodes, seen, lun);
	}
	json_decref(seen);
}
