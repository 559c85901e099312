# SPDX-License-Identifier: GPL-2.0-or-later
"""csv-dlm-space in the machines: the lock engine's hands, and what becomes of locks when it or csvlockd dies."""
import re
import uuid

import pytest

from harness.instance import BIN
from harness.wait import wait_until
from spaces import Space


@pytest.fixture(scope="module")
def joined_spaces(session_lab):
    """One on each machine, all in one new lockspace; joining it takes longer than most tests."""
    name = f"csv{uuid.uuid4().hex[:8]}"
    found = [Space(node, name) for node in session_lab.nodes]  # joining waits for all that are in
    for space in found:
        space.expect("joined")
    yield found
    for space in found:
        space.finish()


@pytest.fixture
def spaces(joined_spaces):
    """The same, without any lock."""
    yield joined_spaces
    for space in joined_spaces:
        space.drop_all()


def control(lab, name, value):
    """Stop (0) or start (1) a lockspace on every machine, as dlm_controld does."""
    for node in lab.nodes:
        node.run(["sh", "-c", 'echo "$1" >"/sys/kernel/dlm/$0/control"', name, str(value)])


def kernel_trouble(node):
    """What the kernel complains of."""
    lines = node.run(["dmesg"]).stdout.splitlines()
    return [line for line in lines if any(word in line for word in ("BUG", "WARNING", "Oops", "list_del corruption"))]


def test_exclusion(spaces):
    one, two, three = spaces
    one.lock(1, "res", "EX")
    two.ask("lock 1 res PR noqueue", "done 1 EAGAIN NL")  # and the holder is not told; its name is free again
    three.lock(1, "other", "EX")  # another resource is free
    two.say("lock 1 res PR")
    one.expect("bast 1 PR")
    two.expect_nothing()
    one.ask("convert 1 NL", "done 1 0 NL")
    two.expect("done 1 0 PR")
    three.lock(2, "res", "PR")  # shared
    one.ask("unlock 1", "done 1 0 NL")
    one.ask("lock 1 res EX noqueue", "done 1 EAGAIN NL")


def test_blocking_callback_says_the_mode(spaces):
    one, two, three = spaces
    one.lock(1, "res", "EX")
    two.say("lock 1 res PR")
    one.expect("bast 1 PR")
    three.say("lock 1 res EX")
    one.expect("bast 1 EX")
    one.ask("convert 1 PR", "done 1 0 PR")  # down as far as the first of them needs
    two.expect("done 1 0 PR")
    assert one.hear() == "bast 1 EX"  # anew: the other still waits
    two.expect("bast 1 EX")
    one.ask("unlock 1", "done 1 0 NL")
    two.ask("unlock 1", "done 1 0 NL")
    three.expect("done 1 0 EX")


def test_cancel(spaces):
    one, two, _ = spaces
    one.lock(1, "res", "EX")
    for space in (one, two):  # where the resource has its master, and elsewhere
        space.say("lock 2 res PR")
        one.expect("bast 1 PR")
        space.ask("cancel 2", "done 2 ECANCELED NL")
        one.ask("convert 1 EX", "done 1 0 EX")  # so that there is a BAST the next time as well
        space.ask("lock 2 res PR noqueue", "done 2 EAGAIN NL")


def test_cancel_that_comes_too_late(spaces):
    one, two, _ = spaces
    one.lock(1, "res", "NL")  # the master
    for space in (one, two):
        space.say("lock 2 res PR\ncancel 2")
        space.expect("done 2 0 PR")
        space.ask("cancel 2\nunlock 2", "done 2 0 NL")
        space.say("cancel 2")  # of nothing
    one.lock(2, "res", "EX")


def test_locks_outlive_the_process(spaces):
    one, two, three = spaces
    one.lock(1, "a", "EX")
    one.lock(2, "b", "PR")
    two.lock(1, "c", "PR")
    one.say("lock 3 c EX")  # a request that waits dies with its process
    two.expect("bast 1 EX")
    two.say("lock 2 a PR")
    one.expect("bast 1 PR")
    one.kill()
    two.ask("lock 3 b EX noqueue", "done 3 EAGAIN NL")
    two.ask("lock 3 a PR noqueue", "done 3 EAGAIN NL")
    one.start()
    one.ask("adopt 11 a PR", "done 11 0 EX")  # not in the mode that was thought
    one.ask("adopt 12 b PR", "done 12 0 PR")
    one.ask("adopt 13 c EX", "done 13 ENOENT NL")
    one.ask("adopt 14 never EX", "done 14 ENOENT NL")
    one.expect_nothing()  # no BAST for the one that has waited since before
    three.say("lock 1 a PR")
    one.expect_nothing()  # nor for one that wants no more than that
    three.say("lock 2 b EX")
    one.expect("bast 12 EX")
    one.ask("convert 11 NL", "done 11 0 NL")
    two.expect("done 2 0 PR")
    three.expect("done 1 0 PR")
    one.ask("unlock 12", "done 12 0 NL")
    three.expect("done 2 0 EX")
    three.ask("lock 3 c PR noqueue", "done 3 0 PR")


