# SPDX-License-Identifier: GPL-2.0-or-later
"""What one node did, the others see at their next call."""
import errno
import json
import select

from agents import Agent, errno_of
from daemons import kill_program
from harness import csvfs

RECORDS = 200  # fewer on slow nodes


def test_create_write_rename_unlink(trio, place):
    one, two, three = trio
    one.open("f", f"{place}/a", "O_RDWR|O_CREAT")
    one.pwrite("f", "hello", 0)
    two.open("f", f"{place}/a", "O_RDWR")
    assert two.pread("f", 10, 0) == "hello" and two.size("f") == 5
    two.pwrite("f", "HELLO!", 0)
    assert one.pread("f", 10, 0) == "HELLO!"
    two.call("rename", f"{place}/a", f"{place}/b")
    assert three.call("listdir", place) == ["b"]
    assert errno_of(one.call, "stat", f"{place}/a") == errno.ENOENT
    three.call("unlink", f"{place}/b")
    assert one.call("listdir", place) == []


def test_attributes(trio, place):
    one, two, _ = trio
    one.call("mkdir", f"{place}/d")
    two.call("chmod", f"{place}/d", 0o700)
    assert one.call("stat", f"{place}/d")["st_mode"] & 0o777 == 0o700
    one.call("symlink", "target", f"{place}/l")
    assert two.call("readlink", f"{place}/l") == "target"
    two.open("f", f"{place}/f", "O_RDWR|O_CREAT")
    two.call("link", f"{place}/f", f"{place}/g")
    assert one.call("stat", f"{place}/f")["st_nlink"] == 2
    one.call("truncate", f"{place}/g", 12345)
    assert two.size("f") == 12345


def test_append_from_two_nodes_loses_nothing(trio, place):
    one, two, three = trio
    records = RECORDS // one.node.slowness
    for agent in (one, two):
        agent.open("log", f"{place}/log", "O_WRONLY|O_CREAT|O_APPEND")
    for i in range(records):
        one.begin("write", "log", f"1 {i:05}\n")
        two.begin("write", "log", f"2 {i:05}\n")
        assert one.finish() == two.finish() == 8
    three.open("log", f"{place}/log", "O_RDONLY")
    lines = three.pread("log", 16 * records + 1, 0).splitlines()
    for who in "12":
        assert [line for line in lines if line[0] == who] == [f"{who} {i:05}" for i in range(records)]


def test_many_files_from_all_nodes(cluster, place):
    """Each node makes files in one directory at the same time; all are there, each once."""
    count = 100 // cluster.nodes[0].slowness
    script = f"for i in $(seq {count}); do echo $0 > {place}/$0-$i || exit 1; done"
    children = [node.popen(["sh", "-c", script, node.name]) for node in cluster.nodes]
    assert [child.wait(300) for child in children] == [0] * len(children)
    for node in cluster.nodes:
        names = node.run(["ls", place]).stdout.split()
        assert sorted(names) == sorted(f"{n.name}-{i}" for n in cluster.nodes for i in range(1, count + 1))


def test_unlinked_file_stays_for_who_has_it_open(trio, place):
    one, two, _ = trio
    one.open("f", f"{place}/f", "O_RDWR|O_CREAT")
    one.pwrite("f", "still here", 0)
    two.call("unlink", f"{place}/f")
    assert one.nlink("f") == 0
    assert one.pread("f", 20, 0) == "still here"
    one.pwrite("f", "STILL", 0)
    assert one.pread("f", 20, 0) == "STILL here"
    one.close("f")


def test_byte_range_locks_are_cluster_wide(trio, place):
    one, two, three = trio
    for agent in trio:
        agent.open("f", f"{place}/f", "O_RDWR|O_CREAT")
    one.posix_lock("f", "w", 0, 100)
    assert errno_of(two.posix_lock, "f", "w", 50, 10) == errno.EAGAIN
    assert two.posix_test("f", "r", 50, 10) == "w"
    two.posix_lock("f", "w", 100, 100)
    assert errno_of(three.ofd_lock, "f", "r", 0, 300) == errno.EAGAIN
    one.posix_lock("f", "u", 0, 100)
    three.ofd_lock("f", "r", 0, 100)
    assert errno_of(one.posix_lock, "f", "w", 0, 1) == errno.EAGAIN


