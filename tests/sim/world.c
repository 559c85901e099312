/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clock, queue of events, faults, and the run of one seed. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/env.h"
#include "tests/sim/cover_machine.h"
#include "tests/sim/seeds.h"

uint64_t sim_rand(struct sim *s, uint64_t below)
{
	return below ? csv_rng_next(&s->rng) % below : 0;
}

bool sim_chance(struct sim *s, unsigned percent)
{
	return sim_rand(s, 100) < percent;
}

void sim_trace(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (!s->trace)
		return;
	fprintf(s->trace, "%9.3f ", (double)s->now / 1000.0);
	va_start(ap, fmt);
	vfprintf(s->trace, fmt, ap);
	va_end(ap);
	fputc('\n', s->trace);
}

void sim_fail(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->why, sizeof(s->why), fmt, ap);
	va_end(ap);
	sim_trace_all(s);
	sim_trace(s, "FAILED: %s", s->why);
	longjmp(s->fail, 1);
}

/* ---- queue: a binary heap by (time, seq) ---- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->time != b->time ? a->time < b->time : a->seq < b->seq;
}

static void push(struct sim *s, struct sim_event e)
{
	size_t i = s->nheap++;

	if (s->nheap > s->capheap) {
		s->capheap = s->capheap * 2 + 256;
		s->heap = realloc(s->heap, s->capheap * sizeof(*s->heap));
		CSV_ASSERT(s->heap);
	}
	for (; i && before(&e, &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = e;
}

static struct sim_event pop(struct sim *s)
{
	struct sim_event top = s->heap[0], last = s->heap[--s->nheap];
	size_t i = 0, c;

	while ((c = 2 * i + 1) < s->nheap) {
		if (c + 1 < s->nheap && before(&s->heap[c + 1], &s->heap[c]))
			c++;
		if (!before(&s->heap[c], &last))
			break;
		s->heap[i] = s->heap[c];
		i = c;
	}
	s->heap[i] = last;
	return top;
}

void sim_at(struct sim *s, uint64_t delay, int node, const uint64_t *life, sim_fn fn, uint64_t a, uint64_t b,
	    void *data)
{
	push(s, (struct sim_event){ .time = s->now + delay,
				    .seq = s->next_seq++,
				    .fn = fn,
				    .node = node,
				    .life = life ? *life : 0,
				    .life_of = life,
				    .a = a,
				    .b = b,
				    .data = data });
}

static void defer(struct sim_node *nd, struct sim_event e)
{
	if (nd->ndeferred == nd->capdeferred) {
		nd->capdeferred = nd->capdeferred * 2 + 64;
		nd->deferred = realloc(nd->deferred, nd->capdeferred * sizeof(*nd->deferred));
		CSV_ASSERT(nd->deferred);
	}
	nd->deferred[nd->ndeferred++] = e;
}

static void run_event(struct sim *s, struct sim_event e)
{
	if (e.node >= 0 && s->node[e.node].frozen) {
		defer(&s->node[e.node], e);
		return;
	}
	if (!e.life_of || *e.life_of == e.life)
		e.fn(s, e.a, e.b, e.data);
	free(e.data);
}

/* ---- the machine and its daemon ---- */

static void to_fs(struct sim *s, uint64_t n, uint64_t conn, void *data)
{
	sim_fs_record(s, (unsigned)n, conn, data);
}

static void close_fs(struct sim *s, uint64_t n, uint64_t conn, void *data)
{
	sim_fs_closed(s, (unsigned)n, conn);
}

static void fire_timer(struct sim *s, uint64_t n, uint64_t timer, void *data)
{
	struct csv_event ev = { .type = CSV_EV_TIMER, .timer = timer };

	sim_step(s, (unsigned)n, &ev);
}

