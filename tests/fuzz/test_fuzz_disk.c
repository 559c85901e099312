/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What lies on the LUN. */
#include "tests/fuzz/fuzz.h"

int main(void)
{
	static const struct fuzz_target *const targets[] = { &fuzz_volume };

	return fuzz_drive("fuzz-disk", targets, 1);
}
