"""A file on a real disk that cannot always be written, with systemd's end played by the test."""

import logging
import os
import socket
from contextlib import contextmanager, suppress

import pytest

from lvs_nat.daemon.ledger import Ledger


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "state" / "ledger.json", "a restart would forget this")


def attempt(ledger, text="new"):
    """Return what is wrong with a write, in words for the operator."""
    try:
        ledger.write(text)
    except OSError as error:
        return ledger.complain(error)
    return ""


@contextmanager
def refused(ledger):
    """A directory lies where the file should."""
    ledger.path.mkdir(parents=True)
    yield f"cannot write {ledger.path}: Is a directory; a restart would forget this"
    ledger.path.rmdir()


def test_the_file_is_made_with_its_folder_and_read_by_its_owner_alone(ledger):
    ledger.write("new")

    assert ledger.path.read_text() == "new"
    assert oct(ledger.path.stat().st_mode & 0o777) == "0o600"


def test_what_keeps_it_from_being_written_is_told_at_each_try_and_logged_once(ledger, caplog):
    caplog.set_level(logging.INFO)
    with refused(ledger) as words:
        told = [attempt(ledger) for _ in range(3)]

    assert told == [words] * 3
    assert caplog.messages == [words]


def test_another_reason_is_logged_too_and_the_same_one_again_after_a_write(ledger, caplog):
    caplog.set_level(logging.INFO)
    with refused(ledger) as words:
        attempt(ledger)
    ledger.path.parent.rmdir()
    ledger.path.parent.write_text("no folder")
    other = attempt(ledger)
    ledger.path.parent.unlink()
    written = [attempt(ledger), attempt(ledger)]
    ledger.path.unlink()
    with refused(ledger):
        attempt(ledger)

    assert (written, other) == (["", ""], words.replace("Is a directory", "File exists"))
    assert caplog.messages == [words, other, f"{ledger.path} is written again", words]


def test_an_error_names_the_file_itself(ledger):
    with refused(ledger), pytest.raises(IsADirectoryError) as caught:
        ledger.write("new")

    assert caught.value.filename == str(ledger.path)


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """What systemd is told, once it is asked what that is."""
    place = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(place))
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hearing:
        hearing.bind(str(place))
        hearing.setblocking(False)

        def told():
            words = []
            with suppress(BlockingIOError):
                while True:
                    words.append(hearing.recv(4096).decode())
            return words

        yield told


@pytest.mark.parametrize(
    "usec, said", [("2000000", ["EXTEND_TIMEOUT_USEC=30000000", "WATCHDOG=1"]), ("", [])]
)
def test_a_watchdog_waits_for_the_disk_and_no_longer(ledger, systemd, monkeypatch, usec, said):
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    with refused(ledger):
        attempt(ledger)

    assert systemd() == said