static void send_to_fs(struct sim *s, unsigned n, const struct csv_action *a)
{
	struct sim_fs *fs = &s->node[n].fs;
	struct csv_msg *copy = malloc(sizeof(*copy));
	uint64_t at = s->now + 10 + sim_rand(s, 100);

	CSV_ASSERT(copy);
	*copy = a->msg;
	if (at <= fs->to_fs_last)
		at = fs->to_fs_last + 1;
	fs->to_fs_last = at;
	sim_at(s, at - s->now, (int)n, &fs->life, to_fs, n, a->client, copy);
}

static void rejoin_event(struct sim *s, uint64_t n, uint64_t b, void *data)
{
	sim_daemon_kill(s, (unsigned)n); /* the same, for all others */
}

static void count_forming(struct sim *s, const struct csv_action *a)
{
	uint8_t kind = ((const uint8_t *)a->data)[5];

	if (kind != CSV_G_START && kind != CSV_G_HELLO && kind != CSV_G_SNAPSHOT)
		return;
	s->form_msgs++;
	s->form_bytes += a->len;
}

static void note_view(struct sim *s, unsigned n)
{
	const struct csv_machine *m = s->node[n].m;
	bool news = true;

	if (m->phase != CSV_PHASE_FORMED || m->state.vid == s->node[n].vid)
		return;
	s->node[n].vid = m->state.vid;
	sim_check_view(s, n);
	s->joins++;
	for (unsigned i = 0; i < s->nnodes; i++)
		news &= i == n || s->node[i].vid != m->state.vid;
	s->views += news;
}

/* Own operations that were on their way when the machine made this action; those sent behind it came later. */
static size_t own_ops(struct sim *s, unsigned n, const struct csv_action *a)
{
	const struct csv_list *fifo = &s->node[n].m->fifo;
	size_t all = 0, later = 0;

	for (const struct csv_list *pos = fifo->next; pos != fifo; pos = pos->next)
		all++;
	for (a++; a < s->actions.list + s->actions.n; a++)
		later += a->type == CSV_ACT_SEND && ((const uint8_t *)a->data)[5] >= CSV_G_JOIN;
	return all > later ? all - later : 0;
}

static void carry_out(struct sim *s, unsigned n, const struct csv_action *a)
{
	struct sim_node *nd = &s->node[n];

	switch (a->type) {
	case CSV_ACT_SEND:
		count_forming(s, a);
		sim_cpg_send(s, n, SIM_MSG, a->data, a->len);
		break;
	case CSV_ACT_CLIENT:
		sim_check_told(s, n, &a->msg, own_ops(s, n, a));
		send_to_fs(s, n, a);
		break;
	case CSV_ACT_CLOSE:
		sim_at(s, 500, (int)n, &nd->fs.life, close_fs, n, a->client, NULL);
		break;
	case CSV_ACT_REJOIN:
		s->evictions++;
		sim_check_evicted(s, n);
		sim_trace(s, "n%u finds itself evicted", n + 1);
		sim_at(s, 1, (int)n, &nd->daemon_life, rejoin_event, n, 0, NULL);
		break;
	case CSV_ACT_KILL:
		sim_trace(s, "n%u ends corosync on n%u", n + 1, a->nodeid);
		sim_crash_later(s, a->nodeid - 1, 100 * SIM_MS);
		break;
	case CSV_ACT_DLM:
		sim_dlm_order(s, n, &a->dlm);
		break;
	case CSV_ACT_TIMER:
		sim_at(s, a->ms * SIM_MS, (int)n, &nd->daemon_life, fire_timer, n, a->timer, NULL);
		break;
	case CSV_ACT_LOG:
		if (a->level <= CSV_LOG_ERROR && strstr(a->text, "malformed"))
			sim_fail(s, "node %u: %s", n + 1, a->text);
		sim_trace(s, "n%u log: %s", n + 1, a->text);
		break;
	}
}

void sim_carry_out(struct sim *s, unsigned n)
{
	for (size_t i = 0; i < s->actions.n; i++)
		carry_out(s, n, &s->actions.list[i]);
	csv_actions_clear(&s->actions);
}

