import os
import re
import socket

import pytest

from lvs_nat.system import notify


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path, monkeypatch):
    """What systemd's end of the socket hears."""
    name = f"@lvs-nat-test-{os.getpid()}" if request.param == "abstract" else f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hearing:
        hearing.bind(name.replace("@", "\0"))
        hearing.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield lambda: hearing.recv(1000).decode()


@pytest.mark.parametrize(
    "say, heard",
    [
        (lambda: notify.ready(), "READY=1"),
        (lambda: notify.ready("2 of 2 serve"), "READY=1\nSTATUS=2 of 2 serve"),
        (lambda: notify.status("1 of 2\nREADY=0"), "STATUS=1 of 2 READY=0"),
        (lambda: notify.stopping(), "STOPPING=1"),
        (lambda: notify.watchdog(), "WATCHDOG=1"),
        (lambda: notify.longer(7.5), "EXTEND_TIMEOUT_USEC=7500000"),
    ],
)
def test_systemd_hears_how_the_director_fares(systemd, say, heard):
    say()

    assert systemd() == heard


def test_a_reload_says_when_it_began(systemd):
    notify.reloading()

    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", systemd())


@pytest.mark.parametrize("place", [None, "", "vsock:2:1", "/nowhere/at/all", "@nobody-is-there"])
def test_where_nobody_listens_nothing_happens(monkeypatch, place):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if place is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", place)

    notify.ready()
    notify.watchdog()


def test_a_full_queue_costs_no_more_than_a_word(systemd, monkeypatch):
    for _ in range(1000):
        notify.watchdog()

    assert systemd() == "WATCHDOG=1"


@pytest.mark.parametrize(
    "waits, pid, interval",
    [
        ("10000000", None, 5.0),
        pytest.param("10000000", os.getpid(), 5.0, id="ours"),
        ("500000", None, 0.25),
        ("10000000", 1, None),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_it_bites(monkeypatch, waits, pid, interval):
    for name, value in (("WATCHDOG_USEC", waits), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, str(value))

    assert notify.watchdog_interval() == interval


@pytest.mark.parametrize(
    ("usec", "heard"), [("2000000", ["EXTEND_TIMEOUT_USEC=30000000", "WATCHDOG=1"]), ("", [])]
)
def test_who_stands_still_has_a_watchdog_wait_and_no_longer(systemd, monkeypatch, usec, heard):
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    with pytest.raises(ZeroDivisionError), notify.patience(30):
        1 / 0  # noqa: B018
    notify.ready()

    assert [systemd() for _ in (*heard, "READY")] == [*heard, "READY=1"]
