"""Everything the director believes, as one value: what is meant, who is well, who is leaving."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple, TypeVar

from lvs_nat.core.health import SERVING, Health, State, joined
from lvs_nat.core.leaving import Departure, SilentSince, leave, unseen
from lvs_nat.core.pool import Choice, Stand, Wish, choose, offered, serves, share
from lvs_nat.core.setup import OnStart, Setup, Target
from lvs_nat.core.targets import Asker, Here, asked_alike
from lvs_nat.core.wishes import Wanted, Wishes, lasting, wanted
from lvs_nat.model import Counters, Destination, Endpoint, Ruleset, Service, ServiceName, Table


class Row(NamedTuple):
    """The name of one destination in a whole table."""

    service: ServiceName
    endpoint: Endpoint


Traffic = Mapping[tuple[ServiceName, Endpoint], Counters]

Kept = TypeVar("Kept")
NOWHERE = Here()


@dataclass(frozen=True)
class Cluster:
    """The services to offer, the health of their servers, the departures of failed ones.

    rules is what is running: the saved rules with the edits adopted since.  members names
    the targets of each row, none where nothing checks it, sorries those of the sorry servers.
    beside gives, for each question for a client's way back, the other targets of its rows.  here
    is what this machine is, wishes what the operator wants.  ramps says since when a server is
    coming back slowly, lost which services have too few servers, suspected since when the
    director takes its own link for the one that is broken; these are monotonic seconds.
    """

    rules: Ruleset
    setup: Setup
    members: Mapping[Row, tuple[Target, ...]]
    healths: Mapping[Target, Health]
    departures: Mapping[Row, Departure] = field(default_factory=dict)
    beside: Mapping[Target, tuple[Target, ...]] = field(default_factory=dict)
    here: Here = NOWHERE
    sorries: Mapping[Row, tuple[Target, ...]] = field(default_factory=dict)
    wishes: Wishes = field(default_factory=dict)
    ramps: Mapping[Row, float] = field(default_factory=dict)
    lost: frozenset[ServiceName] = frozenset()
    suspected: float | None = None

    @classmethod
    def of(
        cls,
        rules: Ruleset,
        setup: Setup,
        healths: Mapping[Target, Health],
        here: Here = NOWHERE,
    ) -> Cluster:
        """Return the cluster of *rules*; servers that *healths* does not know are new."""
        askers = {name: Asker(setup, name, here) for name in rules.services}
        members = {
            Row(name, endpoint): asker.targets(service.destinations[endpoint])
            for name, service in rules.services.items()
            for asker in (askers[name],)
            for endpoint in service.destinations
        }
        fresh = Health(State.UP) if setup.on_start is OnStart.TRUST else Health()
        sorries = {
            Row(name, endpoint): askers[name].targets(Destination(endpoint))
            for name, service in rules.services.items()
            for endpoint in setup.service(name).sorry
            if endpoint not in service.destinations
        }
        every = (*members.values(), *sorries.values())
        known = {who: healths.get(who, fresh) for who in chain.from_iterable(every)}
        beside: dict[Target, tuple[Target, ...]] = {}
        for all_ in every:
            others = tuple(who for who in all_ if not who.path)
            for who in all_[len(others) :]:
                beside[who] = (*beside.get(who, ()), *others)
        return cls(rules, setup, members, known, beside=beside, here=here, sorries=sorries)

    def reloaded(self, rules: Ruleset, setup: Setup) -> Cluster:
        """Return the cluster of new rules; servers that stay keep the health they had.

        They do so too where they are now asked the same with other timings.
        """
        if setup == self.setup and asked_alike(self.rules.services, rules.services):
            return replace(self, rules=rules, setup=setup)
        cluster = Cluster.of(rules, setup, self.healths, self.here)
        return replace(
            cluster,
            healths={**cluster.healths, **self._alike(cluster)},
            departures=_of(self.departures, cluster.members),
            ramps=_of(self.ramps, cluster.members),
            wishes=self.wishes,
            lost=self.lost & rules.services.keys(),
            suspected=self.suspected,
        )

    def _alike(self, cluster: Cluster) -> dict[Target, Health]:
        """Return the health of who is asked anew in *cluster* what was asked with other timings.

        Its own rows tell first: another service may have been more patient with it.
        """
        new = {who for who in cluster.healths if who not in self.healths}
        if not new:
            return {}
        own: dict[Target, list[Health]] = {}
        for key, all_ in (*cluster.members.items(), *cluster.sorries.items()):
            for who in new.intersection(all_):
                former = self.members.get(key) or self.sorries.get(key, ())
                own.setdefault(who, []).extend(
                    self.healths[it] for it in former if it.asked == who.asked
                )
        others = {who.asked: [health] for who, health in self.healths.items()}
        known = {who: own.get(who) or others.get(who.asked, []) for who in new}
        return {who: joined(found, Destination.weight) for who, found in known.items() if found}

    def moved(self, here: Here) -> Cluster:
        """Return the cluster on a machine whose addresses have changed; itself if not."""
        if here == self.here:
            return self
        nothing = replace(self, here=here, rules=Ruleset())  # all are to be asked from there
        return nothing.reloaded(self.rules, self.setup)

    def meant(self, key: Row) -> Destination:
        """Return what the rules want of a row; of a sorry server they say nothing."""
        found = self.rules.services[key.service].destinations.get(key.endpoint)
        return Destination(key.endpoint) if found is None else found

    def returning(self, rows: Iterable[Row], now: float) -> Cluster:
        """Let *rows* come back slowly, where their service wants that and others serve."""
        ramps = dict(self.ramps)
        for key in rows:
            if self.setup.service(key.service).slow_start:
                others = self.rules.services[key.service].destinations.keys() - {key.endpoint}
                if any(serves(self.stand(Row(key.service, it), now)) for it in others):
                    ramps[key] = now
        return replace(self, ramps=ramps) if ramps != self.ramps else self

    def wished(self, wishes: Wishes, now: float) -> Cluster:
        """Return the cluster with other wishes of the operator; who is let in comes slowly."""
        before = {key for key in self.members if self.wish(key)}  # ended by now or not
        cluster = replace(self, wishes=wishes)
        back = [key for key in before if cluster._wish(key, now) is Wish.NOTHING]
        return cluster.returning(back, now)

    def counted(self, now: float) -> Cluster:
        """Return the cluster with its quorums counted anew, and without what has ended."""
        ramps = {
            key: since
            for key, since in self.ramps.items()
            if share(since, self.setup.service(key.service).slow_start, now) < 1.0
        }
        cluster = self if ramps == self.ramps else replace(self, ramps=ramps)
        if (left := lasting(self.wishes, now)) is not self.wishes:
            cluster = cluster.wished(left, now)
        lost = frozenset(name for name in self._strict if not cluster.choice(name, now).quorate)
        return cluster if lost == self.lost else replace(cluster, lost=lost)

    @property
    def _strict(self) -> list[ServiceName]:
        """The services whose quorum depends on whether it was lost before."""
        if not any(it.hysteresis for it in (self.setup.default, *self.setup.services.values())):
            return []
        return [name for name in self.rules.services if self.setup.service(name).hysteresis]

    def watched(
        self,
        counters: Traffic,
        now: float,
        silent_since: SilentSince = unseen,
    ) -> Cluster:
        """Return the cluster after a look at what leaving servers still send.

        silent_since is asked of each as `leave` is told it; where every server that serves
        owes an answer too, it may be our own link, and says nothing of one of them.
        """
        settled = all(it.removed or it.flowing for it in self.departures.values())
        if settled or self.suspected is not None:
            return self
        silent = Counters()
        serving = {who.endpoint for who, it in self.healths.items() if it.serving}
        if serving and all(silent_since(it) is not None for it in serving):
            silent_since = unseen
        departures = {
            key: leave(
                departure,
                counters.get(key, silent).packets_out,
                self.setup.service(key.service),
                now,
                silent_since(key.endpoint),
            )
            for key, departure in self.departures.items()
        }
        return replace(self, departures=departures)

    @property
    def flowing(self) -> frozenset[Row]:
        """The rows that serve although no answer of theirs comes back to the virtual address."""
        return frozenset(key for key, departure in self.departures.items() if departure.flowing)

    def asked(self, key: Row) -> tuple[Target, ...]:
        """Return whom is asked about a row, or about a sorry server."""
        return self.members[key] if key in self.members else self.sorries[key]

    def wish(self, key: Row) -> Wanted | None:
        """Return what the operator wants of a row, if anything."""
        return wanted(self.wishes, key.service, key.endpoint)

    def health(self, key: Row) -> Health | None:
        """Return what is believed of the server in *key*; None if nothing checks it."""
        all_ = self.asked(key)
        departure = self.departures.get(key)
        if departure is not None and departure.flowing:
            all_ = tuple(who for who in all_ if not who.path)
        return joined([self.healths[who] for who in all_], self.meant(key).weight) if all_ else None

    def table(self, now: float, chosen: Mapping[ServiceName, Choice] | None = None) -> Table:
        """Return the services as the kernel should have them now.

        *chosen* are the `choices` of now, where they are known.
        """
        chosen = self.choices(now) if chosen is None else chosen
        return {
            name: replace(service, destinations=chosen[name].rows) if name in chosen else service
            for name, service in self.rules.services.items()
        }

    def choices(self, now: float) -> dict[ServiceName, Choice]:
        """Return who takes the clients of each service that has anything to choose."""
        well = _all_well(self.healths.values())
        return {
            name: self.choice(name, now)
            for name, service in self.rules.services.items()
            if not self._settled(service, well)
        }

    def choice(self, name: ServiceName, now: float) -> Choice:
        """Return who takes the clients of a service now, with remarks."""
        service, setup = self.rules.services[name], self.setup.service(name)
        stands = [self.stand(Row(name, endpoint), now) for endpoint in service.destinations]
        sorries = [
            Stand(
                standing_in,
                self.health(Row(name, standing_in.endpoint)),
                wish=self._wish(Row(name, standing_in.endpoint), now),
            )
            for standing_in in self.standing_in(name)
        ]
        return choose(setup, stands, sorries, lost=name in self.lost, held=self.suspected)

    def standing_in(self, name: ServiceName) -> list[Destination]:
        """Return the sorry servers of a service as destinations."""
        present = self.rules.services[name].destinations
        sorry = self.setup.service(name).sorry
        return [Destination(endpoint) for endpoint in sorry if endpoint not in present]

    def share_serving(self, name: ServiceName, now: float) -> float:
        """Return how much of a service's configured weight may take new clients now."""
        destinations = self.rules.services[name].destinations
        whole = sum(meant.weight for meant in destinations.values())
        stands = (self.stand(Row(name, endpoint), now) for endpoint in destinations)
        serving = sum(map(offered, stands))
        return serving / whole if whole else 0.0

    def _settled(self, service: Service, well: bool) -> bool:
        """Whether a service has nothing to choose: all of it is served as it is meant.

        *well* says that this is known of every server.
        """
        setup = self.setup.service(service.name)
        if setup.slow_start or self.wishes or setup.quorum > 1:
            return False
        if not any(it.weight for it in service.destinations.values()):
            return False
        return well or _all_well(
            self.healths[who]
            for endpoint in service.destinations
            for who in self.members[Row(service.name, endpoint)]
        )

    def stand(self, key: Row, now: float) -> Stand:
        """Return how one row stands, on its own."""
        setup = self.setup.service(key.service)
        since = self.ramps.get(key)
        return Stand(
            self.meant(key),
            self.health(key),
            self.departures.get(key),
            self._wish(key, now),
            1.0 if since is None else share(since, setup.slow_start, now),
        )

    def _wish(self, key: Row, now: float) -> Wish:
        found = self.wish(key) if self.wishes else None
        return found.at(now) if found else Wish.NOTHING

    @property
    def judging(self) -> bool:
        """Whether some server has had no verdict at all yet."""
        return any(health.last is None for health in self.healths.values())


def _all_well(healths: Iterable[Health]) -> bool:
    return all(it.state in SERVING and it.weight is None for it in healths)


def _of(kept: Mapping[Row, Kept], members: Mapping[Row, object]) -> Mapping[Row, Kept]:
    return {key: value for key, value in kept.items() if key in members}
