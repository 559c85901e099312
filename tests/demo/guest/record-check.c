// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Compares the records in a disk image with those that the guest acknowledged.
 *
 *   record-check IMAGE SEED
 *
 * Standard input, a line each:
 *   X <logical> <physical> <bytes>   an extent of the data file: offset in it, offset in the image
 *   A <n>                            record n was acknowledged
 * Standard output: a line `L <n> <reason>` for each lost record, then `T <acked> <lost>`.
 * Exit status: 0 (also with losses), 1 failed, 2 usage.
 *
 * The image is only read, through its extents: no mounting, no root, the same on every filesystem.
 */
#include "record.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct extent {
	uint64_t logical, physical, bytes;
};

struct check {
	int image;
	uint64_t seed;
	struct extent *extents;
	size_t extent_count;
	uint64_t *newest; /* per slot: highest acknowledged sequence number + 1, or 0 */
	uint64_t highest; /* over all slots, + 1 */
	uint64_t acked, lost;
};

static void die(const char *what)
{
	fprintf(stderr, "record-check: ");
	perror(what);
	exit(1);
}

static void add_extent(struct check *check, const char *line)
{
	struct extent extent;

	if (sscanf(line, "X %" SCNu64 " %" SCNu64 " %" SCNu64, &extent.logical, &extent.physical, &extent.bytes) != 3)
		return;
	check->extents = realloc(check->extents, (check->extent_count + 1) * sizeof(extent));
	if (!check->extents)
		die("memory");
	check->extents[check->extent_count++] = extent;
}

/* A number acknowledged twice (the guest went on from an earlier one) counts once. */
static void add_acked(struct check *check, uint64_t seq)
{
	uint64_t *newest = &check->newest[record_slot(seq)];

	if (*newest < seq + 1) {
		*newest = seq + 1;
		check->acked++;
	}
	if (check->highest < seq + 1)
		check->highest = seq + 1;
}

static void read_input(struct check *check)
{
	char line[128];
	uint64_t seq;

	while (fgets(line, sizeof(line), stdin)) {
		if (line[0] == 'X')
			add_extent(check, line);
		else if (sscanf(line, "A %" SCNu64, &seq) == 1)
			add_acked(check, seq);
	}
}

/* Offset in the image of a slot of the data file, or -1 where the file has a hole. */
static off_t locate(const struct check *check, uint32_t slot)
{
	uint64_t at = (uint64_t)slot * RECORD_SLOT_SIZE;

	for (size_t i = 0; i < check->extent_count; i++) {
		const struct extent *extent = &check->extents[i];

		if (at >= extent->logical && at - extent->logical < extent->bytes)
			return (off_t)(extent->physical + (at - extent->logical));
	}
	return -1;
}

/*
 * Is the record there? In a later round its slot may be the one that was being overwritten when the
 * guest died: then the newer record, or a torn one, is no loss.
 */
static enum record_state inspect(const struct check *check, uint32_t slot)
{
	uint64_t seq = check->newest[slot] - 1;
	uint64_t found = check->highest;
	uint8_t buf[RECORD_SLOT_SIZE];
	off_t at = locate(check, slot);
	enum record_state state;

	if (at < 0)
		return RECORD_ABSENT;
	if (pread(check->image, buf, sizeof(buf), at) != (ssize_t)sizeof(buf))
		die("read");
	state = record_compare(buf, seq, check->seed, &found);
	if (state != RECORD_ABSENT && found == check->highest && record_slot(check->highest) == slot)
		return RECORD_GOOD;
	return state;
}

static void check_slot(struct check *check, uint32_t slot)
{
	enum record_state state = inspect(check, slot);

	if (state == RECORD_GOOD)
		return;
	check->lost++;
	printf("L %" PRIu64 " %s\n", check->newest[slot] - 1, record_state_name(state));
}

int main(int argc, char **argv)
{
	struct check check = { 0 };

	if (argc != 3) {
		fprintf(stderr, "usage: record-check IMAGE SEED\n");
		return 2;
	}
	check.image = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (check.image < 0)
		die(argv[1]);
	check.seed = strtoull(argv[2], NULL, 0);
	check.newest = calloc(RECORD_SLOTS, sizeof(*check.newest));
	if (!check.newest)
		die("memory");
	read_input(&check);
	for (uint32_t slot = 0; slot < RECORD_SLOTS; slot++)
		if (check.newest[slot])
			check_slot(&check, slot);
	printf("T %" PRIu64 " %" PRIu64 "\n", check.acked, check.lost);
	return 0;
}
