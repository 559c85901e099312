/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lockd/dlm/check.h"

#define AGENT "csv-dlm-fence"
#define SET_UP "write \"fence_all " AGENT "\" into it and restart dlm_controld"

/* The word at *at; its length, 0: none left on the line. *at goes behind it. */
static size_t next_word(const char **at, const char **word)
{
	size_t n;

	*at += strspn(*at, " \t");
	*word = *at;
	n = strcspn(*at, " \t\r\n");
	*at += n;
	return n;
}

static bool is(const char *word, size_t n, const char *text)
{
	return n == strlen(text) && memcmp(word, text, n) == 0;
}

/* "csv-dlm-fence" or a path that ends so. */
static bool is_agent(const char *word, size_t n)
{
	size_t len = strlen(AGENT);

	return n >= len && memcmp(word + n - len, AGENT, len) == 0 && (n == len || word[n - len - 1] == '/');
}

bool csv_dlm_conf_fences(const char *conf, char *why, size_t size)
{
	bool ours = false;

	why[0] = 0;
	for (const char *at = conf; *at; at += strcspn(at, "\n"), at += *at == '\n') {
		const char *word, *agent;
		size_t n = next_word(&at, &word);

		/* A node that has a device is fenced by that, whatever fence_all says. */
		if (is(word, n, "device") || is(word, n, "connect")) {
			snprintf(why, size,
				 "it has fence devices beside fence_all; remove them, or use the cpg engine");
			return false;
		}
		if (!is(word, n, "fence_all"))
			continue;
		n = next_word(&at, &agent);
		if (!is_agent(agent, n)) {
			snprintf(why, size, "its fence_all is %.*s; " SET_UP, (int)n, agent);
			return false;
		}
		ours = true;
	}
	if (!ours)
		snprintf(why, size, "it has no fence_all; " SET_UP);
	return ours;
}

bool csv_dlm_conf_agent(const char *conf, char *agent, size_t size)
{
	char why[256];

	if (!csv_dlm_conf_fences(conf, why, sizeof(why)))
		return false;
	for (const char *at = conf; *at; at += strcspn(at, "\n"), at += *at == '\n') {
		const char *word;
		size_t n = next_word(&at, &word);

		if (!is(word, n, "fence_all"))
			continue;
		n = next_word(&at, &word);
		return (size_t)snprintf(agent, size, "%.*s", (int)n, word) < size;
	}
	return false;
}

int csv_dlm_option(const char *dump, const char *name)
{
	size_t n = strlen(name);

	for (const char *at = dump; *at; at += strcspn(at, "\n"), at += *at == '\n') {
		if (strncmp(at, name, n) == 0 && at[n] == '=')
			return atoi(at + n + 1);
	}
	return -1;
}