void sim_step(struct sim *s, unsigned n, const struct csv_event *ev)
{
	uint64_t stray;

	if (sim_hang_keeps(s, n, ev))
		return;
	s->steps++;
	sim_cover(s, n, ev);
	stray = sim_stray_before(s, n, ev);
	csv_machine_step(s->node[n].m, ev, &s->actions);
	sim_stray_after(s, n, stray);
	sim_carry_out(s, n);
	note_view(s, n);
	sim_check_point(s, n);
	sim_check_evict(s, n);
}

static void stray_event(struct sim *s, uint64_t a, uint64_t b, void *data)
{
	if (s->calm)
		return;
	sim_stray(s, (unsigned)sim_rand(s, s->nnodes));
	sim_at(s, sim_rand(s, 200) * SIM_MS, -1, NULL, stray_event, 0, 0, NULL);
}

void sim_daemon_start(struct sim *s, unsigned n)
{
	struct sim_node *nd = &s->node[n];
	struct csv_machine_cfg cfg = { .nodeid = n + 1, .cluster = "c", .nnodes = s->nnodes };

	for (unsigned i = 0; i < s->nnodes; i++) {
		cfg.node[i].nodeid = i + 1;
		cfg.node[i].votes = 1;
		snprintf(cfg.node[i].name, sizeof(cfg.node[i].name), "n%u", i + 1);
	}
	cfg.two_node = s->two_node;
	cfg.reattach_ms = SIM_REATTACH_MS;
	cfg.beat_ms = SIM_BEAT_MS;
	cfg.evict_ms = SIM_EVICT_MS;
	cfg.boot = csv_rng_next(&s->rng);
	/* Some are a version ahead, as while a cluster is being upgraded. */
	cfg.version_min = CSV_GROUP_VERSION_MIN;
	cfg.version_max = (uint8_t)(CSV_GROUP_VERSION + (cfg.boot >> 32 & 1));
	CSV_ASSERT(csv_machine_new(&cfg, &nd->m) == CSV_OK);
	csv_machine_remember(nd->m, nd->memory, nd->nmemory);
	nd->daemon = true;
	nd->joined = false;
	sim_trace(s, "n%u csvlockd starts", n + 1);
	sim_cpg_send(s, n, SIM_JOIN, NULL, nd->daemon_life);
}

void sim_daemon_stop(struct sim *s, unsigned n)
{
	struct sim_node *nd = &s->node[n];

	if (!nd->daemon)
		return;
	sim_trace(s, "n%u csvlockd ends", n + 1);
	nd->daemon = nd->joined = false;
	sim_hang_end(nd);
	nd->daemon_life++;
	nd->nmemory = csv_machine_memory(nd->m, nd->memory);
	csv_machine_free(nd->m);
	nd->m = NULL;
	sim_dlm_daemon_ended(s, n);
	sim_cpg_send(s, n, SIM_LEAVE, NULL, 0);
}

/* ---- nodes ---- */

static void boot(struct sim *s, unsigned n)
{
	struct sim_node *nd = &s->node[n];

	sim_trace(s, "n%u boots", n + 1);
	nd->up = true;
	nd->inflight = 0;
	sim_cpg_alone(s, n);
	sim_daemon_start(s, n);
	sim_fs_start(s, n);
	sim_fs_ticks(s, n);
}

static void boot_event(struct sim *s, uint64_t n, uint64_t b, void *data)
{
	if (!s->node[n].up)
		boot(s, (unsigned)n);
}

static void drop_deferred(struct sim_node *nd)
{
	for (size_t i = 0; i < nd->ndeferred; i++)
		free(nd->deferred[i].data);
	nd->ndeferred = 0;
}

