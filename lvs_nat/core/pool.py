"""Who takes the clients of a virtual service, given what is believed of its servers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from lvs_nat.core.health import SERVING, Health, Outcome, State
from lvs_nat.core.leaving import Departure
from lvs_nat.core.setup import OnFailure, ServiceSetup, WhenEmpty
from lvs_nat.model import WEIGHT_MAX, Destination, Endpoint

# Where servers return slowly the kernel's weights are so many times the configured ones, so
# that a server of weight 1 can begin with a hundredth of it.
SCALE = 100
# The steps of a slow return: more would only be more writes.
STEPS = 20
KEPT = "down but kept: too few would be left"
# To quiesce the last servers in doubt would only have their clients refused at once, instead of
# a moment later if they are gone, and not at all if they are not.
DOUBTFUL = "kept while its return path is in doubt: it is the last"
LAST = "silent but kept until it is removed: it is the last"
HELD = "silent but held: every server fell silent at once, so the director suspects itself"
STANDING_IN = "sorry server"


class Wish(Enum):
    """What the operator wants of a server, whatever its health."""

    NOTHING = "nothing"
    QUIESCED = "drained"
    OUT = "disabled"


class Stand(NamedTuple):
    """How one destination stands; departure is that of a server that has failed.

    health is None where nothing checks the server.  share is how much of its weight a server
    that returns slowly has come to, 0 < share <= 1.
    """

    meant: Destination
    health: Health | None
    departure: Departure | None = None
    wish: Wish = Wish.NOTHING
    share: float = 1.0


@dataclass(frozen=True)
class Choice:
    """The rows that a service should have now, and a remark on those that need one.

    quorate says that those who serve by their health are enough.
    """

    rows: Mapping[Endpoint, Destination]
    remarks: Mapping[Endpoint, str]
    quorate: bool


def row(stand: Stand) -> Destination | None:
    """Return the kernel row that a destination should have on its own, or None for no row."""
    meant, health, departure, wish, _ = stand
    if wish is Wish.OUT:
        return None
    if not serves(stand):
        gone = departure is None or departure.removed
        new = health is not None and health.state is State.NEW
        return None if gone or new else _weighing(meant, 0)
    if wish is Wish.QUIESCED:
        return _weighing(meant, 0)
    # Who is meant to have nothing gets nothing, whatever it asks for: that is a drain.
    asked = health.weight if health is not None and meant.weight else None
    return _weighing(meant, asked.of(meant.weight) if asked else None)


def offered(stand: Stand) -> int:
    """Return how much of its configured weight a server offers to new clients: all or nothing."""
    one = row(stand)
    return stand.meant.weight if one is not None and one.weight else 0


def serves(stand: Stand) -> bool:
    """Whether a server's health lets it take clients."""
    health, departure = stand.health, stand.departure
    return (
        health is None or health.state in SERVING or (departure is not None and departure.flowing)
    )


def _weighing(meant: Destination, weight: int | None) -> Destination:
    return meant if weight in (None, meant.weight) else replace(meant, weight=weight)


def choose(
    setup: ServiceSetup,
    stands: Sequence[Stand],
    sorries: Iterable[Stand] = (),
    *,
    lost: bool = False,
    held: float | None = None,
) -> Choice:
    """Return who takes the clients of one service.

    lost says that the quorum was lost before, which hysteresis makes it harder to regain; held
    that the director suspects itself, and takes nobody out who has only fallen silent.
    """
    rows = {stand.meant.endpoint: row(stand) for stand in stands}
    present = {endpoint: one for endpoint, one in rows.items() if one is not None}
    serving = sum(one.weight for one in present.values())
    enough = quorate(setup, serving, lost=lost)
    standing_in = {}
    if not enough and setup.when_empty is WhenEmpty.SORRY:
        offers = ((it.meant.endpoint, row(it)) for it in sorries if serves(it))
        standing_in = {endpoint: one for endpoint, one in offers if one is not None}
    relieved = any(one.weight for one in standing_in.values())
    kept = _kept(setup, stands, serving, held, relieved)
    present.update({stand.meant.endpoint: stand.meant for stand, _ in kept})
    remarks = {stand.meant.endpoint: remark for stand, remark in kept}
    if relieved and not kept:
        # Connections of those who are too few end where they are.
        present = {endpoint: _weighing(one, 0) for endpoint, one in present.items()}
        remarks = dict.fromkeys(standing_in, STANDING_IN)
    if not kept:
        present.update(standing_in)
    if setup.slow_start:
        shares = {stand.meant.endpoint: stand.share for stand in stands}
        present = {
            endpoint: _weighing(one, scaled(one.weight, shares.get(endpoint, 1.0)))
            for endpoint, one in present.items()
        }
    # In the order of the rules, so that a listing reads as they do.
    ordered = {endpoint: present[endpoint] for endpoint in rows if endpoint in present}
    return Choice({**ordered, **present}, remarks, enough)


