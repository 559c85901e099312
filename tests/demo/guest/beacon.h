/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Makes the guest heard on its network. */
#ifndef CSV_DEMO_BEACON_H
#define CSV_DEMO_BEACON_H

#define BEACON_PERIOD_MS 100
#define BEACON_PORT 9		/* discard (RFC 863) */

/*
 * Starts a child that broadcasts a datagram every BEACON_PERIOD_MS on eth0 and dies with its parent.
 * It is a process apart so that a write that waits does not silence the guest: bridges learn its new
 * port at once. A guest without a network goes without; that is no error.
 */
void beacon_start(void);

#endif
