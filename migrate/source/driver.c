/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/source/driver_int.h"

#define MEMORY_MS 3600000
#define BLACKOUT_MS 1000

static double since(const struct drive *d)
{
	return csv_qmp_now() - d->from;
}

static void begin(struct drive *d, enum csv_step_name s)
{
	d->r->start[s] = since(d);
}

static void end(struct drive *d, enum csv_step_name s)
{
	d->r->end[s] = since(d);
}

static const char *run_dir(const struct csv_migrate_opts *o)
{
	const char *env = getenv("CSV_RUN_DIR");

	return o->run_dir ? o->run_dir : env && *env ? env : "/run/csvfs";
}

const char *csv_drive_monitor(const struct drive *d, char path[4096])
{
	snprintf(path, 4096, "%s/vm/%s.qmp", run_dir(d->o), d->o->vm);
	return path;
}

bool csv_drive_guest_runs(struct drive *d)
{
	json_t *status = NULL;
	bool yes;

	if (!d->q || csv_qmp_run(d->q, "query-status", NULL, QMP_MS, &status, NULL))
		return false;
	yes = json_is_true(json_object_get(status, "running"));
	json_decref(status);
	return yes;
}

/* ---- 1: prepare ---- */

static enum csv_err find_definition(struct drive *d)
{
	char path[4096];
	size_t n;
	FILE *f;

	if (d->o->definition) {
		snprintf(d->definition, sizeof(d->definition), "%s", d->o->definition);
		return CSV_OK;
	}
	snprintf(path, sizeof(path), "%s/vm/%s.definition", run_dir(d->o), d->o->vm);
	f = fopen(path, "re");
	if (!f)
		return csv_fail(d->why, CSV_NOENT, "give --definition PATH",
				"%s: where its definition lies is not known", d->o->vm);
	n = fread(d->definition, 1, sizeof(d->definition) - 1, f);
	fclose(f);
	d->definition[n] = 0;
	d->definition[strcspn(d->definition, "\n")] = 0;
	return CSV_OK;
}

static enum csv_err prepare(struct drive *d)
{
	struct csv_prepare p = { .vm = d->o->vm, .to = d->o->to, .launch = true, .uri = d->o->uri };
	enum csv_err err = find_definition(d);

	if (err)
		return err;
	p.definition = d->definition;
	err = csv_request_prepare(d->cl, &p, d->o->timeout_ms, &d->r->handoff, d->why);
	d->prepared = !err;
	d->r->outcome = (enum csv_ho_outcome)d->r->handoff.ho.outcome;
	if (!err && !*d->r->handoff.ho.uri)
		return csv_fail(d->why, CSV_PROTO, "", "node %s does not say where the incoming VM listens", d->o->to);
	return err;
}

/* ---- 2: memory ---- */

static json_t *capability(const char *name)
{
	json_t *o = json_object();

	json_object_set_new(o, "capability", json_string(name));
	json_object_set_new(o, "state", json_true());
	return o;
}

static enum csv_err start_copy(struct drive *d)
{
	json_t *caps = json_array(), *args = json_object();
	enum csv_err err;

	json_array_append_new(caps, capability("events"));
	json_array_append_new(caps, capability("pause-before-switchover"));
	json_object_set_new(args, "capabilities", caps);
	err = csv_qmp_run(d->q, "migrate-set-capabilities", args, QMP_MS, NULL, d->why);
	if (err)
		return err;
	args = json_object();
	json_object_set_new(args, "uri", json_string(d->r->handoff.ho.uri));
	d->migrating = true;
	return csv_qmp_run(d->q, "migrate", args, QMP_MS, NULL, d->why);
}

static const char *status_of(const json_t *event)
{
	const char *s = json_string_value(json_object_get(json_object_get(event, "data"), "status"));

	return s ? s : "";
}

/* Waits for MIGRATION to say `status`; notes the guest's STOP on the way. */
static enum csv_err wait_status(struct drive *d, const char *status, int timeout_ms)
{
	double deadline = csv_qmp_now() + timeout_ms;
	enum csv_err err = CSV_OK;

	while (!err) {
		double left = deadline - csv_qmp_now();
		const char *name;
		json_t *ev;
		bool there, bad;

		err = csv_qmp_event(d->q, NULL, left > 0 ? (int)left : 0, &ev);
		if (err)
			break;
		name = json_string_value(json_object_get(ev, "event"));
		if (!strcmp(name, "STOP"))
			d->stopped = since(d);
		there = !strcmp(name, "MIGRATION") && !strcmp(status_of(ev), status);
		bad = !strcmp(name, "MIGRATION") &&
		      (!strcmp(status_of(ev), "failed") || !strcmp(status_of(ev), "cancelled"));
		json_decref(ev);
		if (there)
			return CSV_OK;
		if (bad)
			return csv_fail(d->why, CSV_IO, "see QEMU's log on both nodes", "QEMU's migration has failed");
	}
	return csv_fail(d->why, err, "", "QEMU did not reach %s: %s", status, csv_qmp_text(err));
}

/* ---- requests about the handoff ---- */

