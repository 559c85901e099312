/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csv-handoff: what a hypervisor's hook calls around its own live migration.
 *
 *	csv-handoff prepare --vm V --to NODE     before or during the memory copy
 *	csv-handoff commit --vm V [--id ID]      guest paused, before device state is sent
 *	csv-handoff abort|takeback|finish --vm V [--id ID]
 *
 * Without an id the VM's latest handoff from this node is meant.  Output and exit codes are csvadm's.  Killing it
 * changes nothing of what is under way (H4): run it again, or ask `csvadm handoff status`.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/number.h"
#include "migrate/source/request.h"

#define OPEN_MS 10000
#define DECIDE_MS 120000

struct args {
	const char *verb, *vm, *to, *id, *definition;
	uint32_t pid;
};

static const char usage[] = "usage: csv-handoff prepare --vm V --to NODE [--pid P] [--definition PATH]\n"
			    "       csv-handoff commit|abort|takeback|finish --vm V [--to NODE] [--id ID]\n";

static bool bad_option(int opt)
{
	if (opt == 'p')
		fprintf(stderr, "csv-handoff: --pid %.40s: not a process number from 1 to %d\n", optarg, INT32_MAX);
	return false;
}

static bool parse(int argc, char **argv, struct args *a)
{
	static const struct option longs[] = {
		{ "vm", required_argument, NULL, 'v' },		{ "to", required_argument, NULL, 't' },
		{ "id", required_argument, NULL, 'i' },		{ "pid", required_argument, NULL, 'p' },
		{ "definition", required_argument, NULL, 'd' }, { 0 },
	};
	uint64_t pid;
	int opt;

	while ((opt = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
		if (opt == 'v')
			a->vm = optarg;
		else if (opt == 't')
			a->to = optarg;
		else if (opt == 'i')
			a->id = optarg;
		else if (opt == 'd')
			a->definition = optarg;
		else if (opt == 'p' && csv_number(optarg, 1, INT32_MAX, &pid))
			a->pid = (uint32_t)pid;
		else
			return bad_option(opt);
	}
	if (argc - optind != 1)
		return false;
	a->verb = argv[optind];
	return a->vm || a->id;
}

static const struct {
	const char *name;
	enum csv_ho_request req;
} verbs[] = {
	{ "prepare", CSV_HO_REQ_PREPARE },   { "commit", CSV_HO_REQ_COMMIT }, { "abort", CSV_HO_REQ_ABORT },
	{ "takeback", CSV_HO_REQ_TAKEBACK }, { "finish", CSV_HO_REQ_FINISH },
};

static bool find_verb(const char *name, enum csv_ho_request *req)
{
	for (unsigned i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (!strcmp(verbs[i].name, name)) {
			*req = verbs[i].req;
			return true;
		}
	}
	return false;
}

static enum csv_err find_id(struct csv_client *cl, const struct args *a, uint8_t id[CSV_HO_ID], struct csv_why *why)
{
	json_t *list, *item;
	enum csv_err err;

	if (a->id)
		return csv_request_id(a->id, id) ? CSV_OK : csv_fail(why, CSV_USAGE, "", "%s is not an id", a->id);
	list = json_array();
	err = csv_request_list(cl, NULL, OPEN_MS, list, why);
	item = err ? NULL : csv_request_of_vm(list, a->vm);
	if (item)
		csv_request_id(json_string_value(json_object_get(item, "id")), id);
	else if (!err)
		err = csv_fail(why, CSV_NOENT, "prepare comes first", "no handoff of this VM");
	json_decref(list);
	return err;
}

static enum csv_err run(struct csv_client *cl, const struct args *a, enum csv_ho_request req,
			struct csv_request_answer *answer, struct csv_why *why)
{
	struct csv_prepare p = { .vm = a->pid ? NULL : a->vm, .pid = a->pid, .to = a->to, .definition = a->definition };
	uint8_t id[CSV_HO_ID];
	enum csv_err err;

	if (req == CSV_HO_REQ_PREPARE)
		return csv_request_prepare(cl, &p, DECIDE_MS, answer, why);
	err = find_id(cl, a, id, why);
	return err ? err : csv_request(cl, req, id, DECIDE_MS, answer, why);
}

static void tell(const struct args *a, enum csv_err err, const struct csv_why *why, json_t *result)
{
	json_t *e;

	if (!result && err) {
		result = json_object();
		e = json_object();
		json_object_set_new(e, "code", json_string(csv_err_name(err)));
		json_object_set_new(e, "message", json_string(why->text));
		json_object_set_new(e, "object", a->vm ? json_string(a->vm) : json_null());
		json_object_set_new(e, "hint", *why->hint ? json_string(why->hint) : json_null());
		json_object_set_new(result, "error", e);
	}
	if (result) {
		json_object_set_new(result, "schema", json_integer(1));
		json_dumpf(result, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(result);
	}
	if (err)
		fprintf(stderr, "csv-handoff: %s %s: %s%s%s\n", a->verb, a->vm ? a->vm : a->id,
			*why->text ? why->text : csv_err_text(err), *why->hint ? "; " : "", why->hint);
}

int main(int argc, char **argv)
{
	struct csv_msg_hello hello = { .role = CSV_ROLE_ADMIN };
	struct csv_request_answer answer = { 0 };
	struct csv_client *cl;
	struct args a = { 0 };
	enum csv_ho_request req;
	struct csv_why why;
	enum csv_err err;

	if (!parse(argc, argv, &a) || !find_verb(a.verb, &req) || (req == CSV_HO_REQ_PREPARE && !a.to)) {
		fputs(usage, stderr);
		return csv_err_exit(CSV_USAGE);
	}
	csv_why_init(&why);
	err = csv_client_open(NULL, &hello, OPEN_MS, &cl, NULL, &why);
	if (!err) {
		err = run(cl, &a, req, &answer, &why);
		csv_client_close(cl);
	}
	tell(&a, err, &why, answer.json);
	return csv_err_exit(err);
}
