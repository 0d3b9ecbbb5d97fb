import gc
import os
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lvs_nat.model import Transport
from lvs_nat.system.names import PAUSE, Found, Known, Names, Query

KNOWN = {"lvs01": "192.168.122.10", "lvs02": "192.168.122.20"}
LATER = (socket.EAI_AGAIN, "Temporary failure in name resolution")
# As they were at the beginning of 1970, where the tests run.
BEFORE = Known(IPv4Address("192.168.122.30"), 0.0)


def known(host):
    if host == "hangs":
        select.select([], [], [], 60)
    if host == "later":
        raise socket.gaierror(*LATER)
    if host not in KNOWN:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return [KNOWN[host]]


def silently(words):
    raise AssertionError(words)


def address(names, host):
    """Return the address of *host*, of which nothing else is to be said."""
    return names.address(host, silently)


def complaint(names, host):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        address(names, host)
    return str(caught.value)


def test_a_host_has_its_address():
    names = Names(resolve=known)

    assert [address(names, host) for host in KNOWN] == list(map(IPv4Address, KNOWN.values()))


def test_the_machine_knows_itself():
    assert address(Names(), "localhost") == IPv4Address("127.0.0.1")


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "", "-", "\0", "\udcff"])
def test_what_no_resolver_could_know_is_refused_with_a_sentence(host):
    assert complaint(Names(budget=2.0), host).endswith("write its address")


def test_an_unknown_host_says_why():
    assert complaint(Names(resolve=known), "lvs03") == (
        "lvs03 has no IPv4 address (Name or service not known); write its address"
    )


def test_a_dead_resolver_costs_all_names_together_no_more_than_the_budget():
    names = Names(budget=0.2, resolve=known)
    started = time.monotonic()
    late = (
        "was not resolved within 0.2 s, which all names have together; "
        "write its address, or see to /etc/resolv.conf"
    )

    assert complaint(names, "hangs") == f"hangs {late}"
    assert complaint(names, "hangs") == f"hangs {late}"
    assert complaint(names, "lvs01") == f"lvs01 {late}"
    assert 0.2 <= time.monotonic() - started < 30


def test_what_is_known_already_is_answered_after_the_budget_is_spent():
    names = Names(budget=0.2, resolve=known)
    address(names, "lvs01")
    complaint(names, "hangs")

    assert address(names, "lvs01") == IPv4Address(KNOWN["lvs01"])


@pytest.mark.parametrize(
    "host, why",
    [
        ("later", "later has no IPv4 address (Temporary failure in name resolution)"),
        ("gone", "gone has no IPv4 address (Name or service not known)"),
        ("hangs", "hangs was not resolved within 0.2 s, which all names have together"),
    ],
)
def test_a_host_that_cannot_be_looked_up_has_its_last_good_address_and_that_is_said(host, why):
    said = []
    names = Names(budget=0.2, resolve=known, known={host: BEFORE})

    assert names.address(host, said.append) == BEFORE.address
    assert said == [f"{why}: {BEFORE}, is used"]
    assert names.found == {host: BEFORE._replace(old=True)}


def test_what_is_found_out_is_the_last_good_address_from_now_on():
    names = Names(resolve=known, known={"lvs01": BEFORE._replace(old=True), "lvs04": BEFORE})
    began = time.time()
    address(names, "lvs01")

    [(host, found)] = names.found.items()
    assert (host, found.address, found.old) == ("lvs01", IPv4Address(KNOWN["lvs01"]), False)
    assert found.found >= began


@pytest.mark.parametrize(
    "before, now", [("10.0.0.2", "10.0.0.2"), ("10.0.0.3", "10.0.0.1"), (None, "10.0.0.1")]
)
def test_of_several_addresses_a_host_keeps_the_one_it_had(before, now):
    has = {"rotating": Known(IPv4Address(before), 0.0)} if before else {}
    names = Names(resolve=lambda _: ["10.0.0.1", "10.0.0.2"], known=has)

    assert address(names, "rotating") == IPv4Address(now)


def test_a_resolver_that_cannot_say_yet_is_asked_again_where_there_is_patience(tmp_path):
    tries, told = tmp_path / "tries", []

    def third_time(host):
        with tries.open("a") as file:
            file.write(f"{host}\n")
        return known("later" if len(tries.read_text().splitlines()) < 3 else host)

    names = Names(resolve=third_time, patience=30.0, tell=told.append)
    began = time.monotonic()

    assert address(names, "lvs01") == IPv4Address(KNOWN["lvs01"])
    assert address(names, "lvs02") == IPv4Address(KNOWN["lvs02"])
    assert told == [f"waiting up to 30 s for the resolver: lvs01: {LATER[1]}"]
    assert 2 * PAUSE <= time.monotonic() - began < 20.0