static void crash(struct sim *s, unsigned n)
{
	struct sim_node *nd = &s->node[n];

	if (!nd->up)
		return;
	sim_trace(s, "n%u crashes", n + 1);
	s->faults++;
	nd->frozen = false;
	drop_deferred(nd);
	sim_daemon_stop(s, n);
	sim_check_ends(s, n);
	nd->nmemory = 0;
	nd->fs = (struct sim_fs){ .life = nd->fs.life + 1, .state_since = s->now };
	sim_cpg_down(s, n);
	sim_dlm_crashed(s, n);
	sim_at(s, (500 + sim_rand(s, 3000)) * SIM_MS, -1, NULL, boot_event, n, 0, NULL);
}

static void crash_event(struct sim *s, uint64_t n, uint64_t life, void *data)
{
	if (s->node[n].life == life)
		crash(s, (unsigned)n);
}

void sim_crash_later(struct sim *s, unsigned n, uint64_t us)
{
	sim_at(s, us, -1, NULL, crash_event, n, s->node[n].life, NULL);
}

static void thaw_event(struct sim *s, uint64_t n, uint64_t life, void *data)
{
	struct sim_node *nd = &s->node[n];
	struct csv_list *pos;
	bool dropped = nd->ring == NULL;

	if (!nd->frozen || nd->life != life)
		return;
	sim_trace(s, "n%u thaws", (unsigned)n + 1);
	nd->frozen = false;
	nd->hung_until = s->now;
	for (size_t i = 0; i < nd->ndeferred; i++) {
		nd->deferred[i].time = s->now + i;
		nd->deferred[i].seq = s->next_seq++;
		push(s, nd->deferred[i]);
	}
	nd->ndeferred = 0;
	csv_list_for_each(pos, &s->rings) {
		const struct sim_ring *r = csv_list_entry(pos, const struct sim_ring, link);

		if (r != nd->ring && nd->ring && (r->members & nd->ring->members) && r->users)
			dropped = true; /* others went on */
	}
	if (dropped)
		sim_cpg_alone(s, (unsigned)n);
	else
		sim_cpg_stall(s);
}

static void freeze(struct sim *s, unsigned n, uint64_t ms)
{
	struct sim_node *nd = &s->node[n];

	if (!nd->up || nd->frozen)
		return;
	s->faults++;
	sim_trace(s, "n%u freezes for %llu ms", n + 1, (unsigned long long)ms);
	nd->frozen = true;
	sim_cpg_stall(s);
	sim_at(s, ms * SIM_MS, -1, NULL, thaw_event, n, nd->life, NULL);
}

static void restart_daemon_event(struct sim *s, uint64_t n, uint64_t life, void *data)
{
	struct sim_node *nd = &s->node[n];

	if (nd->up && !nd->daemon && nd->daemon_life == life)
		sim_daemon_start(s, (unsigned)n);
}

void sim_daemon_kill(struct sim *s, unsigned n)
{
	struct sim_node *nd = &s->node[n];

	if (!nd->up || !nd->daemon || nd->frozen)
		return;
	s->faults++;
	sim_daemon_stop(s, n);
	sim_fs_cut(s, n);
	sim_at(s, (50 + sim_rand(s, sim_chance(s, 30) ? 4000 : 800)) * SIM_MS, (int)n, &nd->life, restart_daemon_event,
	       n, nd->daemon_life, NULL);
}

static void partition(struct sim *s)
{
	char sides[SIM_NODES + 1] = { 0 };
	unsigned kinds = sim_chance(s, 20) ? 3 : 2;

	for (unsigned i = 0; i < s->nnodes; i++) {
		s->node[i].side = sim_chance(s, 40) ? 0 : (unsigned)sim_rand(s, kinds);
		sides[i] = (char)('0' + s->node[i].side);
	}
	sim_trace(s, "partition %s", sides);
	s->faults += strspn(sides, "0") != strlen(sides);
	sim_cpg_stall(s);
}

static void heal(struct sim *s)
{
	sim_trace(s, "network heals");
	for (unsigned i = 0; i < s->nnodes; i++)
		s->node[i].side = 0;
	sim_cpg_stall(s);
}

