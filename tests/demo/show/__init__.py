# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo: one guest, two migrations, two failovers, on a cluster on this machine."""