def test_what_a_resolver_has_said_is_the_reason_if_it_says_no_more_in_time(tmp_path):
    asked = tmp_path / "asked"

    def once(host):
        if asked.exists():
            time.sleep(60)
        asked.touch()
        return known("later")

    names = Names(resolve=once, patience=PAUSE + 1.0)

    assert complaint(names, "lvs01").startswith(f"lvs01 has no IPv4 address ({LATER[1]})")


@pytest.mark.parametrize("host", ["gone", "later"])
def test_no_resolver_is_waited_for_in_vain(host):
    """What it is sure of holds; what it may say later matters only without another address."""
    told, said = [], []
    names = Names(resolve=known, patience=30.0, tell=told.append, known={"later": BEFORE})
    began = time.monotonic()
    if host == "gone":
        complaint(names, host)
    else:
        names.address(host, said.append)

    assert told == []
    assert time.monotonic() - began < 15.0


def test_a_resolver_that_says_nothing_is_waited_for_no_longer_than_there_is_patience():
    told = []
    names = Names(budget=0.1, resolve=known, patience=1.2, tell=told.append)
    began = time.monotonic()

    assert complaint(names, "hangs").startswith("hangs was not resolved within 1.2 s")
    assert complaint(names, "lvs01").startswith("lvs01 was not resolved within 1.2 s")
    assert told == ["waiting up to 1.2 s for the resolver: hangs: no answer yet"]
    assert 1.2 <= time.monotonic() - began < 10.0


def test_one_query_looks_up_many_names_and_tells_what_it_has_when_it_hangs():
    query = Query(["lvs01", "gone", "later", "hangs", "lvs02"], known)
    until = time.monotonic() + 10.0
    while len(query.answers()) < 3 and time.monotonic() < until:
        select.select([query], [], [], 0.1)
        assert not query.hear()
    answers = query.answers()
    query.close()

    assert answers == {
        "lvs01": Found((KNOWN["lvs01"],), "no answer"),
        "gone": Found((), "Name or service not known"),
        "later": Found((), LATER[1], passing=True),
    }


def test_who_looks_up_holds_nothing_of_who_asks(tmp_path):
    def held(_):
        return [it for it in os.listdir("/proc/self/fd") if int(it) > 2]

    with (tmp_path / "lock").open("w"):
        query = Query(["lvs01"], held)
        assert query.wait(10.0)
        query.close()

    [found] = query.answers().values()
    # Its end of the pipe, and the descriptor that lists them.
    assert len(found.addresses) == 2


@pytest.mark.kernel  # where we are root
def test_who_looks_up_has_no_capability_and_no_way_back():
    def shown(_host):
        lines = Path("/proc/self/status").read_text().splitlines()
        return [it for it in lines if it.startswith(("CapPrm", "CapEff", "CapBnd", "NoNewPrivs"))]

    query = Query(["localhost"], shown)
    assert query.wait(5)
    found = query.answers()["localhost"].addresses
    query.close()

    assert found == (
        *(f"{it}:\t{0:016x}" for it in ("CapPrm", "CapEff", "CapBnd")),
        "NoNewPrivs:\t1",
    )


@pytest.fixture
def no_descriptors():
    """This process can open nothing more."""
    gc.collect()  # what other tests have left must not give any back meanwhile
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.usefixtures("no_descriptors")
def test_where_nobody_can_be_asked_a_host_has_its_last_good_address_too():
    said = []
    names = Names(resolve=known, known={"lvs01": BEFORE})

    assert names.address("lvs01", said.append) == BEFORE.address
    assert said == [f"lvs01 has no IPv4 address (Too many open files): {BEFORE}, is used"]


# Whoever starts us may have left SIGCHLD ignored.
ORPHAN = """
import os, signal
from pathlib import Path
from lvs_nat.system.names import Query
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
query = Query(["lvs01"], lambda host: ["10.0.0.1"])
while Path(f"/proc/self/task/{os.getpid()}/children").read_text():
    pass
print(query.wait(10.0), *query.answers())
query.close()
"""


def test_a_child_that_nobody_may_wait_for_is_no_fault():
    done = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("True lvs01\n", "")


def test_no_child_is_left():
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    before = children.read_text()
    names = Names(budget=0.2, resolve=known)

    address(names, "lvs01")
    complaint(names, "hangs")

    assert children.read_text() == before


@pytest.mark.kernel  # where what is written to /etc is gone afterwards
def test_a_port_has_its_number():
    with Path("/etc/services").open("a") as services:
        services.write("\nbalanced 53053/udp\n")

    assert Names().port("balanced", Transport.UDP) == 53053


@pytest.mark.parametrize("service", ["no-such-port", "", "\0", "\udcff"])
def test_an_unknown_port_is_refused_with_a_sentence(service):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Names().port(service, Transport.SCTP)

    assert str(caught.value) == f"/etc/services has no sctp port {service}; write its number"
