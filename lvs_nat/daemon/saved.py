"""The saved files are read and judged whole, before anything is touched."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lvs_nat.checks import kinds
from lvs_nat.core import rules
from lvs_nat.core.canonical import Row
from lvs_nat.core.setup import Setup
from lvs_nat.daemon.naming import known
from lvs_nat.daemon.paths import Paths
from lvs_nat.errors import ConfigError, Problem
from lvs_nat.model import Ruleset
from lvs_nat.system import files
from lvs_nat.system.names import BUDGET, Known, Names, Say


@dataclass(frozen=True)
class Saved:
    """What the files mean; settings is the text of lvs-nat.conf, digest that of the rules'.

    problems are those of the files as they are now, where this is what was read before.
    addresses are what names in the rules were found to be; None where none were looked up.
    rows are lines of the rule file as they were read, which need not be read again.
    """

    rules: Ruleset
    setup: Setup
    warnings: tuple[Problem, ...]
    digest: str
    settings: str
    problems: tuple[Problem, ...] = ()
    addresses: Mapping[str, Known] | None = None
    rows: Mapping[str, Row] = field(default_factory=dict, compare=False, repr=False)


def load(
    paths: Paths, waiting: Say | None = None, before: Mapping[str, Row] | None = None
) -> Saved:
    """Return what the files mean; raise ConfigError with every problem of every file.

    Where *waiting* takes a word about that, a resolver is waited for as lvs-nat.conf says.
    before are the rows of the rules as they were.
    """
    problems: list[Problem] = []
    setup, read, configured = Setup(), None, ""
    try:
        setup, configured = settings(paths)
    except ConfigError as error:
        problems.extend(error.problems)
    try:
        patience, tell = (setup.resolver_wait, waiting) if waiting else (0.0, _nothing)
        read = rules_of(paths, patience, tell, before)
    except ConfigError as error:
        problems.extend(error.problems)
    if problems or read is None:
        raise ConfigError(problems)
    parsed, digest, found = read
    doubts: list[Problem] = []
    if _sets(configured):
        from lvs_nat.core import config
        from lvs_nat.daemon.unmet import unmet

        doubts += config.doubts(configured, str(paths.config), parsed.ruleset)
        doubts += [Problem(str(paths.config), 0, words) for words in unmet(setup)]
    warnings = (*parsed.warnings, *doubts)
    return Saved(
        parsed.ruleset, setup, warnings, digest, configured, addresses=found, rows=parsed.rows
    )


def _nothing(_: str) -> None:
    """Tell nobody."""


def rules_of(
    paths: Paths,
    patience: float = 0.0,
    tell: Say = _nothing,
    before: Mapping[str, Row] | None = None,
) -> tuple[rules.Parsed, str, Mapping[str, Known]]:
    """Return what the rule file means, the digest of its text, and what its names are."""
    text = read_rules(paths.rules)
    names = Names(BUDGET, known=known(paths.addresses), patience=patience, tell=tell)
    parsed = rules.parse(text, str(paths.rules), names, before)
    if not parsed.ruleset.services:
        raise ConfigError([Problem(str(paths.rules), 0, _unconfigured("has no virtual service"))])
    return parsed, _digest(text), names.found


def settings(paths: Paths) -> tuple[Setup, str]:
    """Return what lvs-nat.conf means, with its text; it may be missing unless it was named."""
    try:
        text = files.read_text(paths.config)
    except ConfigError as error:
        if _missing_file(error) and not paths.config_given:
            return Setup(), ""
        raise
    setup = setup_of(text, str(paths.config))
    if problems := [Problem(str(paths.config), 0, what) for what in _missing(setup)]:
        raise ConfigError(problems)
    return setup, text


def setup_of(text: str, path: str) -> Setup:
    """Return what *text* of an lvs-nat.conf asks for; raise ConfigError with every problem.

    As it is installed it sets nothing, and what reads it takes a while to load.
    """
    if not _sets(text):
        return Setup()
    from lvs_nat.core import config

    return config.parse(text, path)


def _sets(text: str) -> bool:
    """Say whether any line of *text* is more than a comment."""
    lines = map(str.strip, text.lstrip("\ufeff").split("\n"))
    return any(line and not line.startswith("#") for line in lines)


def _missing(setup: Setup) -> list[str]:
    """Return what must be installed before all of *setup* can be asked."""
    asked = {check.kind for check in setup.checks()}
    return list(filter(None, map(kinds.missing, sorted(asked, key=str))))


def read_rules(path: Path) -> str:
    """Return the text of the rule file; a missing one says what to write."""
    try:
        return files.read_text(path)
    except ConfigError as error:
        if not _missing_file(error):
            raise
        raise ConfigError([Problem(str(path), 0, _unconfigured("does not exist"))]) from error


def _missing_file(error: ConfigError) -> bool:
    return isinstance(error.__cause__, FileNotFoundError)


def _digest(text: str) -> str:
    """Tell one text from another: no secret is kept by it, and hashlib takes long to load."""
    raw = text.encode()
    return f"{len(raw)}-{zlib.crc32(raw):08x}"


def _unconfigured(what: str) -> str:
    return (
        f"{what}: lvs-nat is not configured; write rules into it, or `ipvsadm-save -n` "
        "those that run"
    )
