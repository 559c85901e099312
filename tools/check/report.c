/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Findings on their way to the caller. */
#include <stdarg.h>
#include <stdio.h>

#include "tools/check/check_int.h"

static const struct {
	const char *name, *text;
} codes[] = {
#define CSV_CHECK_ROW(name, code, text) [CSV_CHECK_##name] = { code, text },
	CSV_CHECK_CODES(CSV_CHECK_ROW)
#undef CSV_CHECK_ROW
};

const char *csv_check_code_name(enum csv_check_code code)
{
	return (unsigned)code < CSV_CHECK_CODE_COUNT ? codes[code].name : "unknown";
}

const char *csv_check_code_text(enum csv_check_code code)
{
	return (unsigned)code < CSV_CHECK_CODE_COUNT ? codes[code].text : "unknown";
}

__attribute__((format(printf, 3, 0))) static void tell(struct chk *c, struct csv_finding *f, const char *fmt,
						       va_list ap)
{
	uint64_t n = ++c->sum->per_code[f->id];

	if (f->note)
		c->sum->notes++;
	else
		c->sum->findings++;
	if (!c->finding || (c->opts->max_per_code && n > c->opts->max_per_code))
		return;
	f->code = csv_check_code_name(f->id);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	c->finding(c->arg, f);
}

void chk_report(struct chk *c, enum csv_check_code code, uint64_t block, uint64_t inode, const char *fmt, ...)
{
	struct csv_finding f = { .id = code, .block = block, .inode = inode };
	va_list ap;

	va_start(ap, fmt);
	tell(c, &f, fmt, ap);
	va_end(ap);
}

void chk_note(struct chk *c, enum csv_check_code code, uint64_t block, uint64_t inode, const char *fmt, ...)
{
	struct csv_finding f = { .id = code, .note = true, .block = block, .inode = inode };
	va_list ap;

	va_start(ap, fmt);
	tell(c, &f, fmt, ap);
	va_end(ap);
}

bool chk_ok(struct chk *c, enum csv_err err)
{
	if (err != CSV_OK && c->err == CSV_OK)
		c->err = err;
	return c->err == CSV_OK;
}
