"""What can go wrong with real servers of the lab, and the question that can see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lvs_nat.lab.topology import Lab

# Longer than any of the daemons, and any client, waits for an answer, in seconds.
SLOWNESS = 6.0


@dataclass(frozen=True)
class Fault:
    """One fault: what happens, by which act, and the kind of check (bench.pools) that sees it.

    Half of the *servers* are hit at once.  seen says that the rivals have a check that can tell.
    Whoever is still sent clients *watched* seconds later stays so.
    """

    words: str
    act: Callable[[Lab, str], None]
    kind: str = "tcp"
    servers: int = 2
    seen: bool = True
    watched: float = 10.0


FAULTS: Mapping[str, Fault] = {
    "killed": Fault("a server's process is killed", Lab.kill_server),
    "drop": Fault("a server drops every packet in silence", Lab.drop_packets),
    "link": Fault("a server's cable is pulled", Lab.cut_link),
    "gateway": Fault(
        "a server's answers go another way", Lab.take_away_default_route, seen=False, watched=8.0
    ),
    "errors": Fault("a server answers with the status 500", Lab.answer_with_errors, "status"),
    "hang": Fault("a server accepts and answers nothing", Lab.hang_server, "status"),
    "slow": Fault(
        f"a server answers after {SLOWNESS:g} s",
        lambda lab, name: lab.answer_slowly(name, SLOWNESS),
        "status",
    ),
    "half": Fault("10 of 20 servers fall silent at once", Lab.drop_packets, "tcp", 20, True, 20.0),
}
