"""What does an agent on the real server say, in the words of HAProxy's agent-check?

They are told in HAProxy's configuration manual, 5.2.  A line that has an end is read, of words
between blanks, tabs and commas; behind a sharp stands the reason.  The last word of its sort
counts: one of health (up, down, fail, stopped), one of administration (ready, drain, maint),
one percentage.  maxconn:N has no equal here.  An agent that cannot be reached fails as any check
does; for HAProxy it only goes without.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import partial

from lvs_nat.checks import sockets, stream
from lvs_nat.checks.kind import SHARE, Answer, first_line
from lvs_nat.core.health import Outcome, Weight
from lvs_nat.core.questions import Agent
from lvs_nat.core.setup import Target

MOST = 1024  # bytes of a line
HEALTH = frozenset({"up", "down", "fail", "stopped"})
ADMINISTRATION = frozenset({"ready", "drain", "maint"})
_PERCENT = re.compile(r"([0-9]{1,6})%")


class Dialogue:
    """What is said to an agent, and what it says."""

    def __init__(self, send: bytes) -> None:
        self.outgoing = send
        self._heard = b""

    def hear(self, data: bytes) -> Answer | None:
        """Return the answer once the line has come to its end."""
        self._heard += data
        line, *more = re.split(rb"[\r\n]", self._heard, maxsplit=1)
        return judged(line) if more else None

    def end(self, why: stream.End) -> Answer | None:
        """Return what it means that the line will have no end."""
        if why is stream.End.LATE:
            return stream.MUTE
        words = f"the agent's line has no end: {first_line(self._heard)}"
        return Answer(Outcome.UNKNOWN, words)


def judged(line: bytes) -> Answer:
    """Return what the line says; words that are nobody's are passed over beside others."""
    said = first_line(line.replace(b"\t", b" "))
    spoken, _, _ = said.partition("#")
    words = [word for word in re.split("[ ,]+", spoken.lower()) if word]
    health, administration = _last(words, HEALTH), _last(words, ADMINISTRATION)
    percents = [int(match[1]) for word in words if (match := _PERCENT.fullmatch(word))]
    percent = percents[-1] if percents and percents[-1] <= SHARE else None
    limits = any(re.fullmatch("maxconn:[0-9]+", word) for word in words)
    if not health and not administration and percent is None and not limits:
        return Answer(Outcome.UNKNOWN, f"the agent says {said or 'nothing'}, no word of HAProxy's")
    if health not in ("", "up"):
        return Answer(Outcome.FAIL, f"the agent says {said}")
    weight = None if percent is None else Weight(percent / 100)
    if administration in ("drain", "maint"):
        weight = Weight(0)
    return Answer(Outcome.PASS, f"the agent says {said}", weight)


def _last(words: Sequence[str], known: Collection[str]) -> str:
    return next((word for word in reversed(words) if word in known), "")


def prepare(target: Target) -> stream.Line:
    """Return whom to ask for *target*, and what to begin with."""
    question = target.check.question
    assert isinstance(question, Agent)
    return stream.Line(sockets.where(target), partial(Dialogue, question.send), MOST)


KIND = stream.kind(prepare)
