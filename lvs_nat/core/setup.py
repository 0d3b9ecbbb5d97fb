"""What an operator can ask for besides the rules: every setting with its default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from lvs_nat.model import Endpoint, ServiceName


class CheckKind(Enum):
    """The question a check asks."""

    TCP = "tcp"  # half-open: SYN, SYN-ACK, RST; the application never sees it
    NONE = "none"


class OnFailure(Enum):
    """What becomes of a destination whose real server fails its check."""

    QUIESCE_THEN_REMOVE = "quiesce-then-remove"
    REMOVE = "remove"
    QUIESCE = "quiesce"


class OnStart(Enum):
    """Whether a real server must pass a check before its first packet."""

    CHECK = "check"
    TRUST = "trust"


class OnStop(Enum):
    """What becomes of the kernel's table when the service is stopped."""

    CLEAR = "clear"
    KEEP = "keep"


class Own(Enum):
    """Which services of the kernel's table are ours to remove."""

    TABLE = "table"
    RULES = "rules"


class Drift(Enum):
    """What is done about changes that somebody else makes to the kernel's table."""

    ADOPT = "adopt"
    REPAIR = "repair"
    REPORT = "report"


@dataclass(frozen=True)
class Check:
    """One way of asking a real server whether it is well.  Times are in seconds.

    interval is the time between two probes of a server that is settled, fast the time
    between two while failures or successes are being counted; timeout is the deadline of a
    whole probe.  fall failures in a row take a server out, rise successes bring it back.
    """

    kind: CheckKind = CheckKind.TCP
    interval: float = 1.0
    timeout: float = 0.8
    fast: float = 0.2
    fall: int = 2
    rise: int = 2


@dataclass(frozen=True)
class Target:
    """Whom to ask, and what: equal targets of any number of services are one probe."""

    endpoint: Endpoint
    check: Check

    def __hash__(self) -> int:
        return hash(self.endpoint)  # few targets of one endpoint differ in their check

    @property
    def question(self) -> tuple[Endpoint, CheckKind]:
        """Whom to ask and what, however often and patiently."""
        return self.endpoint, self.check.kind


@dataclass(frozen=True)
class ServiceSetup:
    """The settings of one virtual service; servers holds the checks that differ.

    remove_after is how many seconds a silent destination is kept at weight 0 before it is
    removed; longer only while packets still come out of it.
    """

    check: Check = Check()
    on_failure: OnFailure = OnFailure.QUIESCE_THEN_REMOVE
    remove_after: float = 2.0
    servers: Mapping[Endpoint, Check] = field(default_factory=dict)


@dataclass(frozen=True)
class Setup:
    """Everything that lvs-nat.conf can say.

    sysctl says whether the director sets kernel settings at all.
    """

    default: ServiceSetup = ServiceSetup()
    services: Mapping[ServiceName, ServiceSetup] = field(default_factory=dict)
    on_start: OnStart = OnStart.CHECK
    on_stop: OnStop = OnStop.CLEAR
    own: Own = Own.TABLE
    drift: Drift = Drift.ADOPT
    sysctl: bool = True

    def service(self, name: ServiceName) -> ServiceSetup:
        return self.services.get(name, self.default)
