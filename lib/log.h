/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Logging for the daemons (libraries return errors, they do not log).
 * A line: RFC 3339 UTC time with ms, level, program[pid], text.  To standard error
 * (journald adds its own), or to the file given.  A ring of the last 4096 lines of
 * every level is kept for dumps.
 */
#ifndef CSV_LIB_LOG_H
#define CSV_LIB_LOG_H
#include <stdio.h>

enum csv_log_level { CSV_LOG_ERROR, CSV_LOG_WARN, CSV_LOG_INFO, CSV_LOG_DEBUG };

/* program: name for each line. path: file to append to, NULL for standard error. Lines above `level` go to the ring only. */
void csv_log_open(const char *program, const char *path, enum csv_log_level level);
void csv_log_set_level(enum csv_log_level level);
void csv_log(enum csv_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define csv_error(...) csv_log(CSV_LOG_ERROR, __VA_ARGS__)
#define csv_warn(...) csv_log(CSV_LOG_WARN, __VA_ARGS__)
#define csv_info(...) csv_log(CSV_LOG_INFO, __VA_ARGS__)
#define csv_debug(...) csv_log(CSV_LOG_DEBUG, __VA_ARGS__)
/* Writes the ring to f, oldest first. */
void csv_log_dump(FILE *f);

/* Invariant that stays on in production: logs expression, place and `text`, dumps the ring, aborts. */
#define CSV_ASSERT(cond) \
	do { \
		if (__builtin_expect(!(cond), 0)) \
			csv_assert_failed(#cond, __FILE__, __LINE__, __func__); \
	} while (0)
void csv_assert_failed(const char *expr, const char *file, int line, const char *func) __attribute__((noreturn));
#endif
