/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz targets: everything that csvfs reads from disk, wire and configuration.  Each is a function of bytes that must
 * return, whatever they are; what must hold afterwards it asserts.
 *
 * The same function is run in two ways: by libFuzzer (`make fuzz`), and by drive.c with a bounded number of inputs
 * that follow from a seed.
 */
#ifndef CSV_TESTS_FUZZ_H
#define CSV_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/log.h"

#define FUZZ_MAX 4096u /* bytes of an input */

struct fuzz_target {
	const char *name;
	void (*run)(const uint8_t *data, size_t len);
	/* Sound input number i, to begin with: its length; 0: there is none. `data` has room for FUZZ_MAX. */
	size_t (*seed)(unsigned i, uint8_t *data);
};

extern const struct fuzz_target fuzz_machine;  /* messages of the group */
extern const struct fuzz_target fuzz_state;    /* the group's state, as a joiner gets it */
extern const struct fuzz_target fuzz_frames;   /* records of a csvfs */
extern const struct fuzz_target fuzz_handoff;  /* handoff messages and records */
extern const struct fuzz_target fuzz_dlm;      /* what csv-dlm-space says */
extern const struct fuzz_target fuzz_volume;   /* blocks of a volume, its journal too */
extern const struct fuzz_target fuzz_texts;    /* csvfs.conf, LUN names, mount options, figures */

/*
 * A test program: each target with its sound inputs, and with FUZZ_N that are made of them by random changes.  FUZZ_SEED
 * chooses which; FUZZ_ONE=N runs that one alone.  FUZZ_CORPUS=DIR: writes the sound ones to DIR/TARGET/, for libFuzzer.
 */
int fuzz_drive(const char *group, const struct fuzz_target *const *targets, unsigned n);

/* An input that is being eaten up; zeros when it is over. */
struct fuzz_in {
	const uint8_t *data;
	size_t len;
};
bool fuzz_more(const struct fuzz_in *in);
uint8_t fuzz_u8(struct fuzz_in *in);
uint16_t fuzz_u16(struct fuzz_in *in);
uint64_t fuzz_u64(struct fuzz_in *in);
/* Takes up to max bytes; how many there were. */
size_t fuzz_take(struct fuzz_in *in, void *to, size_t max);

/* A seed that is being written. */
struct fuzz_out {
	uint8_t *data; /* FUZZ_MAX */
	size_t len;
};
void fuzz_put(struct fuzz_out *out, const void *data, size_t len);
void fuzz_put8(struct fuzz_out *out, uint8_t v);

/* One machine in a group of three: the messages of the others are the caller's (bus.c). */
struct csv_machine;
struct csv_event;
struct fuzz_bus {
	struct csv_machine *m;
	struct fuzz_packet *head, **tail; /* own messages on their way */
	uint64_t timers[64];
	unsigned ntimers;
	bool out; /* evicted: nothing more happens */
};
/* Members (bit i: node i + 1); node 1 is ours. */
void fuzz_bus_open(struct fuzz_bus *b);
void fuzz_bus_close(struct fuzz_bus *b);
void fuzz_bus_step(struct fuzz_bus *b, const struct csv_event *ev);
void fuzz_bus_conf(struct fuzz_bus *b, unsigned members, unsigned down);
/* Delivers own messages until there are none on their way. */
void fuzz_bus_settle(struct fuzz_bus *b);
/* Forms a view with the other members of the configuration; these have state (as many gens), or none. */
void fuzz_bus_form(struct fuzz_bus *b, bool others_have_state);
void fuzz_bus_timers(struct fuzz_bus *b);
/* A message of node `sender`: header with the view's name and version, body. */
void fuzz_bus_message(struct fuzz_bus *b, uint32_t sender, uint8_t kind, const void *body, size_t len);
/* Its state, written and read again, is the same. */
void fuzz_bus_check(const struct fuzz_bus *b);

#endif
