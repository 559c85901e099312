/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm: finds the command in the table, runs it, prints its result or one error line. */
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/number.h"
#include "tools/csvadm.h"
#include "tools/names.h"

#define TIMEOUT_MAX_S 3600u

static void help(void)
{
	puts("usage: csvadm [--json] [--config FILE] [--run-dir DIR] [--timeout S] COMMAND ...\n");
	for (const struct csv_command *cmd = csv_commands; cmd->verb; cmd++)
		printf("  %s%s%s %s\n      %s\n", cmd->noun ? cmd->noun : "", cmd->noun ? " " : "", cmd->verb,
		       cmd->args, cmd->help);
	puts("\nLUN: /path/to/file, /dev/..., iscsi://host[:port][,host2]/IQN/LUN[?chap=NAME]\n"
	     "exit codes: 0 ok, 1 failed, 2 usage, 3 busy, 4 not found, 5 no quorum or cluster, 6 unreachable,\n"
	     "7 fenced, 8 damaged, 9 foreign or unknown, 10 kept");
}

static const struct csv_command *find(int argc, char **argv, int *used)
{
	for (const struct csv_command *cmd = csv_commands; cmd->verb; cmd++) {
		if (!cmd->noun && argc > 0 && !strcmp(argv[0], cmd->verb)) {
			*used = 0;
			return cmd;
		}
		if (cmd->noun && argc > 1 && !strcmp(argv[0], cmd->noun) && !strcmp(argv[1], cmd->verb)) {
			*used = 1;
			return cmd;
		}
	}
	return NULL;
}

/* Global options stand before the command. */
static enum csv_err globals(struct csv_call *c, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },	     { "config", required_argument, NULL, 'c' },
		{ "run-dir", required_argument, NULL, 'r' }, { "timeout", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },	     { 0 },
	};
	uint64_t n;
	int opt;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, "+jc:r:t:h", longs, NULL)) >= 0) {
		switch (opt) {
		case 'j':
			c->json = true;
			break;
		case 'c':
			c->config = optarg;
			setenv("CSV_CONFIG", optarg, 1);
			break;
		case 'r':
			c->run_dir = optarg;
			setenv("CSV_RUN_DIR", optarg, 1);
			break;
		case 't':
			if (!csv_number(optarg, 1, TIMEOUT_MAX_S, &n))
				return csv_usage(c, "--timeout %.40s: not a number of seconds from 1 to %u", optarg,
						 TIMEOUT_MAX_S);
			c->timeout_ms = (int)n * 1000;
			break;
		case 'h':
			help();
			exit(0);
		default:
			return csv_usage(c, "unknown option %s", argv[optind - 1]);
		}
	}
	return CSV_OK;
}

static int run(struct csv_call *c, const struct csv_command *cmd)
{
	enum csv_err err;

	optind = 0; /* glibc: start anew */
	opterr = 0;
	err = cmd->run(c);
	if (c->result)
		csv_out_print(c->result, c->json);
	if (err) {
		if (!c->why.err)
			csv_fail(&c->why, err, "", "%s", csv_err_text(err));
		csv_out_error(c->what, &c->why, c->json && !c->result);
	}
	return c->exit_code >= 0 ? c->exit_code : csv_err_exit(err);
}

/* Also called for the other names of the program (names.c). */
int csv_csvadm_main(int argc, char **argv)
{
	struct csv_call c = { .timeout_ms = 60000, .what = "csvadm", .exit_code = -1 };
	const struct csv_command *cmd;
	char name[64];
	int used;

	csv_why_init(&c.why);
	optind = 1;
	if (globals(&c, argc, argv)) {
		csv_out_error(c.what, &c.why, c.json);
		return csv_err_exit(c.why.err);
	}
	argc -= optind;
	argv += optind;
	if (!argc || !strcmp(argv[0], "help")) {
		help();
		return argc ? 0 : csv_err_exit(CSV_USAGE);
	}
	cmd = find(argc, argv, &used);
	if (!cmd) {
		csv_fail(&c.why, CSV_USAGE, "see csvadm help", "unknown command %.60s", argv[0]);
		csv_out_error(c.what, &c.why, c.json);
		return csv_err_exit(CSV_USAGE);
	}
	snprintf(name, sizeof(name), "%s%s%s", cmd->noun ? cmd->noun : "", cmd->noun ? " " : "", cmd->verb);
	c.what = name;
	c.argc = argc - used;
	c.argv = argv + used;
	return run(&c, cmd);
}

int main(int argc, char **argv)
{
	int code = csv_other_name(basename(argv[0]), argc, argv);

	return code >= 0 ? code : csv_csvadm_main(argc, argv);
}
