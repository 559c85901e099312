# SPDX-License-Identifier: GPL-2.0-or-later
"""Running programs: with a deadline, or detached with a log."""
import shlex
import subprocess

from .errors import HarnessError
from .wait import wait_until

# Writes its pid and start time before it becomes the program, so they are on
# disk even if the harness is killed right after the start.
_DETACH = ('file=$1; shift; echo "$$ $(cut -d" " -f22 /proc/$$/stat)" >"$file.new";'
           ' mv "$file.new" "$file"; exec "$@"')


def text_of(argv):
    """A command line as one would type it."""
    return shlex.join(str(word) for word in argv)


def run(argv, timeout=30, check=True, **options):
    """Run a program to its end and return its CompletedProcess (text).

    timeout  seconds; the program is killed and HarnessError raised after it
    check    raise HarnessError if the exit code is not 0
    options  go to subprocess.run, `input` for instance
    """
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    options.setdefault("text", True)
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    argv = [str(word) for word in argv]
    try:
        done = subprocess.run(argv, timeout=timeout, check=False, **options)
    except FileNotFoundError as error:
        raise HarnessError(f"{argv[0]} is not installed; run tools/setup/packages") from error
    except subprocess.TimeoutExpired as error:
        raise HarnessError(f"no end after {timeout} s: {text_of(argv)}") from error
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout or "").strip()
        raise HarnessError(f"exit {done.returncode}: {text_of(argv)}\n{said}")
    return done


def detaching_words(pidfile):
    """Command line that starts the words after it in a session of their own, and writes `pidfile`."""
    return ["setsid", "--fork", "sh", "-c", _DETACH, "sh", str(pidfile)]


def spawn_detached(argv, pidfile, log, env):
    """Start a program in a session of its own, as no child of ours.

    Its output is appended to `log`, its pid and start time go to `pidfile`,
    which is there on return. Being no child of the caller it outlives it, and
    leaves it no zombie.
    """
    pidfile.unlink(missing_ok=True)
    with open(log, "ab") as output:
        subprocess.run(detaching_words(pidfile) + [str(word) for word in argv], env=env, check=True,
                       stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    wait_until(f"{pidfile} to be written", pidfile.exists, 10, every=0.005)


def tail(path, lines=15):
    """The last lines of a text file, indented; '' if there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            found = file.readlines()[-lines:]
    except OSError:
        return ""
    return "".join(f"    {line.rstrip()}\n" for line in found)
