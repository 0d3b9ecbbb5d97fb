"""One line of a rule file as a command with its options, read as popt reads them for ipvsadm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Union

from lvs_nat.core.commands import COMMANDS, KNOWN, Takes, misfits, schedules
from lvs_nat.core.literals import shown

# One option in a word: its name, what it takes, what is attached to it (None for nothing).
_Piece = tuple[str, Takes, Union[str, None]]

_EXACT: Mapping[str, tuple[_Piece, ...]] = {
    word: ((name, takes, None),) for word, (name, takes) in KNOWN.items()
}


@dataclass(frozen=True)
class Line:
    """One rule: its command, the command's own value, options in the order they stand.

    Options without a value map to "".  arguments are the bare words, of which only --set
    has any.  problems says what is wrong with the words; where there are any, the rest is
    what could be made out.
    """

    command: str
    value: str
    options: Mapping[str, str]
    arguments: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def read(words: list[str]) -> Line:
    """Make out the command and the options in the words of one line (at least one word)."""
    reader = _Reader(words)
    reader.read()
    if not reader.problems:
        reader.problems.extend(misfits(reader.command, tuple(reader.options)))
    return Line(
        reader.command,
        reader.value,
        reader.options,
        tuple(reader.bare),
        tuple(reader.problems),
    )


class _Reader:
    """The state of reading one line."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.at = 0
        self.command = self.value = ""
        self.options: dict[str, str] = {}
        self.bare: list[str] = []
        self.problems: list[str] = []

    def read(self) -> None:
        words, options, problems = self.words, self.options, self.problems
        while self.at < len(words):
            word = words[self.at]
            self.at += 1
            try:
                pieces = _EXACT.get(word) or self._unusual(word)
                for name, takes, attached in pieces:
                    value = attached or ""
                    if takes is not Takes.NOTHING and attached is None:
                        value = self._value(name, takes)
                    if name in COMMANDS:
                        self._begin(name, value)
                    elif not self.command:
                        raise ValueError(self._headless())
                    elif name in options:
                        raise ValueError(f"{name} stands twice: leave one")
                    else:
                        options[name] = value
            except ValueError as error:
                problems.append(str(error))
                if not self.command:
                    break
        if self.bare and self.command != "--set" and not problems:
            self._read_bare()

    def _unusual(self, word: str) -> tuple[_Piece, ...]:
        if word == "--" and self.command:
            self.bare.extend(self.words[self.at :])
            self.at = len(self.words)
            return ()
        if word.startswith("--"):
            return (_long(word),)
        if word.startswith("-") and word != "-":
            return tuple(_bundle(word))
        if not self.command:
            raise ValueError(self._headless())
        if word in ("&&", "||", "|") or word.endswith(";"):
            self.at = len(self.words)
            raise ValueError(f"{shown(word)} joins no rules: write one rule on a line")
        self.bare.append(word)
        return ()

    def _value(self, name: str, takes: Takes) -> str:
        if self.at < len(self.words):
            word = self.words[self.at]
            if takes is Takes.VALUE or not word.startswith("-"):
                self.at += 1
                return word
        if takes is Takes.VALUE:
            raise ValueError(_valueless(name))
        return ""

    def _begin(self, name: str, value: str) -> None:
        if self.command:
            raise ValueError(f"{name} is a second command: write it on a line of its own")
        self.command, self.value = name, value

    def _headless(self) -> str:
        first = self.words[0]
        for at, word in enumerate(self.words):
            if at and word in KNOWN and KNOWN[word][0] in COMMANDS:
                return f"a rule begins with its command: write {word} before {first}"
        near = _near(first, [name for name in KNOWN if KNOWN[name][0] in COMMANDS])
        hint = f"did you mean {near}?" if near else "begin the rule with -A, -a or another"
        return f"{shown(first)} is not a command: {hint}"

    def _read_bare(self) -> None:
        # ipvsadm 1.26 (EL6) saves -o as "ops" and --pe sip as "pe sip".
        words = iter(self.bare)
        for word in words:
            old = {"ops": "-o", "pe": "--pe"}.get(word)
            if old is None or not schedules(self.command):
                self.problems.append(_stray(word))
                return
            if old in self.options:
                self.problems.append(f"{old} stands twice: leave one")
            value = "" if old == "-o" else next(words, None)
            if value is None:
                self.problems.append(_valueless("--pe"))
            self.options[old] = value or ""
        self.bare.clear()


def _long(word: str) -> _Piece:
    name, equals, value = word.partition("=")
    if name not in KNOWN:
        near = _near(name, KNOWN)
        hint = f"write {near}" if near else "take it away"
        raise ValueError(f"{shown(name)} is not an option: {hint}")
    short, takes = KNOWN[name]
    if equals and takes is Takes.NOTHING:
        raise ValueError(f"{name} takes no value: write it without {shown(equals + value)}")
    if equals and not value:
        raise ValueError(_valueless(name))
    return (short, takes, value if equals else None)


def _bundle(word: str) -> Iterable[_Piece]:
    long = f"-{word.partition('=')[0]}"
    if long in KNOWN:
        raise ValueError(f"{shown(word)} begins like short options: write {long}")
    for at, letter in enumerate(word[1:], start=1):
        if letter == "=":
            raise ValueError(f"{word[:at]} takes no value: write it without {shown(word[at:])}")
        if f"-{letter}" not in KNOWN:
            raise ValueError(_unknown_letter(word, letter))
        name, takes = KNOWN[f"-{letter}"]
        rest = word[at + 1 :]
        if takes is Takes.NOTHING or not rest:
            yield (name, takes, None)
            continue
        value = rest[1:] if rest.startswith("=") else rest
        if not value:
            raise ValueError(_valueless(name))
        yield (name, takes, value)
        return


def _unknown_letter(word: str, letter: str) -> str:
    where = "" if len(word) == 2 else f" in {shown(word)}"
    near = _near(f"-{word}", KNOWN) if len(word) > 3 else None
    if near:
        return f"{shown(word)} is not an option: did you mean {near}?"
    if f"-{letter.swapcase()}" in KNOWN:
        return f"-{letter}{where} is not an option: did you mean -{letter.swapcase()}?"
    return f"{shown('-' + letter)}{where} is not an option: take it away"


def _valueless(name: str) -> str:
    if name == "-b":
        # ipvsadm -S writes "-b " for flag 3 of sh or mh.
        return "-b has no flag after it: write flag-3 if ipvsadm -S wrote it, or take -b away"
    return f"{name} has no value after it: write one"


def _stray(word: str) -> str:
    hint = "write the whole rule on one line" if word == "\\" else "take it away"
    return f"unexpected word {shown(word)}: {hint}"


def _near(word: str, names: Iterable[str]) -> str | None:
    # A long name that was shortened is meant more likely than one that looks alike.
    names = sorted(names)
    if len(word) > 3:
        longer = [name for name in names if name.startswith(word)]
        return next(iter(longer or get_close_matches(word[:60], names, 1, 0.7)), None)
    return None
