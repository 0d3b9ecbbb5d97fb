"""Everything the director believes, as one value: what is meant, who is well, who is leaving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from lvs_nat.core.health import Health, Outcome, State, Verdict, joined, step
from lvs_nat.core.pool import Departure, depart, leave, row
from lvs_nat.core.setup import OnStart, Setup, Target
from lvs_nat.core.targets import Here, targets
from lvs_nat.model import Counters, Destination, Endpoint, Ruleset, ServiceName, Table


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

NOWHERE = Here()
NO_WAY = "no return path: is this director its default gateway?"


@dataclass(frozen=True)
class Cluster:
    """The services to offer, the health of their servers, the departures of failed ones.

    rules is what is running: the saved rules with the edits adopted since.  members names
    the targets of each row, none where nothing checks it; beside those that are asked of the
    same rows as the question for a client's way back.
    """

    rules: Ruleset
    setup: Setup
    members: Mapping[Row, tuple[Target, ...]]
    healths: Mapping[Target, Health]
    departures: Mapping[Row, Departure] = field(default_factory=dict)
    beside: Mapping[Target, tuple[Target, ...]] = field(default_factory=dict)
    here: Here = NOWHERE

    @classmethod
    def of(
        cls,
        rules: Ruleset,
        setup: Setup,
        healths: Mapping[Target, Health],
        here: Here = NOWHERE,
    ) -> Cluster:
        """Return the cluster of *rules*; servers that *healths* does not know are new."""
        members = {
            Row(name, endpoint): targets(setup, name, destination, here)
            for name, service in rules.services.items()
            for endpoint, destination in service.destinations.items()
        }
        trusted = Health(State.UP) if setup.on_start is OnStart.TRUST else Health()
        asked = dict.fromkeys(who for all_ in members.values() for who in all_)
        known = {who: healths.get(who, trusted) for who in asked}
        beside: dict[Target, tuple[Target, ...]] = {}
        for all_ in members.values():
            others = tuple(who for who in all_ if not who.path)
            for who in all_[len(others) :]:
                beside[who] = (*beside.get(who, ()), *others)
        return cls(rules, setup, members, known, beside=beside, here=here)

    def reloaded(self, rules: Ruleset, setup: Setup) -> Cluster:
        """Return the cluster of new rules; servers that stay keep the health they had.

        They do so too where they are now asked the same with other timings.
        """
        cluster = Cluster.of(rules, setup, self.healths, self.here)
        alike = {who.asked: health for who, health in self.healths.items()}
        healths = {
            who: self.healths.get(who) or alike.get(who.asked, health)
            for who, health in cluster.healths.items()
        }
        kept = {key: value for key, value in self.departures.items() if key in cluster.members}
        return replace(cluster, healths=healths, departures=kept)

    def moved(self, here: Here) -> Cluster:
        """Return the cluster on a machine whose addresses have changed; itself if not."""
        return (
            self if here == self.here else replace(self, here=here).reloaded(self.rules, self.setup)
        )

    def recalling(self, known: Mapping[Target, Health], rows: Table) -> Cluster:
        """Return the cluster with the health that the last director knew.

        It left *rows* in the kernel.  A server that it knew to serve must be among them, or
        it has to pass first like any other: nobody knows what has happened to it since.
        """
        held = {who for key, all_ in self.members.items() if _row(rows, key) for who in all_}
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
        for key, all_ in self.members.items():
            present = _row(rows, key)
            if present is None:
                continue
            well = bool(present.weight or not self.meant(key).weight)
            for who in all_:
                if healths[who].state is State.NEW:
                    healths[who] = Health(State.UP if well else State.DOWN, since=now)
            serving = all(healths[who].serving for who in all_)
            if not serving and key not in departures:
                departures[key] = Departure(now)
        return replace(self, healths=healths, departures=departures)

    def meant(self, key: Row) -> Destination:
        return self.rules.services[key.service].destinations[key.endpoint]

    def judged(
        self, verdicts: Sequence[tuple[Target, Verdict]], now: float
    ) -> tuple[Cluster, tuple[Change, ...]]:
        """Return the cluster once *verdicts* are known, and each change that they made.

        A change is one of state or weight, or that a server can be asked no more: as many
        verdicts in a row as make others fall have told nothing.
        """
        healths = dict(self.healths)
        changes = []
        for who, verdict in verdicts:
            before = healths.get(who)
            if before is None:
                continue  # asked before a reload took it away
            if who.path:
                found = self._way(who, verdict, healths)
                if found is None:
                    continue
                verdict = found
            healths[who] = after = step(before, verdict, now, who.check)
            moved = after.state is not before.state or after.weight != before.weight
            if moved or after.unknowns == who.check.fall:
                changes.append(Change(who, before, after))
        cluster = replace(self, healths=healths)
        fallen = {change.target for change in changes if change.before.serving}
        if changes or any(verdict.outcome is Outcome.REFUSED for _, verdict in verdicts):
            cluster = cluster._departing(fallen, now)
        return cluster, tuple(changes)

    def _way(
        self, who: Target, verdict: Verdict, healths: Mapping[Target, Health]
    ) -> Verdict | None:
        """Return what a question from the virtual address says of the way back; None: nothing.

        A refusal has found its way.  While the server does not answer the director either,
        silence is its own.
        """
        if verdict.outcome is Outcome.REFUSED:
            return Verdict(Outcome.PASS, "its answers come back", verdict.latency)
        if verdict.outcome in (Outcome.PASS, Outcome.UNKNOWN):
            return verdict
        if any(healths[other].state is not State.UP for other in self.beside[who]):
            return None
        return replace(verdict, words=NO_WAY)

    def _departing(self, fallen: set[Target], now: float) -> Cluster:
        """Let servers go that have just *fallen*; forget the leaving of those that are back."""
        departures = {}
        for key, all_ in self.members.items():
            failed = [who for who in all_ if not self.healths[who].serving]
            if not failed:
                continue
            known = self.departures.get(key)
            if known or not fallen.isdisjoint(failed):
                worst = joined([self.healths[who] for who in failed])
                first = depart(key.service, worst, self.setup.service(key.service), now)
                way = all(who.path for who in failed)
                departures[key] = first if first.removed or not known else known
                if departures[key].way is not way:
                    departures[key] = replace(departures[key], way=way, flowing=False)
        return replace(self, departures=departures)

    def watched(
        self, counters: Mapping[tuple[ServiceName, Endpoint], Counters], now: float
    ) -> Cluster:
        """Return the cluster after a look at what leaving servers still send."""
        if all(departure.removed or departure.flowing for departure in self.departures.values()):
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

    @property
    def flowing(self) -> frozenset[Row]:
        """The rows that serve although no answer of theirs comes back to the virtual address."""
        return frozenset(key for key, departure in self.departures.items() if departure.flowing)

    def health(self, key: Row) -> Health | None:
        """Return what is believed of the server in *key*; None if nothing checks it."""
        all_ = self.members[key]
        departure = self.departures.get(key)
        if departure is not None and departure.flowing:
            all_ = tuple(who for who in all_ if not who.path)
        return joined([self.healths[who] for who in all_]) if all_ else None

    def table(self) -> Table:
        """Return the services as the kernel should have them now."""
        table = {}
        doubtful = self._doubtful()
        for name, service in self.rules.services.items():
            rows = {}
            for endpoint, meant in service.destinations.items():
                key = Row(name, endpoint)
                now = row(meant, self.health(key), self.departures.get(key))
                if now is not None:
                    rows[endpoint] = now
            if not any(now.weight for now in rows.values()):
                rows.update(doubtful.get(name, {}))
            table[name] = replace(service, destinations=rows)
        return table

    def _doubtful(self) -> dict[ServiceName, dict[Endpoint, Destination]]:
        """Return the rows of servers of which only the way back is in doubt.

        Where they are the last of their service, to quiesce them all on a suspicion would be
        worse than to wait for what the kernel has counted.
        """
        found: dict[ServiceName, dict[Endpoint, Destination]] = {}
        for key, departure in self.departures.items():
            if departure.way and not departure.removed:
                found.setdefault(key.service, {})[key.endpoint] = self.meant(key)
        return found

    @property
    def judging(self) -> bool:
        """Whether some server has had no verdict at all yet."""
        return any(health.last is None for health in self.healths.values())


def _row(rows: Table, key: Row) -> Destination | None:
    service = rows.get(key.service)
    return service.destinations.get(key.endpoint) if service else None