enum csv_err csv_drive_ask(struct drive *d, enum csv_ho_request req, struct csv_why *why)
{
	struct csv_request_answer *a = &d->r->handoff;
	struct csv_request_answer now = { 0 };
	enum csv_err err = csv_request(d->cl, req, a->ho.id, d->o->timeout_ms, &now, why);

	d->r->outcome = CSV_HO_NONE;
	if (!now.have)
		return err;
	json_decref(a->json);
	*a = now;
	d->r->outcome = (enum csv_ho_outcome)now.ho.outcome;
	return err;
}

/* ---- 4: storage, and what follows it ---- */

static enum csv_err commit(struct drive *d)
{
	enum csv_err err;

	begin(d, CSV_STEP_STORAGE_HANDOFF);
	d->asked = true;
	err = csv_drive_ask(d, CSV_HO_REQ_COMMIT, d->why);
	d->moved = !err;
	return err;
}

static enum csv_err go_on(struct drive *d)
{
	json_t *args = json_object();
	enum csv_err err;

	json_object_set_new(args, "state", json_string("pre-switchover"));
	err = csv_qmp_run(d->q, "migrate-continue", args, QMP_MS, NULL, d->why);
	end(d, CSV_STEP_STORAGE_HANDOFF);
	d->r->storage_step_ms = since(d) - d->switchover;
	begin(d, CSV_STEP_ONLINE);
	if (!err)
		err = wait_status(d, "completed", SWITCH_MS);
	end(d, CSV_STEP_ONLINE);
	end(d, CSV_STEP_FINAL_COPY);
	return err;
}

static void count_bytes(struct drive *d)
{
	json_t *info = NULL;

	if (csv_qmp_run(d->q, "query-migrate", NULL, QMP_MS, &info, NULL))
		return;
	d->r->bytes = (uint64_t)json_integer_value(json_object_get(json_object_get(info, "ram"), "transferred"));
	json_decref(info);
}

/*
 * csvlockd knows it when the guest's first I/O there has completed: usually it has, by now.  Of a guest that does none
 * for a while the figure stays unknown.
 */
static void learn_blackout(struct drive *d)
{
	double deadline = csv_qmp_now() + BLACKOUT_MS;

	while (d->r->blackout_ms <= 0 && csv_qmp_now() < deadline) {
		json_t *list = json_array();
		const json_t *ms;

		if (csv_request_list(d->cl, d->r->handoff.ho.id, d->o->timeout_ms, list, NULL))
			deadline = 0;
		ms = json_object_get(json_array_get(list, 0), "ms");
		d->r->blackout_ms = json_real_value(json_object_get(ms, "blackout"));
		json_decref(list);
		if (d->r->blackout_ms <= 0)
			poll(NULL, 0, 10);
	}
}

static void finish(struct drive *d)
{
	begin(d, CSV_STEP_CLEANUP_ANNOUNCE);
	count_bytes(d);
	csv_drive_ask(d, CSV_HO_REQ_FINISH, NULL);
	if (!d->r->outcome)
		d->r->outcome = CSV_HO_MOVED;		     /* the commit said so, and QEMU */
	csv_qmp_run(d->q, "quit", NULL, QMP_MS, NULL, NULL); /* the guest has left this process */
	end(d, CSV_STEP_CLEANUP_ANNOUNCE);
	learn_blackout(d);
}

static enum csv_err run(struct drive *d)
{
	enum csv_err err;

	d->ran = csv_drive_guest_runs(d);
	begin(d, CSV_STEP_CONNECT_CREATE);
	err = prepare(d);
	end(d, CSV_STEP_CONNECT_CREATE);
	if (err)
		return err;
	begin(d, CSV_STEP_MEMORY_COPY);
	err = start_copy(d);
	if (!err)
		err = wait_status(d, "pre-switchover", d->o->memory_ms ? d->o->memory_ms : MEMORY_MS);
	d->switchover = since(d);
	if (!d->stopped)
		d->stopped = d->switchover;
	d->r->end[CSV_STEP_MEMORY_COPY] = d->stopped;
	d->r->start[CSV_STEP_FINAL_COPY] = d->stopped;
	if (!err)
		err = commit(d);
	if (err)
		return err;
	err = go_on(d);
	if (err)
		err = csv_drive_come_back(d);
	if (!err)
		finish(d);
	return err;
}

enum csv_err csv_migrate(struct csv_client *cl, const struct csv_migrate_opts *o, struct csv_migrate_report *r,
			 struct csv_why *why)
{
	struct drive d = { .o = o, .r = r, .cl = cl, .why = why, .from = csv_qmp_now() };
	enum csv_err err;
	char path[4096];

	memset(r, 0, sizeof(*r));
	err = csv_qmp_open(csv_drive_monitor(&d, path), QMP_MS, &d.q, why);
	if (err)
		return err;
	err = run(&d);
	/* Not answered: nobody here knows; the guest stays paused until somebody does (H4). */
	if (err && !d.moved && !(d.asked && err == CSV_UNREACH))
		err = csv_drive_stay(&d, err);
	if (d.q)
		csv_qmp_close(d.q);
	return err;
}
