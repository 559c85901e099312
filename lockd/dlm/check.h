/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether the locks of this host's DLM can be trusted: they are granted only after the fence that csvfs needs (L2). */
#ifndef CSV_LOCKD_DLM_CHECK_H
#define CSV_LOCKD_DLM_CHECK_H

#include <stdbool.h>
#include <stddef.h>

/* Exit codes of `csv-dlm-space --check`. */
enum csv_dlm_check { CSV_DLM_GOOD = 0, CSV_DLM_NONE = 3, CSV_DLM_UNTRUSTED = 4 };

/* why: one line, what is missing and what to do; empty if all is well. */
enum csv_dlm_check csv_dlm_check(char *why, size_t size);

/* The text of dlm.conf: whether all nodes are fenced by csv-dlm-fence and by nothing else; why as above. */
bool csv_dlm_conf_fences(const char *conf, char *why, size_t size);
/* The program that a text of dlm.conf names as fence_all, as it stands there. False: none that is ours, or too long. */
bool csv_dlm_conf_agent(const char *conf, char *agent, size_t size);
/* The same of this host's dlm.conf. */
#define CSV_DLM_AGENT_MAX 512
bool csv_dlm_agent(char *agent, size_t size);
/* What dlm_controld says of its options: the value of one, -1 if it does not name it. */
int csv_dlm_option(const char *dump, const char *name);

#endif
