/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"

#define RING_LINES 4096
#define RING_WIDTH 320 /* longer lines are cut in the ring only */
#define LINE_MAX_BYTES 2048

static struct {
	pthread_mutex_t lock; /* covers all below but level */
	FILE *out;	      /* NULL: standard error */
	char program[32];
	unsigned long lines; /* ever written to the ring */
	char ring[RING_LINES][RING_WIDTH];
	atomic_int level;
} lg = { .lock = PTHREAD_MUTEX_INITIALIZER, .program = "csvfs", .level = CSV_LOG_INFO };

static const char *const level_names[] = { "ERROR", "WARN", "INFO", "DEBUG" };

void csv_log_open(const char *program, const char *path, enum csv_log_level level)
{
	FILE *out = path ? fopen(path, "ae") : NULL;

	pthread_mutex_lock(&lg.lock);
	if (lg.out)
		fclose(lg.out);
	lg.out = out;
	snprintf(lg.program, sizeof(lg.program), "%s", program);
	pthread_mutex_unlock(&lg.lock);
	csv_log_set_level(level);
	if (path && !out)
		csv_warn("cannot open the log file %s: %m; logging to standard error", path);
}

void csv_log_set_level(enum csv_log_level level)
{
	atomic_store(&lg.level, (int)level);
}

/* Appends time, level, program and pid; returns the length. Caller holds the lock. */
static size_t prefix(char *line, size_t size, enum csv_log_level level)
{
	struct timespec ts;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	n = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(line + n, size - n, ".%03ldZ %s %s[%d] ", ts.tv_nsec / 1000000, level_names[level],
			      lg.program, (int)getpid());
	return n;
}

static void put(enum csv_log_level level, const char *line)
{
	FILE *out = lg.out ? lg.out : stderr;
	char *row = lg.ring[lg.lines++ % RING_LINES];
	size_t len = strnlen(line, RING_WIDTH - 1);

	memcpy(row, line, len);
	row[len] = 0;
	if ((int)level > atomic_load(&lg.level))
		return;
	fprintf(out, "%s\n", line);
	fflush(out);
}

void csv_log(enum csv_log_level level, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	va_list ap;
	size_t n;

	if ((unsigned)level > CSV_LOG_DEBUG)
		level = CSV_LOG_ERROR;
	pthread_mutex_lock(&lg.lock);
	n = prefix(line, sizeof(line), level);
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - n, fmt, ap);
	va_end(ap);
	/* One line is one record, whatever names from disk or wire contain. */
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < 0x20)
			*p = ' ';
	put(level, line);
	pthread_mutex_unlock(&lg.lock);
}

void csv_log_dump(FILE *f)
{
	unsigned long first;

	pthread_mutex_lock(&lg.lock);
	first = lg.lines > RING_LINES ? lg.lines - RING_LINES : 0;
	for (unsigned long i = first; i < lg.lines; i++)
		fprintf(f, "%s\n", lg.ring[i % RING_LINES]);
	fflush(f);
	pthread_mutex_unlock(&lg.lock);
}

void csv_assert_failed(const char *expr, const char *file, int line, const char *func)
{
	csv_error("assertion failed: %s (%s:%d, %s)", expr, file, line, func);
	csv_log_dump(stderr);
	abort();
}
