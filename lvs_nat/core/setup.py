"""What an operator can ask for besides the rules: every setting with its default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from lvs_nat.core.questions import HALF_OPEN, CheckKind, Question
from lvs_nat.model import Address, Endpoint, ServiceName


class OnFailure(Enum):
    """What becomes of a destination whose real server fails its check."""

    QUIESCE_THEN_REMOVE = "quiesce-then-remove"
    REMOVE = "remove"
    QUIESCE = "quiesce"


class WhenEmpty(Enum):
    """What becomes of a virtual service when too few of its real servers serve.

    WITHDRAW is REFUSE, and whoever announces the service upstream is told to stop.
    """

    REFUSE = "refuse"
    KEEP = "keep"
    SORRY = "sorry"
    WITHDRAW = "withdraw"


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


class Rivals(Enum):
    """What is done at a start about another program that writes to the kernel's table."""

    REFUSE = "refuse"
    WARN = "warn"
    IGNORE = "ignore"


class Watch(Enum):
    """How it is noticed from clients' traffic that a real server should be asked now.

    AUTO takes their packets, as far as the kernel lets us see them, else COUNTERS, the
    kernel's count of connections.
    """

    AUTO = "auto"
    COUNTERS = "counters"
    NO = "no"


class Drift(Enum):
    """What is done about changes that somebody else makes to the kernel's table."""

    ADOPT = "adopt"
    REPAIR = "repair"
    REPORT = "report"


class OnUnknown(Enum):
    """What is believed of a real server that cannot be asked, by our own fault."""

    KEEP = "keep"
    DOWN = "down"


class From(Enum):
    """Which address of ours a question comes from.

    AUTO asks from wherever routing says, and where a client's way can be tried, from the
    virtual address too; NONE leaves that out; VIRTUAL asks from the virtual address alone.
    """

    AUTO = "auto"
    NONE = "none"
    VIRTUAL = "virtual"


@dataclass(frozen=True)
class Way:
    """How a question travels; None and "" leave it to routing."""

    source: Address | None = None
    interface: str = ""


# The time-out of a check that asks for more than a round trip or two, in seconds: a server has
# work with that.
REQUEST = 3.0


@dataclass(frozen=True)
class Check:
    """One way of asking a real server whether it is well.  Times are in seconds.

    interval is the time between two probes of a server that is settled (down_interval of one
    that is settled as down, 0 for the same), fast the time between two while failures or
    successes are being counted; timeout is the deadline of a whole probe (REQUEST is what
    lvs-nat.conf gives a request).  fall failures in a row take a server out, rise successes
    bring it back.  port 0 and address None are the real server's own.
    """

    question: Question = HALF_OPEN
    interval: float = 1.0
    timeout: float = 0.8
    fast: float = 0.2
    fall: int = 2
    rise: int = 2
    down_interval: float = 0.0
    on_unknown: OnUnknown = OnUnknown.KEEP
    port: int = 0
    address: Address | None = None
    origin: From | Address = From.AUTO
    way: Way = Way()

    @property
    def kind(self) -> CheckKind:
        return self.question.kind


@dataclass(frozen=True)
class Target:
    """Whom to ask, and what: equal targets of any number of services are one probe.

    path says that it is asked only for the client's way back: from a virtual address, a
    question that is also asked from elsewhere.
    """

    endpoint: Endpoint
    check: Check
    path: bool = False

    def __hash__(self) -> int:
        return hash(self.endpoint)  # few targets of one endpoint differ in their check

    @property
    def asked(self) -> Asked:
        """Whom to ask and what, however often and patiently."""
        return Asked(self.endpoint, self.check.question, self.check.way)


class Asked(NamedTuple):
    """What makes two targets the same question to the same server."""

    endpoint: Endpoint
    question: Question
    way: Way


@dataclass(frozen=True)
class ServiceSetup:
    """The settings of one virtual service; servers holds the checks that differ.

    All checks of a server must pass.  remove_after is how many seconds a silent destination
    is kept at weight 0 before it is removed; longer only while packets still come out of it.
    keep_at_least is the share of all weight that neither failures nor the operator may take
    out; quorum is the weight that must serve, hysteresis what it takes more to regain it and
    less to lose it.  sorry are servers that stand in where when_empty says so.  slow_start is
    how many seconds a server takes to come back to its whole weight.  rescue keeps refusals
    from clients, whose next try goes to another server.
    """

    checks: tuple[Check, ...] = (Check(),)
    on_failure: OnFailure = OnFailure.QUIESCE_THEN_REMOVE
    remove_after: float = 2.0
    servers: Mapping[Endpoint, tuple[Check, ...]] = field(default_factory=dict)
    keep_at_least: float = 0.0
    quorum: int = 1
    hysteresis: int = 0
    when_empty: WhenEmpty = WhenEmpty.REFUSE
    sorry: tuple[Endpoint, ...] = ()
    slow_start: float = 0.0
    rescue: bool = False


@dataclass(frozen=True)
class Setup:
    """Everything that lvs-nat.conf can say.

    sysctl says whether the director sets kernel settings at all.  resolver_wait is how many
    seconds a start waits for names of hosts that have no last good address.
    """

    default: ServiceSetup = ServiceSetup()
    services: Mapping[ServiceName, ServiceSetup] = field(default_factory=dict)
    on_start: OnStart = OnStart.CHECK
    on_stop: OnStop = OnStop.CLEAR
    own: Own = Own.TABLE
    drift: Drift = Drift.ADOPT
    rivals: Rivals = Rivals.REFUSE
    sysctl: bool = True
    watch: Watch = Watch.AUTO
    resolver_wait: float = 15.0

    def checks(self) -> Iterator[Check]:
        """Yield every check that something may be asked by."""
        for service in (self.default, *self.services.values()):
            yield from service.checks
            for checks in service.servers.values():
                yield from checks

    def service(self, name: ServiceName) -> ServiceSetup:
        return self.services.get(name, self.default)
