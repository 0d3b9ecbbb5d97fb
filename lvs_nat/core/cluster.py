"""Everything the director believes, as one value: what is meant, who is well, who is leaving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from lvs_nat.core.health import Health, Outcome, State, Verdict, step
from lvs_nat.core.pool import Departure, depart, leave, row
from lvs_nat.core.setup import CheckKind, OnStart, Setup, Target
from lvs_nat.model import (
    Counters,
    Destination,
    Endpoint,
    Listener,
    Ruleset,
    ServiceName,
    Table,
    Transport,
)


class Row(NamedTuple):
    """The name of one destination in a whole table."""

    service: ServiceName
    endpoint: Endpoint


class Change(NamedTuple):
    """One real server's health before and after a verdict that is news."""

    target: Target
    before: Health
    after: Health


Traffic = Mapping[tuple[ServiceName, Endpoint], Counters]


@dataclass(frozen=True)
class Cluster:
    """The services to offer, the health of their servers, the departures of failed ones.

    rules is what is running: the saved rules with the edits adopted since.  members names
    the target of each row, None where nothing checks it.
    """

    rules: Ruleset
    setup: Setup
    members: Mapping[Row, Target | None]
    healths: Mapping[Target, Health]
    departures: Mapping[Row, Departure] = field(default_factory=dict)

    @classmethod
    def of(cls, rules: Ruleset, setup: Setup, healths: Mapping[Target, Health]) -> Cluster:
        """Return the cluster of *rules*; servers that *healths* does not know are new."""
        members = {
            Row(name, endpoint): target(setup, name, endpoint)
            for name, service in rules.services.items()
            for endpoint in service.destinations
        }
        trusted = Health(State.UP) if setup.on_start is OnStart.TRUST else Health()
        asked = dict.fromkeys(who for who in members.values() if who)
        return cls(rules, setup, members, {who: healths.get(who, trusted) for who in asked})

    def reloaded(self, rules: Ruleset, setup: Setup) -> Cluster:
        """Return the cluster of new rules; servers that stay keep the health they had.

        They do so too where they are now asked the same with other timings.
        """
        cluster = Cluster.of(rules, setup, self.healths)
        alike = {who.question: health for who, health in self.healths.items()}
        healths = {
            who: self.healths.get(who) or alike.get(who.question, health)
            for who, health in cluster.healths.items()
        }
        kept = {key: value for key, value in self.departures.items() if key in cluster.members}
        return replace(cluster, healths=healths, departures=kept)

    def recalling(self, known: Mapping[Target, Health], rows: Table) -> Cluster:
        """Return the cluster with the health that the last director knew.

        It left *rows* in the kernel.  A server that it knew to serve must be among them, or
        it has to pass first like any other: nobody knows what has happened to it since.
        """
        held = {who for key, who in self.members.items() if _row(rows, key)}
        recalled = {
            who: known[who]
            for who in self.healths
            if who in known and (who in held or not known[who].serving)
        }
        return replace(self, healths={**self.healths, **recalled})

    def presuming(self, rows: Table, now: float) -> Cluster:
        """Take *rows*, as the kernel holds them, for serving until a verdict says otherwise.

        A row of weight 0 that should have more is left as it is until its server has passed.
        Only servers of which nothing is known yet are touched.
        """
        healths, departures = dict(self.healths), dict(self.departures)
        for key, who in self.members.items():
            present = _row(rows, key)
            if who is None or present is None:
                continue
            known = healths[who].state
            if known is State.NEW and (present.weight or not self.meant(key).weight):
                healths[who] = Health(State.UP, since=now)
            elif known is State.NEW:
                healths[who] = Health(State.DOWN, since=now)
            if not healths[who].serving and key not in departures:
                departures[key] = Departure(now)
        return replace(self, healths=healths, departures=departures)

    def meant(self, key: Row) -> Destination:
        return self.rules.services[key.service].destinations[key.endpoint]

    def judged(
        self, verdicts: Sequence[tuple[Target, Verdict]], now: float
    ) -> tuple[Cluster, tuple[Change, ...]]:
        """Return the cluster once *verdicts* are known, and each change that they made.

        A change is one of state, or that a server can be asked no more: as many verdicts in
        a row as make others fall have told nothing.
        """
        healths = dict(self.healths)
        changes = []
        for who, verdict in verdicts:
            before = healths.get(who)
            if before is None:
                continue  # asked before a reload took it away
            healths[who] = after = step(before, verdict, now, who.check)
            if after.state is not before.state or after.unknowns == who.check.fall:
                changes.append(Change(who, before, after))
        cluster = replace(self, healths=healths)
        fallen = {change.target for change in changes if change.before.serving}
        if changes or any(verdict.outcome is Outcome.REFUSED for _, verdict in verdicts):
            cluster = cluster._departing(fallen, now)
        return cluster, tuple(changes)

    def _departing(self, fallen: set[Target], now: float) -> Cluster:
        """Let servers go that have just *fallen*; forget the leaving of those that are back."""
        departures = {}
        for key, who in self.members.items():
            if who is None or self.healths[who].serving:
                continue
            known = self.departures.get(key)
            if known or who in fallen:
                first = depart(key.service, self.healths[who], self.setup.service(key.service), now)
                departures[key] = first if first.removed or not known else known
        return replace(self, departures=departures)

    def watched(
        self, counters: Mapping[tuple[ServiceName, Endpoint], Counters], now: float
    ) -> Cluster:
        """Return the cluster after a look at what leaving servers still send."""
        if all(departure.removed for departure in self.departures.values()):
            return self
        silent = Counters()
        departures = {
            key: leave(
                departure,
                counters.get(key, silent).packets_out,
                self.setup.service(key.service),
                now,
            )
            for key, departure in self.departures.items()
        }
        return replace(self, departures=departures)

    def health(self, key: Row) -> Health | None:
        """Return what is believed of the server in *key*; None if nothing checks it."""
        who = self.members[key]
        return self.healths[who] if who else None

    def table(self) -> Table:
        """Return the services as the kernel should have them now."""
        table = {}
        for name, service in self.rules.services.items():
            rows = {}
            for endpoint, meant in service.destinations.items():
                key = Row(name, endpoint)
                now = row(meant, self.health(key), self.departures.get(key))
                if now is not None:
                    rows[endpoint] = now
            table[name] = replace(service, destinations=rows)
        return table

    @property
    def judging(self) -> bool:
        """Whether some server has had no verdict at all yet."""
        return any(health.last is None for health in self.healths.values())


def _row(rows: Table, key: Row) -> Destination | None:
    service = rows.get(key.service)
    return service.destinations.get(key.endpoint) if service else None


def target(setup: Setup, name: ServiceName, endpoint: Endpoint) -> Target | None:
    """Return whom to ask about a row, or None where no check can be asked.

    A TCP connection says something about a TCP service only; a firewall mark or port 0 does
    not tell which port to ask.
    """
    service = setup.service(name)
    check = service.servers.get(endpoint, service.check)
    if check.kind is CheckKind.NONE or endpoint.port == 0:
        return None
    if not isinstance(name, Listener) or name.transport is not Transport.TCP:
        return None
    return Target(endpoint, check)
