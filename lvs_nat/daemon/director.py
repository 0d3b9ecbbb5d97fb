"""The kernel's table is made to agree with the cluster, and with nobody else."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from lvs_nat.core.cluster import Cluster
from lvs_nat.core.drift import adopt, configured, edits, foreign, lost, perform, reweighed
from lvs_nat.core.fates import Fates
from lvs_nat.core.health import Verdict
from lvs_nat.core.judging import judged
from lvs_nat.core.leaving import SilentSince, unseen
from lvs_nat.core.plan import (
    AddService,
    DelDestination,
    DelService,
    Operation,
    StartDaemon,
    carried_out,
    plan,
    subject,
)
from lvs_nat.core.pool import Choice
from lvs_nat.core.quarrels import Edit, Quarrels
from lvs_nat.core.resuming import presumed
from lvs_nat.core.setup import Drift, Own, Setup, Target
from lvs_nat.core.spelling import spell_operation
from lvs_nat.core.standing import Standings
from lvs_nat.core.suspicion import Flows, flows
from lvs_nat.core.targets import Here
from lvs_nat.core.wishes import Wishes
from lvs_nat.daemon.logbook import (
    LINES,
    log_change,
    log_edits,
    log_flowing,
    log_standings,
    log_suspicion,
    log_wishes,
    log_work,
)
from lvs_nat.errors import KernelError
from lvs_nat.model import Counters, Endpoint, Ruleset, ServiceName, SyncRole, bare

log = logging.getLogger(__name__)

# A table found empty is put back at the second look, this much later: `ipvsadm -C` with an
# `ipvsadm -R` behind it is an edit, not a loss.
SECOND_LOOK = 0.2


class Snapshot(Protocol):
    """One reading of the kernel's table, with its counters."""

    @property
    def ruleset(self) -> Ruleset: ...

    @property
    def counters(self) -> Mapping[tuple[ServiceName, Endpoint], Counters]: ...

    @property
    def connections(self) -> Mapping[ServiceName, Sequence[tuple[int, int]]]: ...


class Refusal(Protocol):
    """One operation that the kernel would not do, and why."""

    @property
    def operation(self) -> Operation: ...

    @property
    def error(self) -> KernelError: ...


class IpvsTable(Protocol):
    """What the director needs of the kernel."""

    def snapshot(self) -> Snapshot: ...

    def has(self, name: ServiceName) -> bool: ...

    def apply(self, operations: Sequence[Operation]) -> Sequence[Refusal]: ...


