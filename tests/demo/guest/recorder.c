// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The program that the demo's guest runs: it writes records without pause and says on the serial port
 * which of them are durable.
 *
 *   recorder DATA-FILE
 *
 * Parameters come from the kernel's command line (see params.h). Lines on the serial port:
 *   READY <n>     records follow, the first is n
 *   R <n> <ms>    record n is on the disk (pwrite and fdatasync have returned); guest's clock, ms
 *   E <text>      something is wrong; nothing follows but the power-off
 * STOP on the serial input, or csv.count records, end it; init then unmounts and prints DONE.
 *
 * A line R is a promise: it is printed only after the flush, so whatever is missing later was lost by
 * the storage. Old records are read back now and then: a disk that shows yesterday's blocks after a
 * migration is found out while the guest still runs.
 */
#define _GNU_SOURCE /* O_DIRECT */
#include "beacon.h"
#include "params.h"
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define SERIAL "/dev/ttyS0"
#define READ_BACK_EVERY 16 /* records between two read-backs */
#define MARK_EVERY 64	   /* records between two changes of the directory */

struct recorder {
	struct params params;
	int serial;
	int data;
	const char *mark; /* small file replaced by rename: gives the guest's own journal work */
	char input[16];	  /* what came on the serial line since the last newline */
	size_t input_used;
	uint8_t *buf; /* RECORD_SLOT_SIZE bytes, aligned for O_DIRECT */
};

static void say(const struct recorder *rec, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One write per line, so that the kernel's own messages cannot land inside it. */
static void say(const struct recorder *rec, const char *format, ...)
{
	char line[160];
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (length >= (int)sizeof(line))
		length = sizeof(line) - 1;
	for (int done = 0; done < length;) {
		ssize_t n = write(rec->serial, line + done, (size_t)(length - done));

		if (n < 0 && errno != EINTR)
			exit(2); /* without the log there is nobody to promise anything to */
		done += n > 0 ? (int)n : 0;
	}
}

static void fail(const struct recorder *rec, const char *what, uint64_t seq)
{
	say(rec, "E %s, record %llu: %s\n", what, (unsigned long long)seq, strerror(errno));
	exit(1);
}

static unsigned long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (unsigned long long)ts.tv_sec * 1000 + (unsigned long long)ts.tv_nsec / 1000000;
}

static void open_serial(struct recorder *rec)
{
	struct termios tio;

	rec->serial = open(SERIAL, O_RDWR | O_NOCTTY);
	if (rec->serial < 0)
		exit(2);
	tcgetattr(rec->serial, &tio);
	cfmakeraw(&tio); /* no echo: what the host sends must not appear in the log */
	tio.c_cc[VMIN] = 0;
	tio.c_cc[VTIME] = 0;
	tcsetattr(rec->serial, TCSANOW, &tio);
}

/* Has a line STOP come in? */
static int stop_asked(struct recorder *rec)
{
	char c;

	while (read(rec->serial, &c, 1) == 1) {
		if (c == '\n' || c == '\r') {
			rec->input[rec->input_used] = '\0';
			rec->input_used = 0;
			if (!strcmp(rec->input, "STOP"))
				return 1;
		} else if (rec->input_used < sizeof(rec->input) - 1) {
			rec->input[rec->input_used++] = c;
		}
	}
	return 0;
}

static off_t place(uint64_t seq)
{
	return (off_t)record_slot(seq) * RECORD_SLOT_SIZE;
}

static void write_record(struct recorder *rec, uint64_t seq)
{
	size_t length = record_fill(rec->buf, seq, rec->params.seed);
	ssize_t done = pwrite(rec->data, rec->buf, length, place(seq));

	if (done >= 0 && (size_t)done != length)
		errno = ENOSPC;
	if (done < 0 || (size_t)done != length)
		fail(rec, "write", seq);
	if (fdatasync(rec->data))
		fail(rec, "fdatasync", seq);
	say(rec, "R %llu %llu\n", (unsigned long long)seq, now_ms());
}