static void cut_event(struct sim *s, uint64_t n, uint64_t b, void *data)
{
	if (s->calm)
		return;
	sim_trace(s, "n%u is cut off", (unsigned)n + 1);
	s->faults++;
	s->node[n].side = 3;
	sim_cpg_stall(s);
}

static void kill_event(struct sim *s, uint64_t n, uint64_t b, void *data)
{
	if (!s->calm)
		sim_daemon_kill(s, (unsigned)n);
}

static void hang_event(struct sim *s, uint64_t n, uint64_t b, void *data)
{
	if (!s->calm)
		sim_hang(s, (unsigned)n);
}

static void freeze_event(struct sim *s, uint64_t n, uint64_t b, void *data)
{
	if (!s->calm)
		freeze(s, (unsigned)n, 2000 + sim_rand(s, 2000));
}

/* Chance alone hits the moments that matter too rarely. */
void sim_spite(struct sim *s, unsigned n, enum sim_moment at)
{
	static const sim_fn faults[] = { cut_event, kill_event, freeze_event, hang_event };

	if (s->calm || !sim_chance(s, 15))
		return;
	if (at == SIM_ATTACH) {
		/* The others lag behind, and are gone before they catch up. */
		s->quick = n;
		s->slow_until = s->now + 1500 * SIM_MS;
		sim_at(s, (20 + sim_rand(s, 300)) * SIM_MS, -1, NULL, cut_event, n, 0, NULL);
	} else {
		sim_at(s, sim_rand(s, 8 * SIM_MS), -1, NULL, faults[sim_rand(s, 4)], n, 0, NULL);
	}
}

static void kill_fs(struct sim *s, unsigned n)
{
	s->faults += s->node[n].fs.state != FS_DEAD;
	sim_fs_die(s, n, "crash");
}

static void fault_event(struct sim *s, uint64_t a, uint64_t b, void *data)
{
	unsigned n = (unsigned)sim_rand(s, s->nnodes), kind = (unsigned)sim_rand(s, 100);

	if (s->calm)
		return;
	if (s->hangs && sim_chance(s, 80))
		sim_hang(s, n);
	else if (kind < 30)
		partition(s);
	else if (kind < 45)
		heal(s);
	else if (kind < 57)
		sim_daemon_kill(s, n);
	else if (kind < 60) {
		for (n = 0; n < s->nnodes; n++) /* all at once: nobody has state */
			sim_daemon_kill(s, n);
	} else if (kind < 72 && s->node[n].up && !s->node[n].frozen)
		kill_fs(s, n);
	else if (kind < 82)
		crash(s, n);
	else if (kind < 88)
		sim_hang(s, n);
	else if (kind < 95)
		freeze(s, n, 100 + sim_rand(s, 3000));
	else
		s->node[n].fs.umount_wanted = true;
	sim_at(s, sim_rand(s, sim_chance(s, 40) ? 150 : 2500) * SIM_MS, -1, NULL, fault_event, 0, 0, NULL);
}

/*
 * When all has been well for a while the run is over: what would follow is more of the same.  One run of eight goes on
 * to SIM_END all the same.
 */
static void look_event(struct sim *s, uint64_t a, uint64_t b, void *data)
{
	if (!sim_check_rest(s))
		s->rest_since = 0;
	else if (!s->rest_since)
		s->rest_since = s->now;
	s->over = s->rest_since && s->now - s->rest_since >= SIM_REST && sim_check_answered(s);
	sim_at(s, 100 * SIM_MS, -1, NULL, look_event, 0, 0, NULL);
}

static void calm_event(struct sim *s, uint64_t a, uint64_t b, void *data)
{
	sim_trace(s, "no more faults");
	s->calm = true;
	heal(s);
	if (s->nnodes > 2 && sim_chance(s, 30))
		sim_hang_for_good(s, (unsigned)sim_rand(s, s->nnodes));
	if (s->seed % 8)
		look_event(s, 0, 0, NULL);
}

/* ---- run ---- */

