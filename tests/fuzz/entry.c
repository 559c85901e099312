/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One target as libFuzzer wants it; FUZZ_TARGET names it. */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	FUZZ_TARGET.run(data, len < FUZZ_MAX ? len : FUZZ_MAX);
	return 0;
}
