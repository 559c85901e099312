/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/csvadm.h"

#define FSCK_USAGE 16 /* fsck(8) */

/* mount(8): 1 wrong use, 32 mount failure, 2 system error. */
static int mount_code(int code)
{
	return code == 0 ? 0 : code == csv_err_exit(CSV_USAGE) ? 1 : 32;
}

/* mount.csvfs LUN DIR [-sfnv] [-o opts]: of the letters only -o means something here. */
static int as_mount(int argc, char **argv)
{
	char *words[8] = { argv[0], strdup("mount") }, *opts = NULL;
	int n = 2, c;

	optind = 1;
	while ((c = getopt(argc, argv, "sfnvo:")) >= 0) {
		if (c == 'o')
			opts = optarg;
		else if (c == 'f')
			return 0; /* mount -f: everything but the mount itself */
		else if (c == '?')
			return 1;
	}
	if (argc - optind != 2)
		return 1;
	/* mount(8) gives LUN and DIR first, then the options: getopt has moved the options ahead. */
	for (int i = optind; i < argc && n < 4; i++)
		words[n++] = argv[i];
	if (opts) {
		words[n++] = strdup("-o");
		words[n++] = opts;
	}
	return mount_code(csv_csvadm_main(n, words));
}

static int as(const char *verb, int argc, char **argv)
{
	char **words = calloc((size_t)argc + 2, sizeof(*words));
	int code;

	if (!words)
		return csv_err_exit(CSV_NOMEM);
	words[0] = argv[0];
	words[1] = strdup(verb);
	memcpy(words + 2, argv + 1, (size_t)(argc - 1) * sizeof(*words));
	code = csv_csvadm_main(argc + 1, words);
	free(words[1]);
	free(words);
	return code;
}

/* One option word of fsck.csvfs, maybe of several letters: 0, or the exit code with a line on standard error. */
static int fsck_option(const char *word)
{
	for (const char *p = word + 1; *p; p++) {
		if (*p == 'C')
			return 0; /* the number of a descriptor for a progress bar follows */
		if (strchr("apnfv", *p))
			continue;
		if (strchr("yr", *p))
			fprintf(stderr,
				"fsck.csvfs: -%c: there is no repair yet, only a check; use -n, or -p at boot\n", *p);
		else
			fprintf(stderr, "fsck.csvfs: unknown option -%c; use -n, -a, -p, -f, -v\n", *p);
		return FSCK_USAGE;
	}
	return 0;
}

/*
 * fsck(8) passes its options ahead of the device.  The check is read-only and always of everything: -n, -f and -v ask
 * for no more, and -a or -p, at boot, get a check whose exit code stops the boot if errors are left.
 */
static int as_fsck(int argc, char **argv)
{
	int n = 1, code = 0;

	for (int i = 1; i < argc; i++) {
		if (*argv[i] == '-' && argv[i][1] != '-' && argv[i][1])
			code = fsck_option(argv[i]);
		else
			argv[n++] = argv[i];
		if (code)
			return code;
	}
	return as("check", n, argv);
}

int csv_other_name(const char *name, int argc, char **argv)
{
	if (!strcmp(name, "mkfs.csvfs"))
		return as("format", argc, argv);
	if (!strcmp(name, "mount.csvfs"))
		return as_mount(argc, argv);
	if (!strcmp(name, "fsck.csvfs"))
		return as_fsck(argc, argv);
	return -1;
}
