/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a batch of the machine's seeds counts, and the tables of pairs among it. */
#ifndef CSV_TESTS_COVER_MACHINE_H
#define CSV_TESTS_COVER_MACHINE_H

#include "tests/sim/cover.h"
#include "tests/sim/sim.h"

#define SIM_COVER_OPS 21u
#define SIM_COVER_ANSWERS 8u
#define SIM_COVER_PHASES 6u
#define SIM_COVER_MESSAGES 12u

enum sim_tally {
	SIM_T_STEPS,
	SIM_T_GRANTS,
	SIM_T_RECOVERIES,
	SIM_T_EVICTIONS,
	SIM_T_REFUSED,
	SIM_T_VIEWS,
	SIM_T_JOINS,
	SIM_T_FORM_MSGS,
	SIM_T_FORM_BYTES,
	SIM_T_LIVES,
	SIM_T_ANSWERS = SIM_T_LIVES + CSV_LIVES * SIM_COVER_OPS,
	SIM_T_PHASES = SIM_T_ANSWERS + CSV_STEPS * SIM_COVER_ANSWERS,
	SIM_TALLIES = SIM_T_PHASES + SIM_COVER_PHASES * SIM_COVER_MESSAGES
};

extern const struct sim_table sim_cover_lives, sim_cover_answers, sim_cover_phases;

/* A member is about to be given this. */
void sim_cover(struct sim *s, unsigned n, const struct csv_event *ev);

#endif
