"""Processes that end with others, or when nobody is left who has a use for them."""

import subprocess
import sys

import pytest

SCRIPT = """
import os, signal, subprocess, sys, time
from lvs_nat.system import family

def gone(pid):
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.005)
    return False

def left_behind(command):
    "Return the pid of *command* in a session of its own, whose parent has ended."
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        pid = os.fork()
        if pid == 0:
            os.setsid()
            os.execvp(command[0], command)
        os.write(writing, str(pid).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return int(os.read(reading, 20))
"""


def told(script):
    """Return what a process of its own says of its family."""
    command = [sys.executable, "-c", SCRIPT + script]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.strip()


def test_a_child_dies_with_its_parent():
    script = """
reading, writing = os.pipe()
parent = os.fork()
if parent == 0:
    if os.fork() == 0:
        family.die_with(os.getppid())
        os.write(writing, b"armed")
        signal.pause()
    os.read(reading, 5)
    os._exit(0)
os.waitpid(parent, 0)
os.close(writing)
print(os.read(reading, 1))
"""
    assert told(script) == "b''"


def test_a_child_whose_parent_is_gone_already_does_not_stay():
    script = """
child = os.fork()
if child == 0:
    family.die_with(1)
    os._exit(0)
print(os.WTERMSIG(os.waitpid(child, 0)[1]))
"""
    assert told(script) == "9"


def test_a_child_that_is_stopped_goes_on_when_its_parent_ends():
    script = """
reading, writing = os.pipe()
parent = os.fork()
if parent == 0:
    child = os.fork()
    if child == 0:
        family.wake_at_parents_end()
        os.kill(os.getpid(), signal.SIGSTOP)
        os.write(writing, b"awake")
        os._exit(0)
    os.waitpid(child, os.WUNTRACED)
    os._exit(0)
os.waitpid(parent, 0)
os.close(writing)
print(os.read(reading, 5))
"""
    assert told(script) == "b'awake'"


@pytest.mark.parametrize(
    "command", [["sleep", "60"], ["sh", "-c", "setsid sleep 60 & setsid sleep 60; :"]]
)
def test_what_a_child_leaves_behind_is_ended_with_all_that_it_has_started(command):
    script = f"""
family.adopt()
orphan = left_behind({command!r})
before = family.bury()
family.end()
print(orphan in before, gone(orphan), family.bury())
"""
    assert told(script) == "True True []"


def test_who_is_kept_is_neither_ended_nor_waited_for():
    script = """
well, over = subprocess.Popen(["sleep", "60"]), subprocess.Popen(["false"])
os.waitid(os.P_PID, over.pid, os.WEXITED | os.WNOWAIT)
kept = (well.pid, over.pid)
family.end(kept)
print(well.poll(), over.wait(), family.bury(kept))
well.kill()
"""
    assert told(script) == "None 1 []"


def test_who_has_ended_by_itself_is_buried():
    script = """
family.adopt()
orphan = left_behind(["true"])
os.waitid(os.P_PID, orphan, os.WEXITED | os.WNOWAIT)
print(family.bury(), gone(orphan))
"""
    assert told(script) == "[] True"
