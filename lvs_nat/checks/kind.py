"""What a kind of check is made of, and the words that all kinds share."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from lvs_nat.core.health import Outcome, Weight
from lvs_nat.core.setup import Target

# So many letters of the first line that a program, a file or an agent gives become the words.
LINE = 160
# No server may ask for a greater share of its weight, in percent.
SHARE = 10_000


class Answer(NamedTuple):
    """How a question ended, in words for the operator; weight is what the server asks for."""

    outcome: Outcome
    words: str
    weight: Weight | None = None


class Asking(Protocol):
    """A question under way, waiting on one descriptor.

    Questions with more than one step have an attribute *events* as well: which events of the
    descriptor, EPOLLIN or EPOLLOUT, the next step waits for.
    """

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class Sentinel(Protocol):
    """Something that tells at once when it is time to ask a server again.

    Its descriptor, -1 while it has none, is polled for input and errors; at each event
    `stirred` is called, and says whether to ask.  `passed` is called whenever the server has
    passed, and may open what is to be watched.
    """

    def fileno(self) -> int: ...

    def stirred(self) -> bool: ...

    def passed(self) -> None: ...

    def close(self) -> None: ...


class Watch(Protocol):
    """Something that tells at once which targets of a kind it is time to ask again.

    Its descriptor, -1 for none, is polled for input; at each event `stirred` is called.
    """

    def fileno(self) -> int: ...

    def stirred(self) -> Iterable[Target]: ...

    def close(self) -> None: ...


class Batch(Protocol):
    """Many questions asked in one go, through descriptors that all of them share.

    `ask` is called with what prepare returned for each target that is due, and with what
    names it; `answers` when one of the descriptors has input.  Both return who is answered,
    and how.  A question that came to its deadline, or was withdrawn, is to be forgotten.
    """

    def filenos(self) -> Sequence[int]: ...

    def ask(self, asked: Sequence[tuple[Any, Any]]) -> Iterable[tuple[Any, Answer]]: ...

    def answers(self, fd: int) -> Iterable[tuple[Any, Answer]]: ...

    def forget(self, prepared: Any) -> None: ...

    def close(self) -> None: ...


class Lent(NamedTuple):
    """What kinds of check need that only root can open: raw sockets, for SYNs and ICMP."""

    raw: tuple[socket.socket, ...] = ()


NOTHING_LENT = Lent()


def never(*_: Any) -> Any:
    """Stand for a step that this kind of check does not come to."""


class Kind(NamedTuple):
    """One kind of check.

    prepare is called once for a target; start with what it returned, for every probe: it
    returns a question under way, or an Answer where that is known at once, or raises OSError.
    A question without steps is polled for EPOLLOUT, one with steps for its own *events*, both
    for errors.  proceed is called with the poll's events until it returns an answer, or another
    question under way that goes on in its place within the same deadline; it must never block.
    It raises TooSlow (checks/effort.py) where what came takes too long to make sense of; the
    question is over then, and may be asked again with patience.
    unasked says what the errno of an OSError that either raised means.  overdue, where there is
    one, is asked for the answer when the deadline has passed; it returns None where silence
    means what it means for all kinds.  reached, where there is one, says that the server's
    machine has answered: what works there has the whole time-out, however impatient we are
    (`unknowable` where nothing tells the one from the other).
    sentinel makes what watches between probes, from what prepare returned; watch watches for
    all targets at once.  A kind with a batch is asked through that: it has no use for start,
    proceed and what they need; nor has one for proceed whose start always returns an Answer.
    """

    prepare: Callable[[Target], Any]
    start: Callable[[Any], Any] = never
    proceed: Callable[[Any, int], Any] = never
    steps: bool = False
    overdue: Callable[[Any], Answer | None] | None = None
    reached: Callable[[Any], bool] | None = None
    sentinel: Callable[[Any], Sentinel] | None = None
    watch: Watch | None = None
    batch: Batch | None = None


def unknowable(_: Any) -> bool:
    """Take the machine to have answered: silence tells nothing of it."""
    return True


def shown(data: bytes, most: int = 60) -> str:
    """Return the beginning of what a server said as it may be read on a terminal."""
    text = repr(data[:most].rstrip(b"\r\n"))[1:]
    return f"{text}..." if len(data) > most else text


def first_line(output: bytes) -> str:
    """Return the first line that is not empty, as far as it can be shown."""
    line = next((line for line in output.decode(errors="replace").splitlines() if line.strip()), "")
    return "".join(letter if letter.isprintable() else "?" for letter in line.strip()[:LINE])


def filled(text: str, known: Mapping[str, str]) -> str:
    """Return *text* with what is *known* for each letter behind a percent sign."""
    return re.sub("%(.)", lambda match: known.get(match[1], match[0]), text)


# Our own shortage or fault: it says nothing about the server.
OURS = frozenset(
    {
        errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL,
        errno.EADDRINUSE, errno.ENETDOWN, errno.EAGAIN, errno.EINTR, errno.EAFNOSUPPORT,
        errno.EINVAL, errno.ENODEV,
    }
)  # fmt: skip
# Somebody forbids it.  To who would ask, EPERM is a packet filter on this machine's own way out,
# EACCES a route of type "prohibit".  To who has asked, EACCES is what ICMPv6 brings for such a
# filter or route elsewhere (tab_unreach in net/ipv6/icmp.c).
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
PROHIBITED = Answer(Outcome.SILENT, "prohibited by a router or a firewall")
# Nobody there: a router said so, or nobody on the wire has the address.
SILENCE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT})


def unasked(number: int) -> Answer:
    """Return what it means that a question could not be started, or go on, with this errno.

    Without a route no packet has left: our own link is down or our routes are wrong, and to
    throw servers out for that would only break the connections that outlive it.
    """
    if number == errno.ENETUNREACH:
        return Answer(Outcome.UNKNOWN, "this director has no route to it")
    return _ours(number) if number in FORBIDDEN else judge(number)


def judge(number: int) -> Answer:
    """Return what an errno that ended the attempt says about the server."""
    if number in OURS:
        return _ours(number)
    if number in FORBIDDEN:
        return PROHIBITED
    words = os.strerror(number).lower()
    if number == errno.ECONNREFUSED:
        return Answer(Outcome.REFUSED, words)
    return Answer(Outcome.SILENT if number in SILENCE else Outcome.FAIL, words)


def _ours(number: int) -> Answer:
    words = f"this director could not ask: {os.strerror(number).lower()}"
    return Answer(Outcome.UNKNOWN, words)
