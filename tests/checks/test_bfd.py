"""What FRR 8.4 and BIRD 2.0 say of their BFD sessions, and what it means for a server."""

import json
import os
import socket
import stat
from contextlib import contextmanager

import pytest

from lvs_nat.checks import bfd
from lvs_nat.checks.programs import Programs
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Bfd
from lvs_nat.model import Endpoint
from tests.builders import at
from tests.checks.asking import ask

OURS = Programs(frozenset({0, os.getuid()}))
COMPLAINT = "% Can't open configuration file /etc/frr/vtysh.conf due to 'Permission denied'.\n"
# Shortened by the fields that say nothing of the state.
FRR = """[
  {
    "multihop":false,
    "peer":"10.99.0.9",
    "vrf":"default",
    "status":"down",
    "downtime":4,
    "diagnostic":"ok"
  },
  {
    "multihop":false,
    "peer":"10.99.0.8",
    "vrf":"default",
    "status":"shutdown",
    "diagnostic":"ok"
  },
  {
    "multihop":true,
    "peer":"fd00::2",
    "vrf":"default",
    "status":"init",
    "diagnostic":"ok"
  },
  {
    "multihop":false,
    "peer":"10.99.0.1",
    "vrf":"default",
    "interface":"v1",
    "status":"up",
    "uptime":3,
    "diagnostic":"ok"
  }
]
"""
BIRD = """BIRD 2.0.12 ready.
Access restricted
bfd1:
IP address                Interface  State      Since         Interval  Timeout
fd00::2                   ---        Init       23:34:41.193    1.000    0.000
10.99.0.1                 v0         Up         23:35:18.818    0.300    0.900
10.99.0.8                 v0         AdminDown  23:34:41.193    1.000    0.000
10.99.0.9                 v0         Down       23:34:41.193    1.000    0.000
10.99.0.9                 v1         Init       23:34:41.193    1.000    0.000
"""


@contextmanager
def routers(folder, frr=None, bird=None, runs=("frr", "bird")):
    """Yield routers whose programs say the texts that are given, and what they were called with."""
    folder.chmod(0o755)
    made, held = [], []
    for known, text in zip(bfd.ROUTERS, (frr, bird)):
        program = folder / known.name.lower()
        place = folder / f"{known.name.lower()}.socket"
        if text is not None:
            said = folder / f"{known.name.lower()}.said"
            said.write_text(text)
            lines = ("#!/bin/sh", f'echo "$@" >{program}.asked', f"cat {said}")
            program.write_text("\n".join(lines) + "\n")
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
            if known.name.lower() in runs:
                held.append(socket.socket(socket.AF_UNIX))
                held[-1].bind(str(place))
        made.append(known._replace(programs=(str(program),), sockets=(str(place),)))
    try:
        yield made
    finally:
        for one in held:
            one.close()


def asked(of, address):
    kind = bfd.kind(programs=OURS, routers=of)
    return ask(Bfd(), Endpoint(at(address).address, 0), kind=kind)


@pytest.mark.parametrize("complaint", ["", COMPLAINT])
@pytest.mark.parametrize(
    "address, outcome, words",
    [
        ("10.99.0.1:80", Outcome.PASS, "BFD session up"),
        ("10.99.0.8:80", Outcome.FAIL, "BFD session shutdown"),
        ("10.99.0.9:80", Outcome.FAIL, "BFD session down"),
        ("[fd00::2]:80", Outcome.FAIL, "BFD session init"),
        ("10.99.0.7:80", Outcome.UNKNOWN, "FRR has no BFD session with 10.99.0.7"),
    ],
)
def test_what_frr_says(tmp_path, complaint, address, outcome, words):
    with routers(tmp_path, frr=complaint + FRR) as of:
        assert asked(of, address) == (outcome, words, None)
    assert (tmp_path / "frr.asked").read_text() == "-c show bfd peers json\n"


def test_a_state_that_is_no_text_is_none_that_is_up(tmp_path):
    said = FRR.replace('"up"', r'"\ud800"')
    with routers(tmp_path, frr=said) as of:
        words = r"BFD session \ud800"
        assert asked(of, "10.99.0.1:80") == (Outcome.FAIL, words, None)


@pytest.mark.parametrize(
    "address, outcome, words",
    [
        ("10.99.0.1:80", Outcome.PASS, "BFD session up"),
        ("10.99.0.8:80", Outcome.FAIL, "BFD session admindown"),
        ("10.99.0.9:80", Outcome.FAIL, "BFD session down, init"),
        ("[fd00::2]:80", Outcome.FAIL, "BFD session init"),
        ("10.99.0.7:80", Outcome.UNKNOWN, "BIRD has no BFD session with 10.99.0.7"),
    ],
)
def test_what_bird_says(tmp_path, address, outcome, words):
    with routers(tmp_path, bird=BIRD) as of:
        assert asked(of, address) == (outcome, words, None)
    assert (tmp_path / "bird.asked").read_text() == "-r show bfd sessions\n"


@pytest.mark.parametrize("runs, words", [(("frr",), "FRR"), (("bird",), "BIRD"), ((), "FRR")])
def test_the_router_that_runs_is_asked(tmp_path, runs, words):
    nobody = BIRD.partition("fd00")[0]
    with routers(tmp_path, frr="[]\n", bird=nobody, runs=runs) as of:
        expected = f"{words} has no BFD session with 10.99.0.1"
        assert asked(of, "10.99.0.1:80") == (Outcome.UNKNOWN, expected, None)


@pytest.mark.parametrize(
    "router, said, shown",
    [
        ("frr", "Password: vtysh_pam: Failure to initialize pam\n", None),
        ("frr", "bfdd is not running\n", None),
        ("frr", "Exiting: failed to connect to any daemons.\n", None),
        ("frr", "", "status 0"),
        ("frr", '[\n  {\n    "peer":"10.9', "["),
        ("frr", "[\n7]\n", "["),
        ("bird", "Unable to connect to server control socket (/run/x): Permission denied\n", None),
        ("bird", "BIRD 2.0.12 ready.\nThere is no BFD protocol\n", "BIRD 2.0.12 ready."),
    ],
)
def test_a_router_that_will_not_tell_is_our_own_trouble(tmp_path, router, said, shown):
    with routers(tmp_path, **{router: said}) as of:
        answer = asked(of, "10.99.0.1:80")

    why = shown or said.strip()
    words = f"{router.upper()} tells of no sessions ({why}); may the user of the checks ask it?"
    assert answer == (Outcome.UNKNOWN, words, None)


def test_without_a_router_nobody_knows(tmp_path):
    with routers(tmp_path) as of:
        words = f"neither {tmp_path}/frr nor {tmp_path}/bird is here to be asked"
        assert asked(of, "10.99.0.1:80") == (Outcome.UNKNOWN, words, None)


def test_a_thousand_sessions_are_read_to_the_last(tmp_path):
    peers = [{"peer": f"10.1.{n >> 8}.{n & 255}", "status": "up"} for n in range(1000)]
    peers[-1]["status"] = "down"
    with routers(tmp_path, frr=json.dumps(peers, indent=2)) as of:
        assert asked(of, "10.1.3.231:80") == (Outcome.FAIL, "BFD session down", None)