def quorate(setup: ServiceSetup, serving: int, *, lost: bool) -> bool:
    """Say whether the weight of those who serve is enough; a lost quorum is harder to regain."""
    needed = setup.quorum + setup.hysteresis if lost else setup.quorum - setup.hysteresis
    return serving >= max(1, needed)


def _kept(
    setup: ServiceSetup, stands: Sequence[Stand], serving: int, held: float | None, relieved: bool
) -> Sequence[tuple[Stand, str]]:
    """Return the failed servers that are kept all the same, and why.

    Those that fell last come first: they are the likeliest to be well.  Who has never served is
    not kept.  relieved says that sorry servers can stand in: that is better than to keep whoever
    is down.
    """
    fallen = [
        (stand, stand.departure)
        for stand in stands
        if stand.departure and not stand.departure.presumed
        if not serves(stand) and stand.wish is Wish.NOTHING
    ]
    fallen.sort(key=lambda pair: -pair[1].since)
    kept: list[tuple[Stand, str]] = []
    if held is not None:
        kept = [(stand, HELD) for stand, it in fallen if it.since >= held and not it.refused]
    elif not serving:
        doubtful = [(stand, it.way) for stand, it in fallen if _spared(setup, stand, it)]
        remark = DOUBTFUL if any(way for _, way in doubtful) else LAST
        kept = [(stand, remark) for stand, _ in doubtful]
    if relieved:
        return kept
    known = {stand.meant.endpoint for stand, _ in kept}
    left = [stand for stand, _ in fallen if stand.meant.endpoint not in known]
    if setup.when_empty is WhenEmpty.KEEP and not serving and held is None:
        return [*kept, *((stand, KEPT) for stand in left)]
    wanted = setup.keep_at_least * sum(it.meant.weight for it in stands)
    offering = sum(map(offered, stands)) + sum(stand.meant.weight for stand, _ in kept)
    for stand in left:
        if offering >= wanted:
            break
        kept.append((stand, KEPT))
        offering += stand.meant.weight
    return kept


def _spared(setup: ServiceSetup, stand: Stand, departure: Departure) -> bool:
    """Whether a server in doubt is kept as the last one: its way is, or it has fallen silent.

    Where somebody stands in for the silent, that is better.
    """
    last = stand.health.last if stand.health else None
    # One that answers again, though not often enough yet, is kept all the more.
    silent = last is not None and last.outcome in (Outcome.SILENT, Outcome.MUTE, Outcome.PASS)
    leaves = setup.on_failure is OnFailure.QUIESCE_THEN_REMOVE and not departure.refused
    alone = leaves and setup.when_empty is WhenEmpty.REFUSE
    return not departure.removed and (departure.way or (silent and alone))


def scaled(weight: int, share: float = 1.0) -> int:
    """Return the kernel's weight for a configured one where servers return slowly."""
    return min(max(1, round(weight * SCALE * share)), WEIGHT_MAX) if weight else 0


def unscaled(weight: int) -> int:
    """Return the configured weight that somebody means who has set this one by hand."""
    return max(1, round(weight / SCALE)) if weight else 0


def share(since: float, slow_start: float, now: float) -> float:
    """Return how much of its weight a server has that began to return at *since*."""
    part = (now - since) / slow_start if slow_start else 1.0
    return min(1.0, max(1 / SCALE, int(part * STEPS) / STEPS))


def begun(weight: int, meant: int, slow_start: float, now: float) -> float:
    """Return since when a server has been returning that has come to this kernel weight.

    The step that it was in is taken for done, so that no step is waited for twice.
    """
    part = weight / scaled(meant) if meant else 1.0
    return now - slow_start * min(1.0, part + 1 / STEPS)
