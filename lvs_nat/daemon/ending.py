"""What a stop takes away and what it gives back, by the director or for one that crashed."""

from __future__ import annotations

import logging
from typing import Protocol

from lvs_nat.core.drift import foreign
from lvs_nat.core.plan import plan
from lvs_nat.core.setup import OnStop, Own, Setup
from lvs_nat.model import Ruleset
from lvs_nat.system.ipvs import Ipvs
from lvs_nat.system.timeouts import TimeoutRecord

log = logging.getLogger(__name__)


class Settings(Protocol):
    """The kernel's settings that a director has changed; each call returns a sentence for each."""

    def restore(self) -> list[str]: ...

    def keep(self) -> list[str]: ...


def clear(kernel: Ipvs, rules: Ruleset, setup: Setup) -> list[str]:
    """Remove from the table what *setup* says: nothing, the services of *rules*, or all of it.

    The sync daemons of *rules* end where the services do.  Returns and logs a sentence for
    each that the kernel refused to remove.
    """
    if setup.on_stop is OnStop.KEEP:
        return []
    actual = kernel.read()
    left = Ruleset() if setup.own is Own.TABLE else foreign(rules, actual)
    lines = [str(it.error) for it in kernel.apply(plan(left, actual, ended=rules.daemons))]
    for line in lines:
        log.error("%s", line)
    return lines


def give_back(kernel: Ipvs, setup: Setup, settings: Settings, timeouts: TimeoutRecord) -> list[str]:
    """Restore settings and idle timeouts, but not from under a table that is kept.

    A table without forwarding is none.  What stays is on record, for a stop that clears.
    """
    if setup.on_stop is OnStop.KEEP and kernel.read().services:
        return [*settings.keep(), *timeouts.keep(kernel)]
    return [*settings.restore(), *timeouts.restore(kernel)]
