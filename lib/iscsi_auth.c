/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who we are to the target: initiator name and CHAP secret. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/crc32c.h"
#include "lib/iscsi_impl.h"

/*
 * The file holds the secret as its only line; the user name is the file's name.
 */
enum csv_err csv_iscsi_chap_secret(const char *name, char *secret, size_t size, struct csv_why *why)
{
	const char *dir = getenv("CSV_CHAP_DIR");
	char path[256];
	struct stat st;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir ? dir : "/etc/csvfs/chap", name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return csv_fail(why, csv_err_from_errno(errno), "write the CHAP secret into that file, mode 0600",
				"cannot read the CHAP secret %.150s: %m", path);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (st.st_mode & 077)) {
		close(fd);
		return csv_fail(why, CSV_ACCESS, "chmod 0600, and change the secret if others may have read it",
				"the CHAP secret %.150s can be read by others", path);
	}
	n = read(fd, secret, size - 1);
	close(fd);
	secret[n > 0 ? n : 0] = 0;
	secret[strcspn(secret, "\r\n")] = 0;
	if (!secret[0])
		return csv_fail(why, CSV_INVAL, "write the secret as one line", "the CHAP secret %.150s is empty",
				path);
	return CSV_OK;
}

/* First line of a file that is not empty or a comment, without surrounding blanks. */
static bool first_line(const char *path, char *line, size_t size)
{
	FILE *f = fopen(path, "re");
	bool found = false;

	if (!f)
		return false;
	while (!found && fgets(line, (int)size, f)) {
		size_t skip = strspn(line, " \t");

		memmove(line, line + skip, strlen(line + skip) + 1);
		line[strcspn(line, " \t\r\n")] = 0;
		found = line[0] && line[0] != '#';
	}
	fclose(f);
	return found;
}

void csv_initiator_name(char *name, size_t size)
{
	const char *env = getenv("CSV_INITIATOR");
	char line[256], host[64] = "localhost", id[64] = "";
	size_t k = 0;

	if (env && *env) {
		snprintf(name, size, "%s", env);
		return;
	}
	if (first_line("/etc/csvfs/initiatorname", line, sizeof(line))) {
		/* As open-iscsi writes it, or bare. */
		const char *value = strncmp(line, "InitiatorName=", 14) == 0 ? line + 14 : line;

		snprintf(name, size, "%.222s", value);
		return;
	}
	gethostname(host, sizeof(host) - 1);
	if (!first_line("/etc/machine-id", id, sizeof(id)))
		id[0] = 0;
	/* RFC 7143 4.2.7.2: lower case, digits, '-', '.', ':'. */
	for (size_t i = 0; host[i]; i++)
		if (isalnum((unsigned char)host[i]) || host[i] == '-' || host[i] == '.')
			host[k++] = (char)tolower((unsigned char)host[i]);
	host[k] = 0;
	/* machine-id(5) is not to be shown to others as it is. */
	snprintf(name, size, "iqn.2026-01.local.csvfs:%s.%08x", host, csv_crc32c(0, id, strlen(id)));
}
