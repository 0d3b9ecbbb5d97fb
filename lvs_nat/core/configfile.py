"""A text in ConfigObj's language is read with the line of everything in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from configobj import (
    ConfigObj,
    ConfigObjError,
    DuplicateError,
    NestingError,
    get_extra_values,
)
from configobj.validate import Validator

from lvs_nat.core.settings import (
    CHECKS_PLACE,
    KEYS,
    MARKERS,
    PLACES,
    SECRETIVE,
    SECTIONS,
    SPEC,
)
from lvs_nat.core.values import CHECKS, near, plain

# ConfigObj counts the bracket of an IPv6 address as one of its own unless it is quoted.
IPV6_SERVER = re.compile(r"^(\s*\[\s*\[\s*\[\s*)(\[[0-9A-Fa-f:.]+\]:[0-9]+)(\s*\]\s*\]\s*\])")
SHOWN = 40
# No line that means anything is nearly as long (and ConfigObj needs the cube of the length
# for brackets that do not match), nor is a file with so many faults ours.
LONGEST = 200
LONGEST_SETTING = 2000
MANY = 100
KNOWN = frozenset().union(*KEYS)
PUBLIC = KNOWN - SECRETIVE

Place = tuple[str, ...]


def show(text: str, most: int = SHOWN) -> str:
    """Return the text so that one line of a terminal can hold it."""
    words = text if len(text) <= most else text[:most] + "..."
    return "".join(it if " " <= it <= "~" else ascii(it)[1:-1] for it in words)


def _name(text: str) -> str:
    """Return what stands where a setting's name should: one word, the rest may be a secret."""
    first, *more = text.split() or [""]
    return show(first) + (" ..." if more else "")


def _depth(line: str) -> int:
    """Return how many brackets open a section's line, or 0 if it opens none."""
    word = "".join(IPV6_SERVER.sub("[[[", line).split())
    return len(word) - len(word.lstrip("["))


