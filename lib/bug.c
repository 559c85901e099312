/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/bug.h"

#ifdef CSV_BUGS
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

unsigned long csv_bug_mask;

/* True: the file says so for this place; it is gone then. */
static bool asked(const char *file, const char *work, const char *place, char how[8])
{
	char wanted[64], here[64];
	FILE *f = fopen(file, "re");
	bool yes;

	if (!f)
		return false;
	snprintf(here, sizeof(here), "%s.%s", work, place);
	yes = fscanf(f, "%63s %7s", wanted, how) == 2 && !strcmp(wanted, here);
	fclose(f);
	return yes && !unlink(file);
}

void csv_stop_here(const char *work, const char *place)
{
	const char *file = getenv("CSV_STOP_FILE");
	char how[8], held[256];

	if (!file || !asked(file, work, place, how))
		return;
	if (!strcmp(how, "die"))
		kill(getpid(), SIGKILL);
	snprintf(held, sizeof(held), "%s.held", file);
	close(open(held, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	while (!access(held, F_OK))
		usleep(2000);
}
#else
/* ISO C wants a declaration in every file. */
typedef int csv_bug_none;
#endif
