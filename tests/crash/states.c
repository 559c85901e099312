/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the volume looks like after each operation, and the marks and events that belong to it. */
#include <stdlib.h>
#include <string.h>

#include "crash.h"

struct entry {
	char name[CSV_NAME_MAX + 1];
	struct csv_iref ref;
	uint8_t type;
};

struct listing {
	struct entry *e;
	unsigned n, room;
};

struct walk {
	struct crash *c;
	struct csv_ctx ctx;
	struct crash_state *s;
	unsigned depth;
};

static uint64_t hash(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len--)
		h = (h ^ *p++) * 0x100000001b3ull;
	return h;
}

static bool on_entry(void *arg, const char *name, struct csv_iref ref, uint8_t type, uint64_t cookie)
{
	struct listing *l = arg;

	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return true;
	if (l->n == l->room) {
		l->room = l->room ? 2 * l->room : 32;
		l->e = realloc(l->e, l->room * sizeof(*l->e));
		if (!l->e)
			abort();
	}
	strcpy(l->e[l->n].name, name);
	l->e[l->n].ref = ref;
	l->e[l->n++].type = type;
	return true;
}

static void note_file(struct crash_state *s, const struct csv_attr *a)
{
	if (crash_state_find(s, a->ref)) /* a second name */
		return;
	s->file = realloc(s->file, (s->nfiles + 1) * sizeof(*s->file));
	if (!s->file)
		abort();
	s->file[s->nfiles++] = (struct crash_file){ a->ref, a->size };
}

static uint64_t hash_lease(struct walk *w, uint64_t h, const struct csv_attr *a)
{
	struct csv_lease l;
	enum csv_err err;

	csv_fs_lock_shared(w->ctx.fs);
	err = csv_lease_read(w->ctx.fs, a->ref, a->lease, &l);
	csv_fs_unlock(w->ctx.fs);
	if (err != CSV_OK) {
		crash_failed(w->c, "lease of inode %llu: %s", (unsigned long long)a->ref.ino, csv_err_text(err));
		return h;
	}
	h = hash(h, &l.mode, sizeof(l.mode));
	h = hash(h, &l.epoch, sizeof(l.epoch));
	h = hash(h, &l.slot, sizeof(l.slot));
	h = hash(h, &l.incarnation, sizeof(l.incarnation));
	return hash(h, l.vm, strlen(l.vm));
}

static void walk_dir(struct walk *w, struct csv_iref dir, uint64_t path);

static void walk_inode(struct walk *w, struct csv_iref ref, uint8_t type, uint64_t h)
{
	struct csv_attr a;
	char *target;
	enum csv_err err = csv_getattr(&w->ctx, ref, &a);
	uint64_t path = h;

	if (err != CSV_OK) {
		crash_failed(w->c, "inode %llu: %s", (unsigned long long)ref.ino, csv_err_text(err));
		return;
	}
	h = hash(h, &a.ref.ino, sizeof(a.ref.ino));
	h = hash(h, &a.ref.gen, sizeof(a.ref.gen));
	h = hash(h, &a.mode, sizeof(a.mode));
	h = hash(h, &a.nlink, sizeof(a.nlink));
	h = hash(h, &a.flags, sizeof(a.flags));
	h = hash(h, &type, sizeof(type));
	if (S_ISREG(a.mode))
		note_file(w->s, &a);
	else
		h = hash(h, &a.size, sizeof(a.size));
	if (a.lease)
		h = hash_lease(w, h, &a);
	if (S_ISLNK(a.mode) && csv_readlink(&w->ctx, ref, &target) == CSV_OK) {
		h = hash(h, target, strlen(target));
		free(target);
	}
	w->s->names += h * (h | 1); /* a sum: the order of a listing means nothing */
	if (S_ISDIR(a.mode))
		walk_dir(w, ref, path);
}

static void walk_dir(struct walk *w, struct csv_iref dir, uint64_t path)
{
	struct listing l = { 0 };
	enum csv_err err = csv_readdir(&w->ctx, dir, 0, on_entry, &l);

	if (err != CSV_OK)
		crash_failed(w->c, "directory %llu: %s", (unsigned long long)dir.ino, csv_err_text(err));
	if (++w->depth > 64)
		crash_failed(w->c, "directories in a ring");
	for (unsigned i = 0; i < l.n && crash_good(w->c); i++)
		walk_inode(w, l.e[i].ref, l.e[i].type, hash(path, l.e[i].name, strlen(l.e[i].name) + 1));
	w->depth--;
	free(l.e);
}

bool crash_walk(struct crash *c, struct csv_fs *fs, struct crash_state *s)
{
	struct walk w = { .c = c, .ctx = { .fs = fs }, .s = s };

	*s = (struct crash_state){ 0 };
	walk_inode(&w, (struct csv_iref){ fs->sb.root_inode, 0 }, DT_DIR, 0xcbf29ce484222325ull);
	return crash_good(c);
}

void crash_state_free(struct crash_state *s)
{
	free(s->file);
	*s = (struct crash_state){ 0 };
}

const struct crash_file *crash_state_find(const struct crash_state *s, struct csv_iref ref)
{
	for (unsigned i = 0; i < s->nfiles; i++)
		if (s->file[i].ref.ino == ref.ino && s->file[i].ref.gen == ref.gen)
			return &s->file[i];
	return NULL;
}

void crash_add_event(struct crash *c, const struct crash_event *e)
{
	if (e->n == 0)
		return;
	if (c->nevents == c->events_room) {
		c->events_room = c->events_room ? 2 * c->events_room : 256;
		c->event = realloc(c->event, c->events_room * sizeof(*c->event));
		if (!c->event)
			abort();
	}
	c->event[c->nevents++] = *e;
}

void crash_mark(struct crash *c, enum crash_mark kind, uint32_t n)
{
	csv_record_mark(c->dev, (uint64_t)kind << 32 | n);
}
