/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CSV_LIB_THREAD_H
#define CSV_LIB_THREAD_H

#include <pthread.h>

/*
 * Starts a thread with all signals blocked: signals are the program's, and a write to
 * a socket whose other end is gone (SIGPIPE) must not kill it.  Returns 0 or an errno.
 */
int csv_thread_start(pthread_t *thread, void *(*fn)(void *arg), void *arg);

#endif