def test_purge(spaces):
    one, two, _ = spaces
    one.lock(1, "a", "EX")
    one.lock(2, "b", "EX")
    two.lock(1, "c", "EX")
    one.say("lock 3 c PR")  # waits at another machine
    two.expect("bast 1 PR")
    one.say("lock 4 a PR")  # waits here
    one.expect("bast 1 PR")
    one.kill()
    one.start()
    one.ask("adopt 11 b EX", "done 11 0 EX")
    two.say("lock 2 a PR")
    two.expect_nothing()
    one.ask("purge", "done 0 0 NL")
    two.expect("done 2 0 PR")
    two.ask("lock 3 b PR noqueue", "done 3 EAGAIN NL")  # adopted, so it stays
    two.ask("unlock 1", "done 1 0 NL")
    two.ask("lock 1 c EX", "done 1 0 EX")
    one.ask("purge", "done 0 0 NL")  # of nothing
    one.ask("unlock 11", "done 11 0 NL")
    assert kernel_trouble(one.node) == []


def test_hangup(spaces):
    one, two, _ = spaces
    one.lock(1, "a", "EX")
    one.ask("hangup", "end 0")
    assert one.joined()
    two.ask("lock 1 a PR noqueue", "done 1 EAGAIN NL")
    one.start()
    one.ask("adopt 1 a EX", "done 1 0 EX")


def test_leave_and_rejoin(spaces):
    one, two, _ = spaces
    one.lock(1, "a", "EX")
    two.say("lock 1 a PR")
    one.expect("bast 1 PR")
    one.ask("leave", "left")
    one.expect("end 0")
    assert not one.joined()
    two.expect("done 1 0 PR")
    one.start()
    one.ask("adopt 1 a EX", "done 1 ENOENT NL")
    one.lock(2, "a", "PR")


def test_death_in_a_stopped_lockspace(lab, spaces):
    """A call waits in the kernel, and the dead process's locks are nobody's before it has returned."""
    one, _, _ = spaces
    one.lock(1, "a", "EX")
    one.lock(2, "b", "EX")
    control(lab, one.space, 0)
    one.say("unlock 1")
    wait_until("the call to wait in the kernel", lambda: one.state() == "D", 60)
    one.say("signal KILL")
    one.say("start")
    one.say("adopt 11 a EX\nadopt 12 b EX")
    one.expect_nothing()  # neither end nor successor
    control(lab, one.space, 1)
    heard = [one.hear() for _ in range(4)]
    heard.remove("end -9")  # which is told by another than what its successor says
    assert heard == ["joined", "done 11 ENOENT NL", "done 12 0 EX"]


def test_wrong_requests(spaces):
    one, _, _ = spaces
    one.lock(1, "a", "EX")
    for line in ("lock 1 b EX", "lock 0 b EX", "unlock 7", "convert 7 NL", "garbage"):
        one.ask(line, "failed EPROTO request: Protocol error")
        one.expect("end 1")
        one.start()


def test_signals_do_not_end_it(spaces):
    one, _, _ = spaces
    for signal in ("TERM", "INT", "HUP"):
        one.say(f"signal {signal}")
    one.lock(1, "a", "EX")


def left_in_flight(space):
    """What the kernel says of this machine's orphans of which it waited for an answer when their process ended."""
    # validate_unlock_args ERROR ID FLAGS EXFLAGS ...: EBUSY of an orphan (DLM_IFL_ORPHAN).
    words = re.compile(rf" {space.space}: validate_unlock_args -16 [0-9a-f]+ ([0-9a-f]+) ")
    found = [(words.search(line), line) for line in space.node.run(["dmesg"]).stdout.splitlines()]
    return [line for match, line in found if match and int(match[1], 16) & 2]


@pytest.mark.parametrize("how", ["hangup", "leave", "signal KILL"])
def test_end_in_the_middle(spaces, how):
    """While the kernel waits for other machines' answers for locks that remain: such an answer would stop its DLM.

    It does not do so every time. But the kernel says which locks a process has left behind in that state.
    """
    one, two, _ = spaces
    count = 40
    for number in range(1, count + 1):
        two.lock(number, f"r{number}", "NL")  # so that each of them has its master there
    for last in range(1, count, 6):
        one.say(f"then {last} {how}")
        one.say("\n".join(f"lock {number} r{number} PR" for number in range(1, count + 1)))
        one.await_line("end -9" if "KILL" in how else "end 0")
        one.start()
        one.ask("purge", "done 0 0 NL")
    one.lock(1, "r1", "EX")
    assert left_in_flight(one) == []
    assert kernel_trouble(one.node) == []


def check(node, *prefix):
    """Exit code of csv-dlm-space --check, and what it says."""
    done = node.run([*prefix, BIN / "csv-dlm-space", "--check"], check=False)
    return done.returncode, done.stdout


def test_check(lab):
    assert check(lab.nodes[0]) == (0, "")
    # In a network of its own dlm_controld cannot be asked.
    code, text = check(lab.nodes[0], "unshare", "-n")
    assert code == 3 and text.startswith("dlm_controld does not run; ")
    no_misc = ["unshare", "-m", "sh", "-c", 'mount --bind /dev/null /proc/misc && exec "$@"', "sh"]
    code, text = check(lab.nodes[0], *no_misc)
    assert code == 3 and text.startswith("the kernel's DLM is not loaded; ")
