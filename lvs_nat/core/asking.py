"""The checks that a configuration asks for are put together, place by place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from lvs_nat.core.configfile import Place, Reading
from lvs_nat.core.phrasing import SETTINGS, USES, Wrong, questions
from lvs_nat.core.questions import short
from lvs_nat.core.settings import CHECK, TIMING
from lvs_nat.core.setup import REQUEST, Check, OnUnknown, Way
from lvs_nat.core.targets import STREAMS
from lvs_nat.core.values import near


class Value(NamedTuple):
    """One setting and the place of the section that gives it."""

    value: Any
    place: Place


Given = Mapping[str, Value]


class Checks:
    """The checks of every place; problems are said to the reading.

    A check of [checks] has a name, which `check =` takes like the words that are known.  What
    its section sets holds wherever it is used; times that it leaves out are those of the place.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._used: set[tuple[Place, str]] = set()
        self._set: list[tuple[Place, str]] = []
        self._named: dict[str, Given] = {}
        for place, section in reading.sections(("checks",)):
            self._define(place, section)

    def given(self, place: Place, section: Any, above: Given | None = None) -> Given:
        """Return the settings of a place: its own, and those of above that it leaves out."""
        own = {key: Value(section.get(key), place) for key in CHECK}
        own = {key: value for key, value in own.items() if value.value is not None}
        self._set += [(place, key) for key in own if key in SETTINGS]
        self._fast(place, {**(above or {}), **own})
        return {**(above or {}), **own}

    def of(self, place: Place, given: Given, stream: bool = True) -> tuple[Check, ...]:
        """Return the checks that *given* asks for; stream says that the service is TCP."""
        words = given["check"].value if "check" in given else ("tcp",)
        if len(words) > 1 and "none" in words:
            self._say(given["check"].place, "check", "has none beside others; leave it out")
        found: list[Check] = []
        for word in words:
            if word in self._named:
                found += self._checks(self._named[word], given)
            elif word in USES:
                found += self._checks(given, {}, word)
            else:
                self._unknown(given["check"].place, word)
        own = "check" in given and given["check"].place == place
        for check in found:
            if own and not stream and check.kind in STREAMS and not check.port:
                what = "says nothing about a service that is not TCP; name a port, or write none"
                self._say(place, "check", f"= {' '.join(words)} {what}")
                break
        return tuple(dict.fromkeys(found))

    def complain_of_unused(self) -> None:
        """Say of each setting of a question that no check of its place has a use for it."""
        for place, key in self._set:
            if (place, key) not in self._used:
                words = [word for word, keys in USES.items() if key in keys]
                known = ", ".join(words[:6]) + (", ..." if len(words) > 6 else "")
                what = f"{key} is of no use here: it belongs to check = {known}"
                self._reading.say((*place, key), what)

    def _define(self, place: Place, section: Any) -> None:
        name = place[-1]
        given = self.given(place, section)
        if name in USES:
            self._reading.say(place, f"{name} is a check of its own; choose another name")
        elif "check" not in given:
            self._reading.say(place, f"[[{name}]] does not say what it asks; write check = http")
        elif len(given["check"].value) != 1 or given["check"].value[0] not in USES:
            words = " ".join(given["check"].value)
            self._unknown(place, words)
        else:
            self._named[name] = given
            self._checks(given, {})

    def _unknown(self, place: Place, word: str) -> None:
        known = [*USES, *self._named]
        what = near(word, known) or f"; known: {', '.join(known)}"
        self._say(place, "check", f"= {word} is no check{what}")

    def _checks(self, given: Given, times: Given, word: str = "") -> list[Check]:
        """Return the checks of one word; *times* are those of the place that uses it."""
        word = word or given["check"].value[0]
        for key in USES[word]:
            if key in given:
                self._used.add((given[key].place, key))
        settings = {key: value.value for key, value in given.items()}
        try:
            asked = questions(word, settings)
        except Wrong as error:
            place = given[error.key].place if error.key in given else given["check"].place
            self._say(place, error.key if error.key in given else "check", str(error), error.key)
            return []
        whole = {**{key: times[key] for key in TIMING if key in times}, **given}
        values = {key: value.value for key, value in whole.items()}
        return [_timed(Check(question), values) for question in asked]

    def _fast(self, place: Place, given: Given) -> None:
        if "fast" not in given or given["fast"].place != place:
            return
        fast = given["fast"].value
        interval = given["interval"].value if "interval" in given else Check().interval
        if fast > interval:
            what = f"is longer than interval = {interval:g}; write {interval:g} or less"
            self._say(place, "fast", f"= {fast:g} {what}")

    def _say(self, place: Place, key: str, what: str, about: str = "") -> None:
        self._reading.say((*place, key), f"{about or key} {what}")


def _timed(check: Check, given: Mapping[str, Any]) -> Check:
    """Return the check with the times and the way that are *given*.

    fast is never longer than interval: counting never slows probes.
    """
    timeout = Check().timeout if short(check.question) else REQUEST
    names = {"from": "origin"}
    plain = {
        names.get(key, key): given[key]
        for key in TIMING
        if key in given and key not in ("interface", "on_unknown")
    }
    found = replace(check, **{"timeout": timeout, **plain})
    if "on_unknown" in given:
        found = replace(found, on_unknown=OnUnknown(given["on_unknown"]))
    way = Way(interface=given.get("interface", ""))
    return replace(found, fast=min(found.fast, found.interval), way=way)
