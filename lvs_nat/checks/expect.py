"""Does a conversation of lines, or of any bytes, go as its steps say?"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Union

from lvs_nat.checks import sockets, stream
from lvs_nat.checks.effort import SEARCHING, Effort, TooSlow
from lvs_nat.checks.kind import Answer, shown
from lvs_nat.checks.stream import BUDGET, MUTE, Again, Dialogue, End, Heard, Line
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import Expect, Verb
from lvs_nat.core.setup import Target

if TYPE_CHECKING:
    import ssl

    from lvs_nat.checks.secure import Layer, Refusal, Secure

# Bytes that are searched in one conversation, of which each may be searched again with every
# piece that comes: enough for any server but one that sends its 64 KiB byte by byte.
SEARCHED = 16 * BUDGET

# What is expected, bytes to send, or None for going over to TLS.
Act = Union["re.Pattern[bytes]", bytes, None]


class Plan(NamedTuple):
    """A conversation made ready: what is done in turn, how TLS is spoken, what success is.

    refusal is why a certificate was refused, if all is done again to look at it.
    """

    acts: tuple[Act, ...]
    secure: Secure | None
    passed: Answer
    refusal: Refusal | None = None


def prepare(target: Target) -> Line:
    """Return the line on which *target* is asked."""
    question = target.check.question
    assert isinstance(question, Expect)
    acts = tuple(_ACTS[step.verb](step.data) for step in question.steps)
    words = f"{question.name} conversation complete".lstrip()
    passed = Answer(Outcome.PASS, words)
    where = sockets.where(target)
    if question.tls is None:
        return Line(where, partial(Talk, Plan(acts, None, passed)))
    from lvs_nat.checks import secure  # the daemon is lean where nothing is asked inside TLS

    plan = Plan(acts, secure.Secure(question.tls), passed)
    if question.immediate:
        return Line(where, *secure.inside(question.tls, partial(Talk, plan)))
    return Line(where, partial(Talk, plan), secure.WHOLE_BUDGET)


_ACTS: Mapping[Verb, Callable[[bytes], Act]] = {
    Verb.EXPECT: re.compile,
    Verb.SEND: bytes,
    Verb.TLS: lambda _: None,
}


class Talk:
    """The dialogue from the act *place* on; once inside TLS, another one goes on in it.

    *effort* is what may still be spent on searching, where a part of it has been already.
    """

    __slots__ = (
        "_effort", "_heard", "_inside", "_midline", "_place", "_plan", "_searched", "_silent",
        "outgoing",
    )  # fmt: skip

    def __init__(self, plan: Plan, place: int = 0, effort: Effort | None = None) -> None:
        self.outgoing = b""
        self._plan = plan
        self._place = place
        self._heard = b""
        self._silent = place == 0
        self._midline = False
        self._searched = 0
        self._effort = effort or Effort(SEARCHING)
        self._inside: Layer | None = None
        self._go_on()

    def hear(self, data: bytes) -> Heard:
        if self._inside:
            return self._hear_inside(self._inside, data)
        self._silent = False
        self._heard += data
        return self._go_on()

    def end(self, why: End) -> Answer | None:
        if self._inside:
            return self._inside.end(why)
        if why is End.BROKEN:
            return None
        if why is End.LATE and self._silent:
            return MUTE
        said = f", got {shown(self._heard)}" if self._heard else ""
        return Answer(Outcome.FAIL, f"{why.value} before {self._wanted()}{said}")

    def _go_on(self) -> Answer | None:
        """Do what can be done by now; return the answer, None while something is expected."""
        acts = self._plan.acts
        while self._place < len(acts):
            act = acts[self._place]
            if isinstance(act, bytes):
                self.outgoing += act
            elif act is None:
                return self._go_inside()
            else:
                match = self._search(act)
                if match is None:
                    return None
                groups = match.groupdict()
                if groups.get("fail") is not None:
                    words = f"expected {self._wanted()}, got {shown(match['fail'])}"
                    return Answer(Outcome.FAIL, words)
                self._heard = self._heard[match.end() :]
                self._midline = not match[0].endswith(b"\n")
                if groups.get("done") is not None:
                    self._place += 2
            self._place += 1
        return self._plan.passed

    def _search(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        self._searched += len(self._heard)
        if self._searched > SEARCHED:
            raise TooSlow(SEARCHING)
        return self._effort.spend(pattern.search, self._heard) if self._heard else None

    def _wanted(self) -> str:
        """Return what is expected now, without what all lines have in common."""
        pattern = self._plan.acts[self._place]
        text = pattern.pattern.decode() if isinstance(pattern, re.Pattern) else "TLS"
        text = text.partition("|(?P<fail>")[0].replace("(?m)", "", 1)
        for tail in ("(?P<done>)", r"\n", r"\r?", r"\r", ".*", "(?: .*)?"):
            text = text[: -len(tail)] if text.endswith(tail) and text != tail else text
        return text

    def _go_inside(self) -> Answer | None:
        more = self._heard.partition(b"\n")[2] if self._midline else self._heard
        if more:  # it may be anybody's (CVE-2011-0411)
            return Answer(Outcome.FAIL, f"more than was expected before TLS: {shown(more)}")
        from lvs_nat.checks.secure import Layer

        plan = self._plan
        assert plan.secure
        begin = partial(_begin, plan, self._place + 1, self._effort)
        layer = Layer(plan.secure, begin, plan.refusal)
        self._inside = layer
        self._take_over(layer)
        return None

    def _hear_inside(self, layer: Layer, data: bytes) -> Heard:
        heard = layer.hear(data)
        self._take_over(layer)
        if isinstance(heard, Again):  # to look at a certificate: by the same conversation
            again = heard.dialogue
            assert isinstance(again, type(layer))
            plan = self._plan._replace(secure=again.secure, refusal=again.refusal)
            return Again(Talk(plan, effort=self._effort))
        return heard

    def _take_over(self, layer: Layer) -> None:
        self.outgoing += layer.outgoing
        layer.outgoing = b""


def _begin(plan: Plan, place: int, effort: Effort, tls: ssl.SSLObject) -> Dialogue | Answer:
    """Return what goes on inside TLS: a goodbye, where nothing more is expected."""
    if any(isinstance(act, re.Pattern) for act in plan.acts[place:]):
        return Talk(plan, place, effort)
    from lvs_nat.checks.tls import part

    return part(tls, plan.passed)


KIND = stream.kind(prepare)