/* Reads an older record; any of this or an earlier boot may be chosen, for all were acknowledged. */
static void read_back(struct recorder *rec, uint64_t seq)
{
	uint64_t window = seq < RECORD_SLOTS ? seq : RECORD_SLOTS - 1;
	uint64_t old = seq - 1 - (record_slot(seq) * 7919ull + seq) % window;
	uint64_t found = UINT64_MAX;
	enum record_state state;

	if (pread(rec->data, rec->buf, RECORD_SLOT_SIZE, place(old)) != RECORD_SLOT_SIZE)
		fail(rec, "read", old);
	state = record_compare(rec->buf, old, rec->params.seed, &found);
	if (state == RECORD_GOOD)
		return;
	say(rec, "E record %llu read back at %llu is %s\n", (unsigned long long)old, (unsigned long long)seq,
	    record_state_name(state));
	exit(1);
}

static void replace_mark(struct recorder *rec, uint64_t seq)
{
	char fresh[128];
	int fd;

	snprintf(fresh, sizeof(fresh), "%s.new", rec->mark);
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		fail(rec, "create mark", seq);
	if (dprintf(fd, "%llu\n", (unsigned long long)seq) < 0 || fsync(fd) || close(fd))
		fail(rec, "write mark", seq);
	if (rename(fresh, rec->mark))
		fail(rec, "rename mark", seq);
}

/* Number in the mark file, 0 without one: no record before it is missing. */
static uint64_t read_mark(const struct recorder *rec)
{
	unsigned long long seq = 0;
	FILE *file = fopen(rec->mark, "r");

	if (!file)
		return 0;
	if (fscanf(file, "%llu", &seq) != 1)
		seq = 0;
	fclose(file);
	return seq;
}

/*
 * First number that has no record yet. An acknowledged record that the disk has lost would be taken for
 * the end and written again; the host finds that out: it has seen a higher number than READY's.
 */
static uint64_t find_start(struct recorder *rec)
{
	for (uint64_t seq = read_mark(rec);; seq++) {
		uint64_t found;

		if (pread(rec->data, rec->buf, RECORD_SLOT_SIZE, place(seq)) != RECORD_SLOT_SIZE)
			fail(rec, "read", seq);
		if (record_compare(rec->buf, seq, rec->params.seed, &found) != RECORD_GOOD)
			return seq;
	}
}

static void run(struct recorder *rec)
{
	uint64_t start = rec->params.find_start ? find_start(rec) : rec->params.start;
	uint64_t count = rec->params.count;

	say(rec, "READY %llu\n", (unsigned long long)start);
	for (uint64_t seq = start; !count || seq - start < count; seq++) {
		if (stop_asked(rec))
			return;
		write_record(rec, seq);
		if (seq && seq % READ_BACK_EVERY == 0)
			read_back(rec, seq);
		if (seq % MARK_EVERY == 0)
			replace_mark(rec, seq);
	}
}

static void open_data(struct recorder *rec, const char *path)
{
	struct stat st;

	rec->data = open(path, O_RDWR | O_DIRECT);
	if (rec->data < 0 || fstat(rec->data, &st))
		fail(rec, path, 0);
	if ((uint64_t)st.st_size != RECORD_FILE_SIZE) {
		say(rec, "E %s has %lld bytes, wanted %llu\n", path, (long long)st.st_size,
		    (unsigned long long)RECORD_FILE_SIZE);
		exit(1);
	}
	rec->buf = aligned_alloc(RECORD_SLOT_SIZE, RECORD_SLOT_SIZE);
	if (!rec->buf)
		fail(rec, "memory", 0);
}

int main(int argc, char **argv)
{
	struct recorder rec = { .mark = "/mnt/mark" };

	if (argc != 2)
		return 2;
	open_serial(&rec);
	if (params_read("/proc/cmdline", &rec.params))
		fail(&rec, "csv.start, csv.count or csv.seed is no number", 0);
	open_data(&rec, argv[1]);
	beacon_start();
	run(&rec);
	return 0;
}
