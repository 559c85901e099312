/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/source/driver.h"

static const char *const step_names[CSV_STEP_COUNT] = {
	"connect_create", "memory_copy", "final_copy", "storage_handoff", "online", "cleanup_announce",
};

static json_t *steps_json(const struct csv_migrate_report *r)
{
	json_t *steps = json_array();

	for (unsigned i = 0; i < CSV_STEP_COUNT; i++) {
		json_t *s = json_object();

		if (r->end[i] <= 0) {
			json_decref(s);
			continue;
		}
		json_object_set_new(s, "name", json_string(step_names[i]));
		json_object_set_new(s, "start_ms", json_real(r->start[i]));
		json_object_set_new(s, "end_ms", json_real(r->end[i]));
		json_array_append_new(steps, s);
	}
	return steps;
}

static json_t *outcome_json(enum csv_ho_outcome outcome)
{
	return outcome == CSV_HO_MOVED	? json_string("moved")
	       : outcome == CSV_HO_KEPT ? json_string("kept")
					: json_null();
}

/* The guest's own gap and the bridge's table are measured by whoever sees both nodes. */
json_t *csv_migrate_json(const struct csv_migrate_opts *o, const struct csv_migrate_report *r)
{
	const json_t *h = r->handoff.json;
	json_t *out = json_object();

	json_object_set_new(out, "vm", json_string(o->vm));
	json_object_set_new(out, "from", h ? json_incref(json_object_get(h, "from")) : json_null());
	json_object_set_new(out, "to", json_string(o->to));
	json_object_set_new(out, "driver", json_string("qmp"));
	json_object_set_new(out, "outcome", outcome_json(r->outcome));
	json_object_set_new(out, "steps", steps_json(r));
	json_object_set_new(out, "blackout_ms", r->blackout_ms > 0 ? json_real(r->blackout_ms) : json_null());
	json_object_set_new(out, "storage_step_ms",
			    r->storage_step_ms > 0 ? json_real(r->storage_step_ms) : json_null());
	json_object_set_new(out, "guest_gap_ms", json_null());
	json_object_set_new(out, "bytes", json_integer((json_int_t)r->bytes));
	json_object_set_new(out, "mac_relearned", json_null());
	json_object_set_new(out, "handoff", h ? json_incref(r->handoff.json) : json_null());
	return out;
}
