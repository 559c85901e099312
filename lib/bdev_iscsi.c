/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/bdev_impl.h"

enum csv_err csv_bdev_iscsi_open(const char *url, unsigned flags, struct csv_bdev **dev, struct csv_why *why)
{
	return csv_fail(why, CSV_NOTSUP, "attach the LUN with open-iscsi and give its device",
			"no iSCSI in this build");
}
