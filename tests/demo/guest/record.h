/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one record of the demo's guest looks like, and where it goes.
 *
 * Shared by the recorder (in the guest) and record-check (on the host), so that both compute the same
 * bytes: a record is a pure function of (seed, sequence number), and anything else found in its place
 * is a loss.
 */
#ifndef CSV_DEMO_RECORD_H
#define CSV_DEMO_RECORD_H

#include <stddef.h>
#include <stdint.h>

#define RECORD_SLOT_SIZE 4096u		/* bytes of the data file that belong to one record */
#define RECORD_SLOTS 327680u		/* slots in the data file: 1.25 GiB in all */
#define RECORD_FILE_SIZE ((uint64_t)RECORD_SLOTS * RECORD_SLOT_SIZE)
#define RECORD_SECTOR 512u		/* records are whole sectors, so that O_DIRECT takes them */

/* Why a slot does not hold the record that was asked for. */
enum record_state {
	RECORD_GOOD,
	RECORD_ABSENT,	/* no record header: never written, or overwritten by something foreign */
	RECORD_TORN,	/* a header, but the checksum or the payload does not fit it */
	RECORD_OTHER,	/* an intact record, of another sequence number or seed */
};

/*
 * Slot of record @seq, 0..RECORD_SLOTS-1. Within one round of RECORD_SLOTS sequence numbers no two
 * share a slot; later rounds overwrite, in the same order.
 */
uint32_t record_slot(uint64_t seq);

/* Bytes of record @seq: a multiple of RECORD_SECTOR, RECORD_SECTOR..RECORD_SLOT_SIZE. */
size_t record_length(uint64_t seq, uint64_t seed);

/* Writes record @seq into @buf (RECORD_SLOT_SIZE bytes); returns its length in bytes. */
size_t record_fill(uint8_t *buf, uint64_t seq, uint64_t seed);

/*
 * Compares @buf (RECORD_SLOT_SIZE bytes) with record @seq of @seed. *@found is the sequence number of
 * an intact record of that seed, else unchanged.
 */
enum record_state record_compare(const uint8_t *buf, uint64_t seq, uint64_t seed, uint64_t *found);

/* A short word for messages. */
const char *record_state_name(enum record_state state);

#endif