class Reading:
    """The text as ConfigObj reads it, where each thing stands, and what is wrong with it.

    ConfigObj keeps no line of a value, but the comments before it: so every line gets its
    number as a comment above it.
    """

    def __init__(self, text: str) -> None:
        self.problems: list[tuple[int, str]] = []
        self._adrift: list[range] = []
        self._lines = text.lstrip("\ufeff").split("\n")
        self.config = self._read()
        self._validate()

    def _read(self) -> Any:
        numbered = []
        for number, line in enumerate(self._lines, start=1):
            longest = LONGEST if line.lstrip().startswith("[") else LONGEST_SETTING
            if len(line) > longest and not line.lstrip().startswith("#"):
                self.problems.append((number, f"the line is longer than {longest} characters"))
                line = ""
            numbered += [f"#{number}", IPV6_SERVER.sub(r'\1"\2"\3', line.rstrip("\r"))]
        try:
            return ConfigObj(numbered, interpolation=False, list_values=False)
        except ConfigObjError as error:
            for found in error.errors[:MANY]:
                self._complain(found)
            return error.config

    def _complain(self, error: Any) -> None:
        line = error.line_number // 2
        text = self._lines[line - 1].strip()
        marker = text.startswith("[")
        key = text.partition("=")[0].strip()
        if marker:
            self._adrift.append(self._body(line))
        if isinstance(error, DuplicateError):
            what = f"{show(text) if marker else _name(key)} is given twice; keep one"
        elif isinstance(error, NestingError):
            what = f"{show(text)} has brackets that do not match, or no section above it; {MARKERS}"
        elif "=" in text and not marker:
            said = show(text) if key in PUBLIC else f"{_name(key)} = ..."
            what = f"{said} has a quote that is not closed, or text after it"
        else:
            said = show(text) if marker else _name(text) if key.split()[0] in KNOWN else "the line"
            what = f"{said} is neither `setting = value` nor a section; {MARKERS}"
        self.problems.append((line, what))

    def _body(self, line: int) -> range:
        # Lines below a marker that could not be used were read as if above it: no use judging.
        depth = _depth(self._lines[line - 1])
        for number in range(line, len(self._lines)):
            if 0 < _depth(self._lines[number]) <= depth:
                return range(line + 1, number + 1)
        return range(line + 1, len(self._lines) + 1)

    def sound_problems(self) -> list[tuple[int, str]]:
        """Return the problems by line, without those that follow from another one."""
        return sorted(
            found
            for found in set(self.problems)
            if not any(found[0] in lines for lines in self._adrift)
        )

    def _kinds(self, section: Any, place: Place) -> None:
        # ConfigObj.validate breaks on a section that stands where a setting should.
        for title in list(section.sections):
            if title in KEYS[len(place)]:
                what = f"{title} is a setting, not a section; write {title} = VALUE"
                self.say((*place, title), what)
                del section[title]
            elif len(place) < len(KEYS) - 1:
                self._kinds(section[title], (*place, title))

    def _validate(self) -> None:
        self._kinds(self.config, ())
        self.config.configspec = ConfigObj(
            SPEC, interpolation=False, list_values=False, _inspec=True
        )
        verdict = self.config.validate(Validator(dict(CHECKS)), preserve_errors=True)
        for place, error in list(_failures(verdict, ())):
            self.say(place, self._failure(place, error))
            del self._at(place[:-1])[place[-1]]
        for above, key in get_extra_values(self.config):
            if key != "__many__" or len(above) not in (1, 2):  # there judged as any name is
                self.say((*above, key), self._unknown(above, key))
        if "DEFAULT" in self.config.sections:  # ConfigObj leaves this one unjudged
            self.say(("DEFAULT",), self._unknown((), "DEFAULT"))

    def _failure(self, place: Place, error: Exception) -> str:
        key, value = place[-1], self._at(place)
        if place[0] in SECTIONS and len(place) == 1:
            return f"{key} is a section, not a setting; write [{key}]"
        said = key if key in SECRETIVE else f"{key} = {show(plain(value))}"
        return f"{said} {error}"

    def _unknown(self, path: Place, key: str) -> str:
        depth = len(path)
        if isinstance(self._at((*path, key)), Mapping):
            if depth:
                return f"[{show(key)}] stands too deep; {MARKERS}"
            known = near(key, [f"[{it}]" for it in SECTIONS]) or f"; {MARKERS}"
            return f"there is no section [{show(key)}]{known}"
        homes = [PLACES[home] for home, keys in enumerate(KEYS) if key in keys]
        if homes:
            here = CHECKS_PLACE if path[:1] == ("checks",) else PLACES[depth]
            return f"{key} cannot stand {here}; write it {' or '.join(homes)}"
        keys = KEYS[depth] or KEYS[0]
        return f"there is no setting {_name(key)}{near(key, keys) or '; known: ' + ', '.join(keys)}"

    def _at(self, place: Place) -> Any:
        found = self.config
        for name in place:
            found = found[name]
        return found

    def line(self, place: Place) -> int:
        """Return the line of a section or setting."""
        *path, key = place
        comments = self._at(tuple(path)).comments.get(key) or self.config.initial_comment
        return int(comments[-1].lstrip("#")) if comments else 0

    def set_at(self, place: Place, keys: Sequence[str]) -> int:
        """Return the line that sets one of *keys* for the section at *place*, its own first."""
        spots = ((*above, key) for above in (place, ()) for key in keys)
        found = (it for it in spots if self._at(it[:-1]).get(it[-1]) is not None)
        return next((self.line(it) for it in found), 0)

    def say(self, place: Place, what: str) -> None:
        self.problems.append((self.line(place), show(what, len(what))))

    def sections(self, place: Place) -> list[tuple[Place, Any]]:
        """Return the sections below *place*, each with its own place."""
        inner = self._at(place[:-1]).get(place[-1], {}).items()
        return [((*place, title), found) for title, found in inner if isinstance(found, Mapping)]


def _failures(verdict: Any, place: Place) -> Iterator[tuple[Place, Exception]]:
    """Walk the verdict of ConfigObj.validate: True, or a dict of verdicts and exceptions."""
    if isinstance(verdict, Exception):
        yield place, verdict
    elif isinstance(verdict, dict):
        for key, inner in verdict.items():
            yield from _failures(inner, (*place, key))