static void shape_few(struct sim *s)
{
	unsigned shape = (unsigned)sim_rand(s, 10);

	s->nnodes = shape < 2 ? 2 : shape < 7 ? 3 : shape < 9 ? 4 : 5;
	s->nslots = 8;
	s->two_node = s->nnodes == 2 && sim_chance(s, 70);
	s->hangs = sim_chance(s, 10);
	s->faults_end = 12000 * SIM_MS;
	s->pace = 1;
}

static void shape_many(struct sim *s)
{
	s->nnodes = s->nslots = 64;
	s->faults_end = 8000 * SIM_MS;
	s->pace = 16;
}

static void run(struct sim *s)
{
	s->lost = -1;
	s->dlm.used = sim_chance(s, 40);
	sim_dlm_init(s, sim_volume);
	for (unsigned i = 0; i < s->nnodes; i++)
		sim_at(s, sim_rand(s, 1500) * SIM_MS, -1, NULL, boot_event, i, 0, NULL);
	sim_at(s, (1500 + sim_rand(s, 3000)) * SIM_MS, -1, NULL, fault_event, 0, 0, NULL);
	sim_at(s, 1000 * SIM_MS, -1, NULL, stray_event, 0, 0, NULL);
	sim_at(s, s->faults_end, -1, NULL, calm_event, 0, 0, NULL);
	while (!s->over && s->nheap && s->heap[0].time <= SIM_END) {
		struct sim_event e = pop(s);

		s->now = e.time;
		run_event(s, e);
	}
	if (!s->over)
		s->now = SIM_END;
	sim_check_end(s);
	sim_trace_all(s);
}

static void clean_up(struct sim *s)
{
	csv_actions_free(&s->actions);
	for (unsigned i = 0; i < s->nnodes; i++) {
		csv_machine_free(s->node[i].m);
		drop_deferred(&s->node[i]);
		free(s->node[i].deferred);
		sim_hang_end(&s->node[i]);
		free(s->node[i].late);
	}
	sim_dlm_free(s);
	sim_cpg_free(s);
	while (s->nheap)
		free(s->heap[--s->nheap].data);
	free(s->heap);
	for (unsigned i = 0; i < SIM_SLOTS; i++)
		free(s->disk.slot[i].journal);
	free(s->points);
}

static void count_up(const struct sim *s, uint64_t *tally)
{
	tally[SIM_T_STEPS] += s->steps;
	tally[SIM_T_GRANTS] += s->grants;
	tally[SIM_T_RECOVERIES] += s->recoveries;
	tally[SIM_T_EVICTIONS] += s->evictions;
	tally[SIM_T_REFUSED] += s->disk.refused;
	tally[SIM_T_VIEWS] += s->views;
	tally[SIM_T_JOINS] += s->joins;
	tally[SIM_T_FORM_MSGS] += s->form_msgs;
	tally[SIM_T_FORM_BYTES] += s->form_bytes;
}

static char *run_seed(uint64_t seed, void (*shape)(struct sim *s), FILE *trace, uint64_t *tally,
		      struct sim_count *count)
{
	struct sim *s = calloc(1, sizeof(*s));
	char *why;

	CSV_ASSERT(s);
	s->seed = s->rng = seed;
	s->points = calloc(16384, sizeof(*s->points));
	csv_list_init(&s->rings);
	s->trace = trace;
	s->tally = tally;
	shape(s);
	if (!setjmp(s->fail))
		run(s);
	why = *s->why ? strdup(s->why) : NULL;
	if (tally)
		count_up(s, tally);
	*count = (struct sim_count){ (uint32_t)s->steps, (uint32_t)s->faults };
	clean_up(s);
	free(s);
	return why;
}

char *sim_run(uint64_t seed, FILE *trace, uint64_t *tally, struct sim_count *count)
{
	return run_seed(seed, shape_few, trace, tally, count);
}

char *sim_run_many(uint64_t seed, FILE *trace, uint64_t *tally, struct sim_count *count)
{
	return run_seed(seed, shape_many, trace, tally, count);
}
