/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvlockd: one per node. Membership, locks, recovery and handoff of all csvfs volumes of the node. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lockd/daemon/daemon.h"
#include "lockd/daemon/dlm.h"
#include "lockd/daemon/handoff.h"
#include "lockd/daemon/supervise.h"

static const char usage[] = "usage: csvlockd [--foreground] [--config FILE] [--log FILE] [--debug]\n"
			    "  --foreground   do not go into the background\n"
			    "  --config FILE  instead of CSV_CONFIG or /etc/csvfs/csvfs.conf\n"
			    "  --log FILE     append to FILE instead of standard error\n"
			    "  --debug        log every step\n";

struct options {
	bool foreground, debug;
	const char *config, *log;
};

static bool parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "foreground", no_argument, NULL, 'f' }, { "config", required_argument, NULL, 'c' },
		{ "log", required_argument, NULL, 'l' },  { "debug", no_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },	  { 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "fc:l:dh", longs, NULL)) >= 0) {
		switch (c) {
		case 'f':
			o->foreground = true;
			break;
		case 'c':
			o->config = optarg;
			break;
		case 'l':
			o->log = optarg;
			break;
		case 'd':
			o->debug = true;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			return false;
		}
	}
	return optind == argc;
}

static int32_t on_stop(int32_t sig, void *arg)
{
	struct csv_daemon *d = arg;

	csv_info("signal %d: ending", sig);
	qb_loop_stop(d->loop);
	return 0;
}

static int32_t on_dump(int32_t sig, void *arg)
{
	csv_log_dump(stderr);
	return 0;
}

/* For the supervisor. As late as anything in the loop: what starves it, starves others. */
static void on_beat(void *arg)
{
	struct csv_daemon *d = arg;
	ssize_t n = write(d->beat_fd, "", 1);

	(void)n; /* full: the supervisor does not read, which is no reason to stop */
	qb_loop_timer_add(d->loop, QB_LOOP_LOW, CSV_WATCHDOG_BEAT_MS * CSV_NS_PER_MS, d, on_beat, &d->beat);
}

static enum csv_err start(struct csv_daemon *d, struct csv_why *why)
{
	qb_loop_signal_handle h;
	enum csv_err err;

	d->loop = qb_loop_create();
	if (!d->loop)
		return csv_fail(why, CSV_NOMEM, "", "no event loop");
	csv_list_init(&d->peers);
	csv_list_init(&d->timers);
	csv_registry_init(d);
	csv_list_init(&d->nodes);
	d->listen_fd = -1;
	signal(SIGPIPE, SIG_IGN);
	qb_loop_signal_add(d->loop, QB_LOOP_HIGH, SIGTERM, d, on_stop, &h);
	qb_loop_signal_add(d->loop, QB_LOOP_HIGH, SIGINT, d, on_stop, &h);
	qb_loop_signal_add(d->loop, QB_LOOP_LOW, SIGUSR1, d, on_dump, &h);
	csv_dlm_found(d);
	csv_driver_connect(d);
	err = csv_server_open(d, why);
	if (err)
		return err;
	on_beat(d);
	csv_remount_look(d);
	csv_incoming_open(d);
	return CSV_OK;
}

static int complain(enum csv_err err, const struct csv_why *why)
{
	fprintf(stderr, "csvlockd: cannot start: %s%s%s\n", why->text, *why->hint ? "; " : "", why->hint);
	return csv_err_exit(err);
}

struct service {
	const struct options *o;
	struct csv_daemon *d;
};

/* The supervisor's child. */
static int serve(int beat_fd, const char *news, void *arg)
{
	const struct service *s = arg;
	struct csv_daemon *d = s->d;
	struct csv_why why;
	enum csv_err err;

	csv_why_init(&why);
	csv_log_open("csvlockd", s->o->log, s->o->debug ? CSV_LOG_DEBUG : CSV_LOG_INFO);
	if (*news)
		csv_error("%s", news);
	d->beat_fd = beat_fd;
	err = start(d, &why);
	if (err)
		return complain(err, &why);
	qb_loop_run(d->loop);
	csv_server_close(d);
	csv_driver_stop(d);
	csv_dlm_fit_free(d);
	csv_dlm_release_free();
	csv_dlm_free(d);
	csv_launch_free(d);
	csv_incoming_close(d);
	csv_remount_free(d);
	csv_registry_free(d);
	qb_loop_destroy(d->loop);
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	struct csv_daemon d = { 0 };
	struct service service = { &o, &d };
	struct csv_supervised supervised = { .rest_ms = CSV_WATCHDOG_RESTART_MS, .serve = serve, .arg = &service };
	struct csv_why why;
	enum csv_err err;

	if (!parse(argc, argv, &o)) {
		fputs(usage, stderr);
		return csv_err_exit(CSV_USAGE);
	}
	csv_why_init(&why);
	err = csv_conf_load(&d.conf, o.config, &why);
	if (err)
		return complain(err, &why);
	if (!o.foreground && daemon(0, o.log ? 0 : 1)) {
		err = csv_fail(&why, CSV_IO, "use --foreground", "cannot go into the background");
		return complain(err, &why);
	}
	supervised.hang_ms = d.conf.watchdog_ms;
	return csv_supervise(&supervised);
}
