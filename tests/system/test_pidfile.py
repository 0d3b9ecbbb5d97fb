import os
import signal
import subprocess
import sys

import pytest

from lvs_nat.errors import AlreadyRunning
from lvs_nat.system.pidfile import PidFile, holder

HOLDER = """
import sys
from pathlib import Path
from lvs_nat.system.pidfile import PidFile
with PidFile(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lvs-nat.pid"


@pytest.fixture
def another(path):
    """Another process that holds the lock until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.stdin.close()


def test_the_file_names_its_holder_and_goes_with_him(path):
    assert holder(path) is None
    with PidFile(path):
        assert path.read_text() == f"{os.getpid()}\n"
        assert holder(path) == os.getpid()

    assert holder(path) is None
    assert list(path.parent.iterdir()) == []


def test_a_second_director_is_told_the_pid_of_the_first(path, another):
    assert holder(path) == another.pid
    with (
        pytest.raises(AlreadyRunning, match=f"already running as pid {another.pid}$"),
        PidFile(path),
    ):
        pass

    assert holder(path) == another.pid


def test_a_crash_leaves_a_file_but_no_lock(path, another):
    another.send_signal(signal.SIGKILL)
    another.wait()

    assert path.read_text() == f"{another.pid}\n"
    assert holder(path) is None
    with PidFile(path):
        assert holder(path) == os.getpid()


@pytest.mark.parametrize("text", ["", "1\n", "garbage", "9" * 100])
def test_what_an_old_file_says_is_in_nobodys_way(path, text):
    path.write_text(text)

    assert holder(path) is None
    with PidFile(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_entering_again_after_a_fork_records_the_child(path):
    with PidFile(path) as lock:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            with lock:
                os.write(writing, path.read_bytes())
            os._exit(0)
        os.waitpid(child, 0)

        assert os.read(reading, 100) == b"%d\n" % child
        os.close(reading)
        os.close(writing)


def test_a_child_that_leaves_the_story_takes_nothing_along(path):
    with PidFile(path):
        child = os.fork()
        if child == 0:
            try:
                raise SystemExit
            finally:
                os._exit(0)
        os.waitpid(child, 0)

        assert holder(path) == os.getpid()


def test_a_symbolic_link_is_not_followed(path, tmp_path):
    (tmp_path / "victim").write_text("precious")
    path.symlink_to("victim")

    with pytest.raises(OSError, match="symbolic links"), PidFile(path):
        pass

    assert (tmp_path / "victim").read_text() == "precious"


def test_a_pid_file_lends_its_descriptor_to_be_kept_over_detaching(path):
    with PidFile(path) as lock:
        assert os.path.samestat(os.fstat(lock.fileno()), path.with_suffix(".lock").stat())


def test_a_director_whose_file_was_taken_away_leaves_the_next_one_its_own(path):
    first, second = PidFile(path), PidFile(path)
    with first:
        path.unlink()
        with pytest.raises(AlreadyRunning):
            second.__enter__()
        path.with_suffix(".lock").unlink()
        second.__enter__()

    assert holder(path) == os.getpid()
    second.__exit__(None, None, None)
    assert not path.exists()


DAEMON = """
import signal, sys
from pathlib import Path
from daemon import DaemonContext
from lvs_nat.system.pidfile import PidFile
with PidFile(Path(sys.argv[1])) as lock:
    with DaemonContext(pidfile=lock, files_preserve=[lock], stdout=sys.stdout):
        print("detached", flush=True)
        signal.pause()
"""


def test_a_daemon_takes_its_lock_along_and_can_be_killed_and_started_again(path):
    pids = []
    for _ in range(2):
        command = [sys.executable, "-c", DAEMON, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as starter:
            assert starter.stdout.readline() == b"detached\n"
            pids.append(holder(path))
            os.kill(pids[-1], signal.SIGKILL)
            assert starter.stdout.read() == b""  # it has ended

    assert len({*pids, starter.pid, os.getpid()}) == 4
    assert holder(path) is None


def test_anybody_may_read_who_runs_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        with PidFile(tmp_path / "pid"):
            mode = (tmp_path / "pid").stat().st_mode & 0o777
    finally:
        os.umask(before)

    assert mode == 0o644


@pytest.fixture
def open_to_all(path):
    """Let any user reach the folder of the pid file, as he can reach /run."""
    for folder in path.parents:
        if not folder.stat().st_mode & 0o005:
            folder.chmod(0o755)


LOCKER = """
import fcntl, os, sys
os.setuid(65534)
for path in sys.argv[1:]:
    try:
        fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pass
print("done", flush=True)
sys.stdin.read()
"""


@pytest.mark.kernel
def test_no_other_user_can_lock_a_director_out_or_pass_for_one(path, another, open_to_all):
    another.send_signal(signal.SIGKILL)
    another.wait()
    command = [sys.executable, "-c", LOCKER, path, path.with_suffix(".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as locker:
        assert locker.stdout.readline() == b"done\n"
        seen = holder(path)
        with PidFile(path):
            running = holder(path)
        locker.stdin.close()

    assert (seen, running) == (None, os.getpid())


ASKER = """
import os, sys
from pathlib import Path
from lvs_nat.system.pidfile import holder
os.setuid(65534)
print(holder(Path(sys.argv[1])))
"""


@pytest.mark.kernel
def test_any_user_is_told_who_runs(path, open_to_all):

    def asked():
        done = subprocess.run([sys.executable, "-c", ASKER, path], capture_output=True, check=True)
        return done.stdout.decode().strip()

    with PidFile(path):
        running = asked()
    path.write_text("4194304\n")  # above the highest pid
    path.with_suffix(".lock").touch(0o600)

    assert (running, asked()) == (str(os.getpid()), "None")
