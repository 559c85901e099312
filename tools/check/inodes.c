/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/check/inodes.h"

#include <stdlib.h>

static size_t place_of(const struct chk_inodes *t, uint64_t ino)
{
	size_t i = (size_t)((ino * 0x9e3779b97f4a7c15ull) >> 20) & (t->places - 1);

	while (t->place[i].ino && t->place[i].ino != ino)
		i = (i + 1) & (t->places - 1);
	return i;
}

/* At most three quarters are taken. */
static bool grow(struct chk_inodes *t)
{
	struct chk_inodes bigger = { .places = t->places ? 2 * t->places : 256, .count = t->count };

	if (t->places && t->count < t->places / 4 * 3)
		return true;
	bigger.place = calloc(bigger.places, sizeof(*bigger.place));
	if (!bigger.place)
		return false;
	for (size_t i = 0; i < t->places; i++)
		if (t->place[i].ino)
			bigger.place[place_of(&bigger, t->place[i].ino)] = t->place[i];
	free(t->place);
	*t = bigger;
	return true;
}

struct chk_ient *chk_inodes_add(struct chk_inodes *t, uint64_t ino)
{
	struct chk_ient *e;

	if (!grow(t))
		return NULL;
	e = &t->place[place_of(t, ino)];
	e->ino = ino;
	t->count++;
	return e;
}

struct chk_ient *chk_inodes_find(const struct chk_inodes *t, uint64_t ino)
{
	struct chk_ient *e;

	if (!t->places || !ino)
		return NULL;
	e = &t->place[place_of(t, ino)];
	return e->ino ? e : NULL;
}

void chk_inodes_free(struct chk_inodes *t)
{
	free(t->place);
	*t = (struct chk_inodes){ 0 };
}
