/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csv-dlm-fence: the fence agent of dlm_controld (fence_all in dlm.conf), the gate in front of all that the DLM grants
 * after a node is gone (L2).  It has no means of its own to fence: csvlockd does it, with the reservation on the LUN,
 * and this program ends well only when csvlockd says that no slot of the node is left to be fenced or replayed.
 * Everything else is a failure, dlm_controld asks again, here or on another node, and the DLM stays stopped meanwhile.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "lockd/client/client.h"
#include "lockd/dlm/params.h"

#define OPEN_MS 10000
/* Not for ever: another node, whose csvlockd may be better off, is asked only after this one has failed. */
#define FENCE_MS 30000

static int failed(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int failed(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "csv-dlm-fence: %s\n", text);
	syslog(LOG_ERR, "%s", text);
	return 1;
}

static enum csv_err connect_lockd(struct csv_client **cl, struct csv_why *why)
{
	struct csv_msg_hello hello = { .role = CSV_ROLE_ADMIN };

	return csv_client_open(NULL, &hello, OPEN_MS, cl, NULL, why);
}

static int fence(uint32_t nodeid)
{
	struct csv_msg msg = { .type = CSV_MSG_NODE_FENCE };
	struct csv_client *cl;
	struct csv_why why;
	enum csv_err err;

	csv_why_init(&why);
	err = connect_lockd(&cl, &why);
	if (!err) {
		msg.node.nodeid = nodeid;
		err = csv_client_call(cl, &msg, FENCE_MS, NULL, NULL, &why);
		csv_client_close(cl);
		/* A list's end is an answer too, but not this one. */
		if (!err && msg.type != CSV_MSG_DONE)
			err = csv_fail(&why, CSV_PROTO, "", "csvlockd answered with %s", csv_msg_name(msg.type));
	}
	if (err)
		return failed("the DLM stays stopped until node %" PRIu32
			      " is fenced and its journals are replayed: %s",
			      nodeid, why.text[0] ? why.text : csv_err_text(err));
	syslog(LOG_NOTICE, "node %" PRIu32 " has no slot left to be fenced or replayed", nodeid);
	return 0;
}

/* Whether a fence could be asked for. */
static int ask(void)
{
	struct csv_client *cl;
	struct csv_why why;

	csv_why_init(&why);
	if (connect_lockd(&cl, &why))
		return failed("%s", why.text);
	csv_client_close(cl);
	return 0;
}

static void read_params(int argc, char **argv, struct csv_fence_params *p)
{
	char line[512];

	for (int i = 1; i < argc; i++)
		csv_fence_param(p, argv[i]);
	/* A person who gives arguments is not asked for more. */
	while (!(argc > 1 && isatty(STDIN_FILENO)) && fgets(line, sizeof(line), stdin))
		csv_fence_param(p, line);
}

int main(int argc, char **argv)
{
	struct csv_fence_params p = { 0 };

	openlog("csv-dlm-fence", LOG_PID, LOG_DAEMON);
	read_params(argc, argv, &p);
	switch (p.action) {
	case CSV_FENCE_OFF:
		return p.nodeid ? fence(p.nodeid) : failed("no node=NODEID given");
	case CSV_FENCE_ON:
		return 0; /* a node comes back by mounting again, with a new incarnation */
	case CSV_FENCE_ASK:
		return ask();
	case CSV_FENCE_UNKNOWN:
		break;
	}
	return failed("unknown action");
}