def test_ofd_locks_do_not_leak(cluster, trio, place):
    """The kernel sends no unlock for them: the handle's end must drop them. RELEASE comes soon after close()."""
    one, two, _ = trio
    for agent in (one, two):
        agent.open("f", f"{place}/f", "O_RDWR|O_CREAT")
    one.ofd_lock("f", "w", 0, 0)
    assert errno_of(two.ofd_lock, "f", "w", 0, 1) == errno.EAGAIN
    one.close("f")
    cluster.wait_until("the closed file's lock to go", lambda: errno_of(two.ofd_lock, "f", "w", 0, 1) == 0, 5)


def test_locks_of_a_killed_process_are_dropped(cluster, trio, place):
    two = trio[1]
    two.open("f", f"{place}/f", "O_RDWR|O_CREAT")
    with Agent(cluster.node("n1")) as doomed:
        doomed.open("f", f"{place}/f", "O_RDWR")
        doomed.posix_lock("f", "w", 0, 10)
        doomed.flock("f", "LOCK_EX")
        assert errno_of(two.flock, "f", "LOCK_EX") == errno.EAGAIN
        doomed.kill()
    cluster.wait_until("the dead process's locks to go", lambda: errno_of(two.posix_lock, "f", "w", 0, 10) == 0, 5)
    two.flock("f", "LOCK_EX")


def begin_and_wait(agent, operation, *arguments):
    """Starts what cannot be answered."""
    agent.begin(operation, *arguments)
    assert not select.select([agent.child.stdout], [], [], 0.2)[0]


def test_who_waits_for_a_lock_can_be_killed(cluster, trio, place):
    one, _, three = trio
    one.open("f", f"{place}/f", "O_RDWR|O_CREAT")
    one.posix_lock("f", "w", 0, 10)
    with Agent(cluster.node("n2")) as doomed:
        doomed.open("f", f"{place}/f", "O_RDWR")
        begin_and_wait(doomed, "posix_wait", "f", "w", 0, 10)
        doomed.child.kill()
        doomed.child.wait(10)
    one.posix_lock("f", "u", 0, 10)
    three.open("f", f"{place}/f", "O_RDWR")
    three.posix_lock("f", "w", 0, 10)


def test_locks_without_csvlockd(cluster, trio, place):
    """Nobody can answer while it is away, but who asks can be killed. Its successor knows what was held, and that alone."""
    one, two, _ = trio
    node = cluster.node("n1")
    one.open("f", f"{place}/f", "O_RDWR|O_CREAT")
    two.open("f", f"{place}/f", "O_RDWR")
    one.posix_lock("f", "w", 0, 10)
    with Agent(node) as doomed, Agent(node) as tester:
        doomed.open("f", f"{place}/f", "O_RDWR")
        tester.open("f", f"{place}/f", "O_RDWR")
        kill_program(node, "csvlockd")
        begin_and_wait(doomed, "posix_lock", "f", "w", 20, 10)
        begin_and_wait(tester, "posix_test", "f", "w", 40, 10)
        doomed.child.kill()
        doomed.child.wait(10)
        csvfs.begin_lockd(node)
        csvfs.wait_lockd(node)
        csvfs.wait_online(node)
        assert tester.finish() == "u"
        assert errno_of(two.posix_lock, "f", "w", 0, 10) == errno.EAGAIN
        two.posix_lock("f", "w", 20, 10)
        two.posix_lock("f", "w", 40, 10)


def test_status_and_lists(cluster):
    def adm(node, *words):
        return json.loads(cluster.node(node).run(["csvadm", "--json", *words]).stdout)

    status = adm("n1", "status")
    assert status["node"]["name"] == "n1" and status["node"]["quorate"] and status["node"]["engine"] == cluster.node("n1").lock
    assert [v["state"] for v in status["volumes"]] == ["online"]
    assert sorted(n["name"] for n in adm("n2", "node", "list")["nodes"]) == ["n1", "n2", "n3"]
    locks = adm("n3", "lock", "list", "vol1")["locks"]
    assert len([l for l in locks if l["resource"].startswith("slot.")]) == 3
