/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "csv/proto.h"

const char *csv_msg_name(unsigned type)
{
	switch (type) {
#define CSV_MSG_CASE(n, name, text)                                                                                    \
	case n:                                                                                                        \
		return #name;
		CSV_MSG_LIST(CSV_MSG_CASE)
#undef CSV_MSG_CASE
	default:
		return "?";
	}
}
