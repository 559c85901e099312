/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "csv/err.h"

struct err_row {
	int no;
	int code;
	const char *name;
	const char *text;
};

static const struct err_row rows[CSV_ERR_COUNT] = {
#define ERR_ROW(n, no, code, text) [CSV_##n] = { no, code, #n, text },
	CSV_ERR_LIST(ERR_ROW)
#undef ERR_ROW
};

/* Lower-case names, made at start-up: the preprocessor cannot lower an identifier. */
static char names[CSV_ERR_COUNT][16];

__attribute__((constructor)) static void names_init(void)
{
	for (size_t i = 0; i < CSV_ERR_COUNT; i++)
		for (size_t k = 0; rows[i].name[k] && k + 1 < sizeof(names[i]); k++)
			names[i][k] = (char)(rows[i].name[k] | 0x20);
}

static bool known(enum csv_err err)
{
	return (unsigned)err < CSV_ERR_COUNT;
}

const char *csv_err_name(enum csv_err err)
{
	return known(err) ? names[err] : "unknown";
}

const char *csv_err_text(enum csv_err err)
{
	return known(err) ? rows[err].text : "unknown error";
}

int csv_err_errno(enum csv_err err)
{
	return known(err) ? rows[err].no : EIO;
}

int csv_err_exit(enum csv_err err)
{
	return known(err) ? rows[err].code : 1;
}

/*
 * Several errors share an errno; here each errno has the one meaning that a
 * system call can have.
 */
enum csv_err csv_err_from_errno(int no)
{
	static const struct {
		int no;
		enum csv_err err;
	} map[] = {
		{ 0, CSV_OK },
		{ ENOMEM, CSV_NOMEM },
		{ EINVAL, CSV_INVAL },
		{ EOPNOTSUPP, CSV_NOTSUP },
		{ ENOSYS, CSV_NOTSUP },
		{ ENOTTY, CSV_NOTSUP },
		{ ETIMEDOUT, CSV_TIMEOUT },
		{ EINTR, CSV_INTR },
		{ EAGAIN, CSV_AGAIN },
		{ ENOENT, CSV_NOENT },
		{ ENODEV, CSV_NOENT },
		{ ENXIO, CSV_NOENT },
		{ ENOMEDIUM, CSV_NOENT },
		{ EEXIST, CSV_EXIST },
		{ ENOTDIR, CSV_NOTDIR },
		{ EISDIR, CSV_ISDIR },
		{ ENOTEMPTY, CSV_NOTEMPTY },
		{ ENAMETOOLONG, CSV_NAMETOOLONG },
		{ ESTALE, CSV_STALE },
		{ EPERM, CSV_PERM },
		{ EACCES, CSV_ACCESS },
		{ EMLINK, CSV_MLINK },
		{ EFBIG, CSV_FBIG },
		{ EOVERFLOW, CSV_FBIG },
		{ ENOSPC, CSV_NOSPC },
		{ EDQUOT, CSV_NOSPC },
		{ EROFS, CSV_ROFS },
		{ EBADF, CSV_BADF },
		{ EBUSY, CSV_BUSY },
		{ ETXTBSY, CSV_BUSY },
		{ EDEADLK, CSV_DEADLK },
		{ ENOTCONN, CSV_NOTCONN },
		{ EPROTO, CSV_PROTO },
		{ ECONNREFUSED, CSV_UNREACH },
		{ EHOSTUNREACH, CSV_UNREACH },
		{ ENETUNREACH, CSV_UNREACH },
		{ ENOLINK, CSV_UNREACH }, /* of a block device: its transport is gone (BLK_STS_TRANSPORT) */
		/* The kernel's answer to a reservation conflict on a block device (BLK_STS_RESV_CONFLICT). */
		{ EBADE, CSV_CONFLICT },
	};

	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if (map[i].no == no)
			return map[i].err;
	return CSV_IO;
}

void csv_why_init(struct csv_why *why)
{
	if (!why)
		return;
	memset(why, 0, sizeof(*why));
	why->err = CSV_OK;
	why->block = UINT64_MAX;
}

__attribute__((format(printf, 5, 0))) static enum csv_err fill(struct csv_why *why, enum csv_err err, uint64_t block,
							       const char *hint, const char *fmt, va_list ap)
{
	/* The first that fails knows best: a why that is filled stays. */
	if (!why || why->err != CSV_OK)
		return err;
	why->err = err;
	why->block = block;
	vsnprintf(why->text, sizeof(why->text), fmt, ap);
	snprintf(why->hint, sizeof(why->hint), "%s", hint ? hint : "");
	return err;
}

enum csv_err csv_fail(struct csv_why *why, enum csv_err err, const char *hint, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fill(why, err, UINT64_MAX, hint, fmt, ap);
	va_end(ap);
	return err;
}

enum csv_err csv_fail_block(struct csv_why *why, enum csv_err err, uint64_t block, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fill(why, err, block, NULL, fmt, ap);
	va_end(ap);
	return err;
}
