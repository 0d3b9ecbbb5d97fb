"""How a failed real server leaves its virtual service.

It leaves in two steps where there is doubt: quiesced first (weight 0 breaks nobody's
connection if the alarm was false), removed when nothing more comes out of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Union

from lvs_nat.core.health import Health, Outcome
from lvs_nat.core.setup import OnFailure, ServiceSetup
from lvs_nat.model import Endpoint, Listener, ServiceName, Transport

# The kernel publishes counters every 2 s (net/netfilter/ipvs/ip_vs_est.c): whoever has been
# seen sending must be seen silent for longer than that.
QUIET = 2.5
# Where its packets are seen, a failed server is given up after this much of nothing at all.  Its
# probes have waited in vain for eight round trips, twice.
SILENCE = 0.2
# A failed server that goes on sending packets is believed to be finishing work this long.
PATIENCE = 30.0


# Since when a server has owed an answer and sent nothing whatever, None where it owes none.
SilentSince = Callable[[Endpoint], Union[float, None]]


def unseen(_: Endpoint) -> None:
    """Tell of no server that it is silent: nobody sees its packets."""


@dataclass(frozen=True)
class Departure:
    """How far a failed destination's leaving has come; times are monotonic seconds.

    packets_out is the last count seen, None until the first look; heard is when it last grew.
    way says that nothing is wrong with the server but its way back to the clients; flowing
    that packets come out of it all the same: then the question was wrong, and it serves.
    refused says that the server itself said no.  excused says that it fell while the director
    suspected itself: what it owes since then may never have reached it.  presumed says that it
    was found at weight 0 and has never been seen to serve: nobody keeps it.
    """

    since: float
    packets_out: int | None = None
    heard: float | None = None
    removed: bool = False
    way: bool = False
    flowing: bool = False
    refused: bool = False
    excused: bool = False
    presumed: bool = False


def depart(name: ServiceName, health: Health, setup: ServiceSetup, now: float) -> Departure:
    """Return the first step of leaving for a server that has just failed.

    A refusal leaves no doubt: its process is gone.  UDP has no connections to spare.
    """
    refused = health.last is not None and health.last.outcome is Outcome.REFUSED
    datagrams = isinstance(name, Listener) and name.transport is Transport.UDP
    at_once = refused or datagrams or setup.on_failure is OnFailure.REMOVE
    removed = at_once and setup.on_failure is not OnFailure.QUIESCE
    return Departure(now, removed=removed, refused=refused)


def leave(
    departure: Departure,
    packets_out: int,
    setup: ServiceSetup,
    now: float,
    silent_since: float | None = None,
) -> Departure:
    """Return *departure* after one more look at the packets its destination has sent.

    silent_since is since when it has owed an answer to a SYN and sent nothing whatever, None
    where it owes none, or where nobody sees its packets.
    """
    if departure.removed or departure.flowing:
        return departure
    mute = silent_since is not None and now - silent_since >= SILENCE
    if mute and not (departure.way or departure.excused):
        return replace(departure, removed=setup.on_failure is not OnFailure.QUIESCE)
    if departure.way and now - departure.since < QUIET:
        return departure  # what is counted now may have come out before
    if departure.packets_out is not None and packets_out > departure.packets_out:
        departure = replace(departure, heard=now, flowing=departure.way)
    departure = replace(departure, packets_out=packets_out)
    if departure.flowing or setup.on_failure is OnFailure.QUIESCE:
        return departure
    began = departure.since + (QUIET if departure.way else 0.0)
    if departure.heard is None:
        # Of a way back two publications must have told nothing, and looks may be late.
        gone = now - began >= max(2 * QUIET if departure.way else 0.0, setup.remove_after)
    else:
        quiet = now - departure.heard >= max(QUIET, setup.remove_after)
        gone = quiet or now - began >= max(PATIENCE, setup.remove_after)
    return replace(departure, removed=gone)
