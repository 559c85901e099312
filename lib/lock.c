/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Modes and types of cluster locks: the DLM's compatibility matrix, and names for people. */
#include "csv/lock.h"

#define BIT(m) (1u << (m))
#define NL BIT(CSV_NL)
#define CR BIT(CSV_CR)
#define CW BIT(CSV_CW)
#define PR BIT(CSV_PR)
#define PW BIT(CSV_PW)
#define EX BIT(CSV_EX)

/* Row: a mode; bits: the modes that another holder may have at the same time (kernel: fs/dlm/lock.c). */
static const unsigned compat[6] = {
	[CSV_NL] = NL | CR | CW | PR | PW | EX,
	[CSV_CR] = NL | CR | CW | PR | PW,
	[CSV_CW] = NL | CR | CW,
	[CSV_PR] = NL | CR | PR,
	[CSV_PW] = NL | CR,
	[CSV_EX] = NL,
};

/* Row: a mode held; bits: the needs it covers. CW does not cover PR, nor PR CW. */
static const unsigned covers[6] = {
	[CSV_NL] = NL,
	[CSV_CR] = NL | CR,
	[CSV_CW] = NL | CR | CW,
	[CSV_PR] = NL | CR | PR,
	[CSV_PW] = NL | CR | CW | PR | PW,
	[CSV_EX] = NL | CR | CW | PR | PW | EX,
};

bool csv_mode_compatible(enum csv_mode a, enum csv_mode b)
{
	return (unsigned)a < 6 && (unsigned)b < 6 && (compat[a] & BIT(b));
}

bool csv_mode_covers(enum csv_mode have, enum csv_mode want)
{
	return (unsigned)have < 6 && (unsigned)want < 6 && (covers[have] & BIT(want));
}

enum csv_mode csv_mode_join(enum csv_mode a, enum csv_mode b)
{
	if (csv_mode_covers(a, b))
		return a;
	return csv_mode_covers(b, a) ? b : CSV_EX; /* PR and CW: neither covers the other */
}

const char *csv_mode_name(enum csv_mode mode)
{
	static const char *const names[6] = { "NL", "CR", "CW", "PR", "PW", "EX" };

	return (unsigned)mode < 6 ? names[mode] : "?";
}

const char *csv_lock_engine_name(enum csv_lock_engine e)
{
	static const char *const names[CSV_ENGINES] = { "auto", "cpg", "dlm" };

	return (unsigned)e < CSV_ENGINES ? names[e] : "?";
}

const char *csv_res_type_name(enum csv_res_type type)
{
	static const char *const names[CSV_RES_TYPES] = {
		[CSV_RES_NONE] = "none",     [CSV_RES_MOUNT] = "mount", [CSV_RES_SLOT] = "slot",
		[CSV_RES_RENAME] = "rename", [CSV_RES_INODE] = "inode", [CSV_RES_OPEN] = "open",
		[CSV_RES_LEASE] = "lease",   [CSV_RES_AG] = "ag",
	};

	return (unsigned)type < CSV_RES_TYPES ? names[type] : "?";
}
