/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Circular doubly linked list, embedded in its elements. */
#ifndef CSV_LIB_LIST_H
#define CSV_LIB_LIST_H
#include <stdbool.h>
#include <stddef.h>

struct csv_list {
	struct csv_list *next, *prev;
};

#define CSV_LIST_INIT(l) { &(l), &(l) }
#define csv_list_entry(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#define csv_list_for_each(pos, head) for ((pos) = (head)->next; (pos) != (head); (pos) = (pos)->next)
/* Allows removal of pos. */
#define csv_list_for_each_safe(pos, tmp, head) \
	for ((pos) = (head)->next, (tmp) = (pos)->next; (pos) != (head); (pos) = (tmp), (tmp) = (pos)->next)

static inline void csv_list_init(struct csv_list *l)
{
	l->next = l->prev = l;
}
static inline bool csv_list_empty(const struct csv_list *l)
{
	return l->next == l;
}
static inline void csv_list_insert(struct csv_list *at, struct csv_list *e)
{
	e->prev = at;
	e->next = at->next;
	at->next->prev = e;
	at->next = e;
}
static inline void csv_list_push_back(struct csv_list *head, struct csv_list *e)
{
	csv_list_insert(head->prev, e);
}
static inline void csv_list_push_front(struct csv_list *head, struct csv_list *e)
{
	csv_list_insert(head, e);
}
/* Leaves e empty, so that removing twice is harmless. */
static inline void csv_list_del(struct csv_list *e)
{
	e->prev->next = e->next;
	e->next->prev = e->prev;
	csv_list_init(e);
}
#endif
