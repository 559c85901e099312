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

#include "lockd/dlm/ask.h"
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

static int fence(uint32_t nodeid)
{
	struct csv_why why;

	csv_why_init(&why);
	if (csv_fence_ask(nodeid, OPEN_MS, FENCE_MS, &why))
		return failed("the DLM stays stopped until node %" PRIu32
			      " is fenced and its journals are replayed: %s",
			      nodeid, why.text);
	syslog(LOG_NOTICE, "node %" PRIu32 " has no slot left to be fenced or replayed", nodeid);
	return 0;
}

static int ask(void)
{
	struct csv_why why;

	csv_why_init(&why);
	return csv_fence_reachable(OPEN_MS, &why) ? failed("%s", why.text) : 0;
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
