"""Is the BFD session with the real server up?  FRR or BIRD holds it, and is asked."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple

from lvs_nat.checks.kind import NOTHING_LENT, Answer, Kind, Lent, first_line, unknowable
from lvs_nat.checks.programs import Programs, Running
from lvs_nat.core.health import Outcome
from lvs_nat.core.setup import Target
from lvs_nat.model import Address

# Returns the state of every session with an address, each in the router's own word; raises
# ValueError where the output is none.
States = Callable[[bytes, Address], Sequence[str]]


class Router(NamedTuple):
    """A program that knows of sessions: how it is asked, and where it is if it runs."""

    name: str
    programs: tuple[str, ...]
    arguments: tuple[str, ...]
    sockets: tuple[str, ...]
    states: States


class Plan(NamedTuple):
    """Whose session is asked for."""

    address: Address


def of_frr(output: bytes, address: Address) -> Sequence[str]:
    """Read what vtysh says; complaints about its own configuration may stand before it."""
    text = output.decode(errors="replace")
    begin = text.find("[\n")
    peers = json.loads(text[begin:]) if begin >= 0 else []
    if begin < 0 and text.strip() != "[]":
        raise ValueError("no list of peers")
    return [_word(peer.get("status")) for peer in peers if _is(peer.get("peer"), address)]


def of_bird(output: bytes, address: Address) -> Sequence[str]:
    """Read what birdc says: address, interface, state and times in each line."""
    lines = [line.split() for line in output.decode(errors="replace").splitlines()]
    if not any(line[:2] == ["IP", "address"] for line in lines):
        raise ValueError("no table of sessions")
    return [_word(line[2]) for line in lines if len(line) > 2 and _is(line[0], address)]


def _is(word: Any, address: Address) -> bool:
    try:
        return ip_address(word) == address
    except ValueError:
        return False


def _word(state: Any) -> str:
    return first_line(str(state).lower().encode(errors="backslashreplace"))


ROUTERS = (
    Router(
        "FRR",
        ("/usr/bin/vtysh",),
        ("-c", "show bfd peers json"),
        ("/run/frr/bfdd.vty", "/var/run/frr/bfdd.vty"),
        of_frr,
    ),
    Router(
        "BIRD",
        ("/usr/sbin/birdc", "/usr/sbin/birdcl"),
        ("-r", "show", "bfd", "sessions"),
        ("/run/bird/bird.ctl", "/run/bird.ctl", "/var/run/bird.ctl"),
        of_bird,
    ),
)


class Sessions:
    """The sessions that the routers of this machine hold; the first that runs is asked."""

    def __init__(self, programs: Programs, routers: Sequence[Router] = ROUTERS) -> None:
        self._programs = programs
        self._routers = routers

    def start(self, plan: Plan) -> Running | Answer:
        """Ask the router that is there."""
        here = [
            (router, program)
            for router in self._routers
            for program in router.programs
            if os.path.exists(program)
        ]
        runs = [(it, program) for it, program in here if any(map(os.path.exists, it.sockets))]
        if not here:
            names = " nor ".join(router.programs[0] for router in self._routers)
            return Answer(Outcome.UNKNOWN, f"neither {names} is here to be asked")
        router, program = (runs or here)[0]

        def judge(status: int, output: bytes) -> Answer:
            return judged(router, plan.address, status, output)

        return self._programs.run(plan, (program, *router.arguments), NO_ENVIRONMENT, judge)


NO_ENVIRONMENT: Mapping[str, str] = {}


def judged(router: Router, address: Address, status: int, output: bytes) -> Answer:
    """Return what the router's answer means."""
    try:
        states = router.states(output, address)
    except (ValueError, TypeError, AttributeError):
        said = first_line(output) or f"status {status}"
        may = "may the user of the checks ask it?"
        return Answer(Outcome.UNKNOWN, f"{router.name} tells of no sessions ({said}); {may}")
    if not states:
        return Answer(Outcome.UNKNOWN, f"{router.name} has no BFD session with {address}")
    if "up" in states:
        return Answer(Outcome.PASS, "BFD session up")
    return Answer(Outcome.FAIL, f"BFD session {', '.join(states)}")


def prepare(target: Target) -> Plan:
    """Return whose session is asked for."""
    return Plan(target.endpoint.address)


def kind(
    _: Lent = NOTHING_LENT, programs: Programs | None = None, routers: Sequence[Router] = ROUTERS
) -> Kind:
    """Return how sessions are asked for, of *routers* and by *programs* or by new ones."""
    sessions = Sessions(programs or Programs(), routers)
    return Kind(prepare, sessions.start, Running.proceed, steps=True, reached=unknowable)
