"""The prober is told whom to ask; what it finds is heard, and remembered for the report."""

from __future__ import annotations

import logging

from lvs_nat.core.cluster import Cluster
from lvs_nat.core.health import Verdict
from lvs_nat.core.report import COLD, Pulse
from lvs_nat.core.setup import Target
from lvs_nat.core.warmth import Warmth
from lvs_nat.daemon.link import Link, Probed
from lvs_nat.errors import LvsNatError

log = logging.getLogger(__name__)


class Hearing:
    """What a director knows of the questions under way."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._due: dict[Target, float] = {}
        self._warmth: dict[Target, Warmth] = {}
        self._ordered: object = None
        self._asked: list[Target] = []

    @property
    def pulse(self) -> Pulse:
        """What is heard of targets between changes."""
        return Pulse(self._due, self._warmth)

    def order(self, cluster: Cluster) -> None:
        """Have the servers of *cluster* asked, and nobody else."""
        targets, before = cluster.healths, self._asked
        self._ordered, self._asked = cluster.members, list(targets)
        if self._asked == before:
            return  # of thousands the prober need not be told what it knows
        self._link.ask(self._asked)
        self._due = {who: when for who, when in self._due.items() if who in targets}
        self._warmth = {who: was for who, was in self._warmth.items() if who in targets}

    def follow(self, cluster: Cluster) -> None:
        """Order anew where somebody's edit of the table has brought or taken servers."""
        if self._ordered is not cluster.members:
            self.order(cluster)

    def news(self, now: float) -> list[tuple[Target, Verdict]]:
        """Return the verdicts that have come; raise LvsNatError if none will come any more."""
        news: list[tuple[Target, Verdict]] = []
        try:
            for event in self._link.events():
                if isinstance(event, Probed):
                    who, verdict = event.target, event.verdict
                    self._due[who] = now + event.next_in
                    warmth = self._warmth.get(who, COLD)
                    self._warmth[who] = warmth.after(verdict, event.times)
                    news += [(who, verdict)] * event.times
                else:
                    log.error("%s", event)
        except ConnectionError as error:
            raise LvsNatError(f"{error}; ending, and leaving the table as it is") from error
        return news
