/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm: what its commands share. */
#ifndef CSV_TOOLS_CSVADM_H
#define CSV_TOOLS_CSVADM_H

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>

#include "csv/err.h"
#include "csv/proto.h"
#include "lockd/client/client.h"
#include "tools/out.h"

/* One call of csvadm. */
struct csv_call {
	bool json;
	const char *config;
	const char *run_dir;      /* NULL: CSV_RUN_DIR or /run/csvfs */
	int timeout_ms;
	int argc;                 /* arguments after noun and verb; argv[0] is the verb */
	char **argv;
	const char *what;         /* what an error line is about: command or object; commands may sharpen it */
	struct csv_why why;
	json_t *result;           /* filled by the command, printed by main; NULL: nothing to print */
	int exit_code;            /* >= 0: instead of the error's own (fsck, mount codes) */
};

struct csv_command {
	const char *noun;         /* "vhd", or NULL for a lone verb */
	const char *verb;
	const char *args;         /* for help */
	const char *help;         /* one line */
	enum csv_err (*run)(struct csv_call *c);
};
extern const struct csv_command csv_commands[]; /* ends with verb NULL (tools/commands.c) */

/* ---- a function a command (tools/cmd/) ---- */
enum csv_err csv_cmd_format(struct csv_call *c);
enum csv_err csv_cmd_check(struct csv_call *c);
enum csv_err csv_cmd_mount(struct csv_call *c);
enum csv_err csv_cmd_umount(struct csv_call *c);
enum csv_err csv_cmd_status(struct csv_call *c);
enum csv_err csv_cmd_volume_list(struct csv_call *c);
enum csv_err csv_cmd_volume_info(struct csv_call *c);
enum csv_err csv_cmd_lun_check(struct csv_call *c);
enum csv_err csv_cmd_node_list(struct csv_call *c);
enum csv_err csv_cmd_node_fence(struct csv_call *c);
enum csv_err csv_cmd_node_rejoin(struct csv_call *c);
enum csv_err csv_cmd_lock_list(struct csv_call *c);
enum csv_err csv_cmd_lock_dump(struct csv_call *c);
enum csv_err csv_cmd_handle_list(struct csv_call *c);
enum csv_err csv_cmd_vhd_create(struct csv_call *c);
enum csv_err csv_cmd_vhd_info(struct csv_call *c);
enum csv_err csv_cmd_vhd_mark(struct csv_call *c);
enum csv_err csv_cmd_vhd_unmark(struct csv_call *c);
enum csv_err csv_cmd_handoff_prepare(struct csv_call *c);
enum csv_err csv_cmd_handoff_commit(struct csv_call *c);
enum csv_err csv_cmd_handoff_abort(struct csv_call *c);
enum csv_err csv_cmd_handoff_takeback(struct csv_call *c);
enum csv_err csv_cmd_handoff_finish(struct csv_call *c);
enum csv_err csv_cmd_handoff_status(struct csv_call *c);
enum csv_err csv_cmd_migrate(struct csv_call *c);

/* The program under its own name; argv[0] is not looked at. Returns the exit code. */
int csv_csvadm_main(int argc, char **argv);

/*
 * pr_registered of each node of a list (tools/cmd/registered.c): whether the key of its life stands at the LUN of every
 * volume of `volumes` (as in `csvadm status`) where it has a slot.  Stays null if no volume is online here.
 */
void csv_nodes_registered(json_t *nodes, const json_t *volumes);

/* ---- helpers (tools/args.c) ---- */
/* CSV_USAGE with the command's syntax as hint. */
enum csv_err csv_usage(struct csv_call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* One line on standard error for something that does not stop the command. */
void csv_warning(struct csv_call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "10G", "512", "1T": bytes, binary units K M G T P. False: not a size, or beyond 2^63. */
bool csv_parse_size(const char *text, uint64_t *bytes);
/* Names of volumes, clusters, nodes, VMs: 1..max bytes of [A-Za-z0-9._-], not beginning with - or '.'. */
bool csv_name_ok(const char *name, size_t max);
/* Connects to csvlockd as an administrator. */
enum csv_err csv_lockd(struct csv_call *c, struct csv_client **cl, struct csv_msg_welcome *w);

#endif
