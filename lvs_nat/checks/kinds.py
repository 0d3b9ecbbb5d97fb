"""The table of all checks: how each kind of question is started and how it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from lvs_nat.checks import tcp
from lvs_nat.core.health import Outcome
from lvs_nat.core.setup import CheckKind, Target


class Asking(Protocol):
    """A question under way, waiting on one descriptor."""

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class Kind(NamedTuple):
    """One kind of check.

    prepare is called once for a target; start with what it returned, for every probe: it
    returns a question under way whose descriptor is to be polled for writing and errors, or
    raises OSError.  proceed is called with the poll's events until it returns an outcome and
    its words.  unasked says what the errno of an OSError that either raised means.
    """

    prepare: Callable[[Target], Any]
    start: Callable[[Any], Any]
    proceed: Callable[[Any, int], tuple[Outcome, str] | None]
    unasked: Callable[[int], tuple[Outcome, str]]


KINDS: Mapping[CheckKind, Kind] = MappingProxyType(
    {CheckKind.TCP: Kind(tcp.address, tcp.start, tcp.proceed, tcp.unasked)}
)
