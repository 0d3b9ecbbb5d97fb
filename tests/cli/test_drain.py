"""What an operator asks of one server, with a director whose answers the test gives."""

import io
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from lvs_nat.cli.machine import Machine
from lvs_nat.cli.main import main

SERVER = "192.168.122.10:80"
UNWRITTEN = "cannot write /var/lib/lvs-nat/wishes.json: No space left on device; a restart would"
WARNING = f"lvs-nat: warning: {UNWRITTEN}\n"


def row(connections):
    return {
        "service": "tcp 172.25.0.10:80",
        "address": SERVER,
        "weight": 5,
        "kernel_weight": 0,
        "active_connections": connections,
        "inactive_connections": 0,
    }


def line(connections):
    return (
        f"{SERVER} under tcp 172.25.0.10:80: weight 5, weight 0 in the table, "
        f"{connections} connections\n"
    )


DONE = {"rows": [row(0)], "warnings": []}
WARNED = {"rows": [row(2)], "warnings": [UNWRITTEN]}


def answering(door, answers):
    """Give each client one of *answers*; return what they asked."""
    asked = []
    for answer in answers:
        client, _ = door.accept()
        with client:
            asked.append(json.loads(client.makefile().readline()))
            client.sendall(json.dumps(answer).encode() + b"\n")
    return asked


@pytest.fixture
def say(tmp_path):
    """Type a command about a director with these *answers*; return what it did, said and asked."""

    def type_in(line, *answers):
        out, err = io.StringIO(), io.StringIO()
        with socket.socket(socket.AF_UNIX) as door, ThreadPoolExecutor(1) as thread:
            door.bind(str(tmp_path / "control"))
            door.listen()
            door.settimeout(10)
            asked = thread.submit(answering, door, answers)
            code = main([*line.split(), "--run-dir", str(tmp_path)], Machine(out, err, 0))
            asked = [it["verb"] for it in asked.result()]
        return code, out.getvalue(), err.getvalue(), asked

    return type_in


@pytest.mark.parametrize(
    "command, verb",
    [("drain", "wish"), ("disable", "wish"), ("enable", "wish"), ("weight", "weigh")],
)
@pytest.mark.parametrize(
    "answer, said",
    [
        (DONE, ""),
        ({"rows": [row(0)]}, ""),  # a director of an older version tells none
        ({**DONE, "warnings": [UNWRITTEN]}, WARNING),
    ],
)
def test_what_is_done_but_not_written_down_is_a_warning(say, command, verb, answer, said):
    weight = " 7" if command == "weight" else ""

    assert say(f"{command} {SERVER}{weight}", answer) == (0, line(0), said, [verb])


@pytest.mark.parametrize("answer", [DONE, {**DONE, "warnings": [UNWRITTEN]}])
def test_programs_are_told_of_warnings_too(say, answer):
    code, out, err, _ = say(f"drain {SERVER} --json", answer)

    assert (code, json.loads(out)) == (0, answer)
    assert err == (WARNING if answer["warnings"] else "")


@pytest.mark.parametrize("form, read", [("", str), (" --json", json.loads)])
def test_who_waits_for_connections_is_warned_before_and_told_after(say, form, read):
    left = {"rows": [row(0)]}
    code, out, err, asked = say(f"drain {SERVER} --wait{form}", WARNED, left)

    assert (code, asked) == (0, ["wish", "connections"])
    assert read(out) == ({**left, "warnings": [UNWRITTEN]} if form else line(0))
    assert err == f"{WARNING}lvs-nat: 2 connections left\n"


@pytest.mark.parametrize(
    "service, waits",
    [
        ("udp 172.25.0.10:53", True),
        ("tcp 172.25.0.10:53", False),  # of connections that have ended
        ("sctp 172.25.0.10:53", False),
        ("fwmark 5", False),  # nobody says what they are of
    ],
)
def test_flows_of_udp_are_waited_for_which_the_kernel_never_counts_as_active(say, service, waits):
    def flows(number):
        return {"rows": [{**row(0), "service": service, "inactive_connections": number}]}

    answers = (flows(2), flows(1), flows(0)) if waits else (flows(2),)
    code, out, err, asked = say(f"drain {SERVER} --wait", *answers)

    assert (code, asked) == (0, ["wish", *["connections"] * (len(answers) - 1)])
    assert out == line(0).replace("tcp 172.25.0.10:80", service)
    told = [f"lvs-nat: {words} left\n" for words in ("2 connections", "1 connection")]
    assert err == ("".join(told) if waits else "")
