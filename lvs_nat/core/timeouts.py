"""Which idle timeouts are given back: those that still are as the director set them."""

from __future__ import annotations

from collections.abc import Mapping

from lvs_nat.core.traces import Trace
from lvs_nat.model import Timeouts

# The fields of Timeouts, by the words of `ipvsadm --set`.
NAMES = {"tcp": "tcp", "tcp_fin": "tcpfin", "udp": "udp"}


def noted(record: Mapping[str, Trace], present: Timeouts, wanted: Timeouts) -> dict[str, Trace]:
    """Return the record to be on disk before *present* is changed to *wanted*.

    The first record of a value is kept: what stands there now may be our own work.  0 is a
    value that is not to change, or that this kernel has not.
    """
    found = dict(record)
    for name in NAMES:
        have, want = getattr(present, name), getattr(wanted, name)
        if have and want not in (0, have):
            first = Trace(str(have), str(have))
            found[name] = found.get(name, first).becoming(str(want), str(have))
    return found


def returning(record: Mapping[str, Trace], present: Timeouts) -> tuple[Timeouts, list[str]]:
    """Return what to set, and a sentence for each value that is restored or left."""
    values, lines = dict.fromkeys(NAMES, 0), []
    for name, trace in record.items():
        have = str(getattr(present, name))
        what = f"the idle timeout {NAMES[name]} is"
        if have != trace.before and trace.ours(have):
            values[name] = int(trace.before)
            lines.append(f"{what} restored to {trace.before} s")
        elif have != trace.before:
            lines.append(f"{what} left at {have} s: somebody set it, where we had set {trace.left}")
    return Timeouts(**values), lines


def staying(record: Mapping[str, Trace], present: Timeouts) -> list[str]:
    """Return a sentence for each value that a table which is kept keeps."""
    return [
        f"the idle timeout {NAMES[name]} stays at {have} s with the table; it was {trace.before}"
        for name, trace in record.items()
        if (have := str(getattr(present, name))) != trace.before and trace.ours(have)
    ]


def ours(name: str, trace: Trace) -> bool:
    """Whether a director can have written this: a record could have been forged."""
    return name in NAMES and trace.before.isdecimal() and trace.left.isdecimal()
