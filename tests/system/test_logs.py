import logging
import os
import re
import socket
import subprocess
import sys

import pytest

from lvs_nat.system.logs import Lines, Syslog, escape, priority

SAY = """
import logging
from lvs_nat.system import logs
logs.to_stderr()
log = logging.getLogger("lvs_nat.daemon")
log.debug("nobody wants this")
log.info("ipvsadm -a %s", "192.168.122.10:80")
log.warning("a\\nb")
log.error("no")
"""


def said(script=SAY, **environment):
    """Return what a process writes to a pipe."""
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE, text=True
    )
    return done.stderr


@pytest.fixture
def logger():
    logger = logging.Logger("test")
    yield logger
    for handler in logger.handlers:
        handler.close()


@pytest.fixture
def syslog(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hearing:
        hearing.bind(str(tmp_path / "log"))
        hearing.settimeout(5)
        yield hearing


def speaking(logger, path):
    handler = Syslog(path)
    handler.setFormatter(Lines())
    logger.addHandler(handler)
    return logger


PLAIN = (
    "lvs-nat: ipvsadm -a 192.168.122.10:80\n"
    "lvs-nat: warning: a\\nb\n"
    "lvs-nat: error: no\n"
)  # fmt: skip


@pytest.mark.parametrize(
    "environment",
    [{}, {"INVOCATION_ID": "1"}, {"JOURNAL_STREAM": "1:1", "INVOCATION_ID": "1"}],
)
def test_a_terminal_or_a_file_reads_plain_lines(environment):
    assert said(**environment) == PLAIN


MARKED = "<6>ipvsadm -a 192.168.122.10:80\n<4>a\\nb\n<3>no\n"


@pytest.mark.parametrize("named", [True, False])
def test_the_journal_reads_priorities(named):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found = os.fstat(theirs.fileno())
        stream = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        subprocess.run(
            [sys.executable, "-c", SAY],
            stderr=theirs,
            env=stream if named else {"INVOCATION_ID": "1"},
        )

        assert ours.recv(1000).decode() == MARKED


def test_a_closed_standard_error_is_no_reason_to_fail():
    script = f"import os; os.close(2)\n{SAY}\nos._exit(7)"

    assert subprocess.run([sys.executable, "-c", script]).returncode == 7


def test_syslog_hears_the_ident_and_the_pid(logger, syslog, tmp_path):
    speaking(logger, tmp_path / "log").warning("rs %s left", "192.168.122.10:80")

    heard = syslog.recv(1000).decode()
    stamp = r"[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d"
    line = rf"<28>{stamp} lvs-nat\[{os.getpid()}\]: rs 192\.168\.122\.10:80 left"
    assert re.fullmatch(line, heard)


def test_without_a_log_daemon_nothing_breaks_and_the_loss_is_said_later(logger, tmp_path):
    speaking(logger, tmp_path / "log").error("lost")
    logger.error("lost too")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hearing:
        hearing.bind(str(tmp_path / "log"))
        hearing.settimeout(5)

        logger.info("heard")

        lines = [hearing.recv(1000).decode().split("]: ")[1] for _ in range(2)]
    assert lines == ["2 lines could not be logged", "heard"]


def test_a_log_daemon_that_was_restarted_is_found_again(logger, syslog, tmp_path):
    speaking(logger, tmp_path / "log").info("one")
    (tmp_path / "log").unlink()
    syslog.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hearing:
        hearing.bind(str(tmp_path / "log"))
        hearing.settimeout(5)

        logger.info("two")

        assert hearing.recv(1000).decode().endswith("]: two")


def test_a_log_daemon_that_hangs_blocks_nobody(logger, syslog, tmp_path):
    speaking(logger, tmp_path / "log")
    for number in range(2000):
        logger.info("line %d", number)

    assert syslog.recv(1000).endswith(b"]: line 0")


def test_a_child_speaks_with_a_socket_and_a_pid_of_its_own(logger, syslog, tmp_path):
    speaking(logger, tmp_path / "log").info("parent")
    child = os.fork()
    if child == 0:
        logger.info("child")
        os._exit(0)
    os.waitpid(child, 0)
    logger.info("parent again")

    pids = [re.search(r"\[(\d+)\]", syslog.recv(1000).decode())[1] for _ in range(3)]
    assert pids == [str(os.getpid()), str(child), str(os.getpid())]


def test_no_line_of_a_traceback_can_pass_for_one_of_ours(logger):
    try:
        raise ValueError("x\nlvs-nat: all is well")
    except ValueError:
        record = logger.makeRecord("", logging.ERROR, "", 0, "broke", (), sys.exc_info())

    first, *rest = Lines().format(record).split("\n")
    assert first == "broke"
    assert all(line.startswith("| ") for line in rest)
    assert rest[-1] == "| lvs-nat: all is well"


@pytest.mark.parametrize(
    "text, line",
    [
        ("plain", "plain"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[2J\x00\x7f\x9b", r"\x1b[2J\x00\x7f\x9b"),
        ("Gr\u00fc\u00dfe", "Gr\u00fc\u00dfe"),
        ("\u2028", r"\u2028"),
        ("\udcff", r"\udcff"),
    ],
)
def test_a_message_is_one_line_whatever_a_server_sent(text, line):
    assert escape(text) == line


@pytest.mark.parametrize(
    "level, number",
    [
        (logging.CRITICAL, 3),
        (logging.ERROR, 3),
        (logging.WARNING, 4),
        (logging.INFO, 6),
        (logging.DEBUG, 7),
    ],
)
def test_levels_are_syslogs_priorities(level, number):
    assert priority(level) == number


FLOOD = """
import logging, os, sys
from lvs_nat.system import logs
logs.to_stderr()
log = logging.getLogger()
for number in range(5000):
    log.warning("%d " + "x" * 60, number)
print("said", flush=True)
sys.stdin.readline()  # somebody reads now
log.warning("the last")
"""


def test_whoever_reads_nothing_of_standard_error_keeps_nobody_and_is_told_how_much_is_missing():
    command = [sys.executable, "-c", FLOOD]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout.readline() == "said\n"
        first = os.read(process.stderr.fileno(), 1 << 20).decode().splitlines()
        _, rest = process.communicate("\n")

    *whole, missing, last = [*first, *rest.splitlines()]
    assert missing == f"lvs-nat: warning: {5000 - len(whole)} lines could not be logged"
    assert last == "lvs-nat: warning: the last"
