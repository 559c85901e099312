/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What comes over sockets and the group, and what people write. */
#include "tests/fuzz/fuzz.h"

int main(void)
{
	static const struct fuzz_target *const targets[] = {
		&fuzz_machine, &fuzz_state, &fuzz_frames, &fuzz_handoff, &fuzz_dlm, &fuzz_texts,
	};

	return fuzz_drive("fuzz-wire", targets, sizeof(targets) / sizeof(targets[0]));
}