class Director:
    """Keeps one IPVS table in step with one cluster.  Nothing else writes to it.

    meant is what `save` writes: the rules that run, without what others did where the policy
    is to report that.  flows gives the connections that the last look has shown.
    """

    def __init__(
        self,
        cluster: Cluster,
        table: IpvsTable,
        clock: Callable[[], float] = time.monotonic,
        silent_since: SilentSince = unseen,
    ) -> None:
        self.cluster = cluster
        self.meant = cluster.rules
        self.refusals: tuple[str, ...] = ()
        self.quarrels = Quarrels()
        self.counters: Mapping[tuple[ServiceName, Endpoint], Counters] = {}
        self.actual = Ruleset()
        self.flows: Callable[[], Flows] = dict
        self._table = table
        self._clock = clock
        self._silent_since = silent_since
        # What the kernel should hold if nobody else has written to it; None: nobody knows.
        self._expected: Ruleset | None = None
        # Services that we have made since the look before the last one.
        self._added: frozenset[ServiceName] = frozenset()
        # Roles of the sync daemons that rules have named which run no more.
        self._ended: frozenset[SyncRole] = frozenset()
        # Services that rules have named which run no more, and the kernel still holds.
        self._dropped: frozenset[ServiceName] = frozenset()
        self._empty_since: float | None = None
        self._standings: Standings | None = None
        self._looked: float | None = None
        self._hold_until = 0.0

    def hold(self, seconds: float) -> None:
        """Take nothing away for *seconds*, or until every server has had a verdict.

        So the servers of new rules arrive before those of old rules leave.
        """
        self._hold_until = self._clock() + seconds

    @property
    def holding(self) -> bool:
        return self._clock() < self._hold_until and self.cluster.judging

    @property
    def suspects_loss(self) -> bool:
        """Whether the table was just found empty, so that a second look is due."""
        return self._empty_since is not None

    def glance(self) -> bool:
        """Say whether the table is as it was, as far as one cheap question can tell.

        It asks for the first service that should be there: a lost table has lost it too.
        """
        first = next(iter(self._ours(self._expected).services if self._expected else ()), None)
        try:
            return first is None or self._table.has(first)
        except KernelError:
            return True  # the next whole look tells what is wrong

    def reload(self, rules: Ruleset, setup: Setup) -> None:
        """Return to *rules*; what stays in them keeps its health and its connections.

        What the kernel holds of them serves on until a verdict says otherwise.
        """
        before, reloaded = self.cluster, self.cluster.reloaded(rules, setup)
        self.cluster = presumed(reloaded, self.actual.services, self._clock(), before)
        self.meant = rules
        self.drop(before.rules)
        self._expected = None

    def drop(self, ran: Ruleset) -> None:
        """Have what *ran* leave the kernel, where the rules that run name it no more."""
        self._ended |= ran.daemons.keys()
        self._dropped |= ran.services.keys() - self.cluster.rules.services.keys()

    @property
    def dropped(self) -> Ruleset:
        """What the kernel holds, without its rows, of rules that run no more: ours to remove."""
        rules, actual = self.cluster.rules, self.actual
        services = {
            name: bare(actual.services[name])
            for name in self._dropped
            if name in actual.services and name not in rules.services
        }
        roles = self._ended & actual.daemons.keys() - rules.daemons.keys()
        return Ruleset(services, daemons={role: actual.daemons[role] for role in roles})

    def move(self, here: Here) -> None:
        """Ask from where the machine's addresses, now *here*, allow it.

        What the kernel holds serves on until a verdict on the new questions says otherwise.
        """
        moved = self.cluster.moved(here)
        if moved is not self.cluster:
            before = self.cluster
            self.cluster = presumed(moved, self.actual.services, self._clock(), before)

    def wish(self, wishes: Wishes) -> None:
        """Do what the operator wants from now on."""
        self.cluster = self.cluster.wished(wishes, self._clock())
        self.reconcile()

    def edit(
        self, operations: Sequence[Operation], guard: Callable[[Cluster, Cluster, float], None]
    ) -> None:
        """Take the operator's *operations* into the rules that run, unless *guard* objects."""
        rules = perform(self.cluster.rules, operations)
        edited = self.cluster.reloaded(rules, self.cluster.setup)
        guard(self.cluster, edited, self._clock())
        self.cluster, self.meant = edited, reweighed(self.meant, operations)
        self.reconcile()

    def hear(self, verdicts: Sequence[tuple[Target, Verdict]]) -> None:
        """Take *verdicts* in; touch the kernel only if they are news."""
        before = self.cluster
        self.cluster, changes = judged(before, verdicts, self._clock())
        if self.cluster.suspected != before.suspected:
            log_suspicion(self.cluster.suspected is not None)
        for change in changes:
            log_change(change)
        if changes or self.cluster.departures != before.departures:
            self.reconcile()

    def reconcile(self) -> None:
        """Read the kernel, take in what others did, and bring it to what the cluster wants.

        A kernel that refuses is logged once for each new reason; the next call tries again.
        """
        try:
            self._reconcile()
        except KernelError as error:
            self._complain((str(error),))

    def _reconcile(self) -> None:
        snapshot = self._table.snapshot()
        now = self._clock()
        self.actual, self.counters = snapshot.ruleset, snapshot.counters
        self.flows = partial(flows, snapshot.ruleset.services, snapshot.connections)
        if self._lost(now):
            return
        self._notice(now)
        before = self.cluster
        self.cluster = before.watched(self.counters, now, self._silent_since).counted(now)
        log_flowing(self.cluster.flowing - before.flowing)
        log_wishes(before.wishes, self._looked, now)
        self._looked = now
        chosen = self.cluster.choices(now)
        self._standings = log_standings(self.cluster, chosen, self._standings)
        operations = self._operations(chosen)
        self._expected = None  # should the kernel's answer be lost, edits and our own work mix
        refusals = self._table.apply(operations) if operations else ()
        done = carried_out(operations, [refusal.operation for refusal in refusals])
        log_work([it for it in done if not self._damped(subject(it))])
        self.actual = perform(self.actual, done)
        self._dropped &= self.actual.services.keys()
        # The kernel fills in what a StartDaemon leaves open; only it knows what to expect then.
        filled_in = any(isinstance(operation, StartDaemon) for operation in done)
        self._expected = None if filled_in else self.actual
        self._added = frozenset(it.service.name for it in done if isinstance(it, AddService))
        self._complain(tuple(str(refusal.error) for refusal in refusals))

    def pending(self) -> tuple[Operation, ...]:
        """Read the kernel and return what its table still differs by from what is wanted."""
        self.reconcile()
        return self._operations(self.cluster.choices(self._clock()))

    def _operations(self, chosen: Mapping[ServiceName, Choice]) -> tuple[Operation, ...]:
        rules = self.cluster.rules
        services = {
            name: service
            for name, service in self.cluster.table(self._clock(), chosen).items()
            # A service is not opened before one of its servers may serve.
            if service.destinations or name in self.actual.services or not self.holding
        }
        if self.cluster.setup.own is Own.RULES:
            others = foreign(rules, self.actual).services
            services.update({name: others[name] for name in others.keys() - self._dropped})
        operations = plan(replace(rules, services=services), self.actual, self._ended)
        if self.holding:
            removing = (DelService, DelDestination)
            return tuple(op for op in operations if not isinstance(op, removing))
        return operations

    def _lost(self, now: float) -> bool:
        """Say whether to wait for a second look at a table that seems lost."""
        expected, actual = self._expected, self._ours(self.actual)
        if expected is None or not lost(self._ours(expected), actual, self._added):
            self._empty_since = None
            return False
        if self._empty_since is None:
            self._empty_since = now
        if now - self._empty_since < SECOND_LOOK:
            return True
        self._heed([Edit(WHOLE, "-C", "the whole table is put back")], now)
        self._empty_since = None
        self._expected = None
        return False

    def _ours(self, rules: Ruleset) -> Ruleset:
        if self.cluster.setup.own is Own.TABLE:
            return rules
        known = self.cluster.rules.services
        return replace(rules, services={k: v for k, v in rules.services.items() if k in known})

    def _notice(self, now: float) -> None:
        """Take in, or only tell, what somebody else did to the table since the last look."""
        if self._expected is None:
            return
        setup, rules = self.cluster.setup, self.cluster.rules
        policy = setup.drift
        expected = configured(self._expected, setup)
        done = edits(rules, expected, configured(self.actual, setup), setup.own)
        if not done:
            return
        after = self.cluster
        if policy is not Drift.REPAIR:
            adopted = after.reloaded(adopt(rules, expected, done), setup)
            after = presumed(adopted, self.actual.services, now)
        raw = edits(rules, self._expected, self.actual, setup.own)
        typed = {subject(it): spell_operation(it) for it in (*done, *raw)}
        fates = Fates(policy, rules, expected, after, after.table(now), now)
        self._heed([Edit(subject(it), typed[subject(it)], fates.of(it)) for it in done], now)
        self.cluster = after
        if policy is Drift.REPAIR:
            self._ended |= {it.daemon.role for it in done if isinstance(it, StartDaemon)}
        elif policy is Drift.ADOPT:
            self.meant = after.rules

    def _heed(self, done: Sequence[Edit], now: float) -> None:
        """Tell what somebody did; where it is a program that never tires, now and then only."""
        self.quarrels = self.quarrels.after(done, now)
        log_edits([it for it in done if not self._damped(it.subject)])
        due = self.quarrels.due(now)
        for quarrel in due[:LINES]:
            log.error("%s", quarrel)
        if len(due) > LINES:
            log.error("and %d more parts of the table are kept changing", len(due) - LINES)
        self.quarrels = self.quarrels.telling(due, now)

    def _damped(self, what: str) -> bool:
        return self.quarrels.over(what) or self.quarrels.over(WHOLE)

    def _complain(self, reasons: tuple[str, ...]) -> None:
        for reason in reasons:
            if reason not in self.refusals:
                log.error("%s", reason)
        self.refusals = reasons


WHOLE = "the whole table"
