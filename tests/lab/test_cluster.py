# SPDX-License-Identifier: GPL-2.0-or-later
"""The cluster's tests on machines: the same code, over the kernel's DLM, its initiator and its block layer."""
# ruff: noqa: F401
from test_coherence import (
    test_append_from_two_nodes_loses_nothing,
    test_attributes,
    test_byte_range_locks_are_cluster_wide,
    test_create_write_rename_unlink,
    test_locks_of_a_killed_process_are_dropped,
    test_locks_without_csvlockd,
    test_many_files_from_all_nodes,
    test_ofd_locks_do_not_leak,
    test_status_and_lists,
    test_unlinked_file_stays_for_who_has_it_open,
)
from test_deaths import (
    test_csvfs_killed,
    test_csvlockd_killed_and_back_in_time,
    test_node_without_power_under_load,
    test_power_cut_of_everything,
)
from test_exclusion import test_killed_holder_frees_its_image, test_second_process_is_refused
from test_handoff import (
    disks,
    test_abort_and_third_start,
    test_daemon_is_restarted,
    test_moves_both_disks,
    test_takeback,
    test_there_and_back,
)
