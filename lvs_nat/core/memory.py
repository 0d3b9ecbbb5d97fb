"""What one director leaves for the next: what ran, and the health it knew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from lvs_nat.core import plain
from lvs_nat.core.health import Health, Outcome, State, Verdict, Weight
from lvs_nat.core.leaving import Departure
from lvs_nat.core.setup import Check, Target
from lvs_nat.errors import Problem
from lvs_nat.model import Endpoint, ServiceName

FORMAT = 2

Named = TypeVar("Named", bound="tuple[ServiceName, Endpoint]")
Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Memory:
    """The state file.  Times in it are monotonic seconds of the boot it names.

    clean says that the director was told to end; it had not crashed.  began is when the
    service did.  saved is the digest of the rule file, and rules what it meant; running are
    the rules that ran, which are rules with the edits adopted since; settings is the text of
    lvs-nat.conf.  Where they differ from what the files hold now, these are what ran; problems
    are those of a later look at the files.  ramps says since when a real server was coming back
    slowly, departures how far one had come with leaving, both by the names of its row; lost
    which services had too few servers; suspected since when the director suspected itself.
    dropped are the services, without their rows, and sync daemons that the kernel still held of
    rules that ran no more; reported are the running rules with the edits that were only
    reported, None where there were none.
    """

    boot: str
    clean: bool
    began: float
    saved: str
    rules: str
    running: str
    settings: str
    healths: Mapping[tuple[str, str], Health] = field(default_factory=dict)
    ramps: Mapping[tuple[str, str], float] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    departures: Mapping[tuple[str, str], Departure] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()
    suspected: float | None = None
    dropped: str = ""
    reported: str | None = None

    def health(self, target: Target) -> Health | None:
        """Return what was known of *target*, for a director that comes after a while.

        What was being counted is not: nobody knows what has happened meanwhile.
        """
        found = self.health_now(target)
        return replace(found, streak=0, last=None, unknowns=0) if found else None

    def health_now(self, target: Target) -> Health | None:
        """Return what is known of *target*, for a director that goes on at once."""
        return self.healths.get(_key(target))


def _key(target: Target) -> tuple[str, str]:
    return str(target.endpoint), _question(target.check)


def _question(check: Check) -> str:
    return plain.spell((check.question, check.way))


def known(healths: Mapping[Target, Health]) -> dict[tuple[str, str], Health]:
    """Return *healths* as a memory has them; servers of which nothing is known are left out."""
    checks = {id(who.check): who.check for who in healths}  # thousands of targets share a few
    questions = {number: _question(check) for number, check in checks.items()}
    return {
        (str(who.endpoint), questions[id(who.check)]): health
        for who, health in healths.items()
        if health.state is not State.NEW
    }


def named(of_rows: Mapping[Named, Kept]) -> dict[tuple[str, str], Kept]:
    """Return what is kept *of rows* as a memory has it: by their names."""
    return {(str(service), str(endpoint)): it for (service, endpoint), it in of_rows.items()}


def spell(memory: Memory) -> str:
    """Return the text of the state file."""
    return json.dumps(
        {
            "format": FORMAT,
            "boot": memory.boot,
            "clean": memory.clean,
            "began": memory.began,
            "saved": memory.saved,
            "rules": None if memory.rules == memory.running else memory.rules,
            "running": memory.running,
            "settings": memory.settings,
            "problems": [[it.path, it.line, it.message] for it in memory.problems],
            "healths": [[*key, *_spell(health)] for key, health in memory.healths.items()],
            "ramps": [[*key, since] for key, since in memory.ramps.items()],
            "departures": [[*key, *moments(it)] for key, it in memory.departures.items()],
            "lost": sorted(memory.lost),
            "suspected": memory.suspected,
            "dropped": memory.dropped,
            "reported": memory.reported,
        }
    )


def parse(text: str) -> Memory:
    """Read a state file; raise ValueError with a sentence for anything that is not one."""
    try:
        data: Any = json.loads(text)
        if data["format"] != FORMAT:
            raise ValueError(f"it has format {data['format']!r}, not {FORMAT}")
        running = str(data["running"])
        return Memory(
            boot=str(data["boot"]),
            clean=bool(data["clean"]),
            began=float(data["began"]),
            saved=str(data["saved"]),
            rules=running if data["rules"] is None else str(data["rules"]),
            running=running,
            settings=str(data["settings"]),
            healths={
                (str(address), str(kind)): _health(*rest)
                for address, kind, *rest in data["healths"]
            },
            # Files of this format have not always had these.
            ramps={(str(name), str(it)): float(at) for name, it, at in data.get("ramps", ())},
            problems=tuple(
                Problem(str(path), int(line), str(words))
                for path, line, words in data.get("problems", ())
            ),
            departures={
                (str(name), str(it)): _departure(*rest)
                for name, it, *rest in data.get("departures", ())
            },
            lost=frozenset(map(str, data.get("lost", ()))),
            suspected=None if data.get("suspected") is None else float(data["suspected"]),
            dropped=str(data.get("dropped", "")),
            reported=None if data.get("reported") is None else str(data["reported"]),
        )
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not a state file of this version: {error}") from error


def moments(departure: Departure) -> tuple[Any, ...]:
    """Return what a memory has of *departure*: all but what every look at the kernel changes."""
    it = departure
    return it.since, it.removed, it.way, it.flowing, it.refused, it.excused, it.presumed


def _departure(since: Any, *flags: Any) -> Departure:
    removed, way, flowing, refused, excused, presumed = map(bool, flags)
    return Departure(float(since), None, None, removed, way, flowing, refused, excused, presumed)


def _spell(health: Health) -> tuple[Any, ...]:
    last = health.last
    verdict = [last.outcome.name, last.words, last.latency] if last else None
    return (
        *(health.state.value, health.since, list(health.falls)),
        *(health.streak, health.unknowns, verdict, health.weight),
    )


def _health(
    state: Any, since: Any, falls: Any, streak: Any, unknowns: Any, verdict: Any, weight: Any
) -> Health:
    last = None
    if verdict is not None:
        outcome, words, latency = verdict
        last = Verdict(Outcome[outcome], str(words), float(latency))
    moments = tuple(map(float, falls))
    asked = None if weight is None else Weight(float(weight[0]), bool(weight[1]))
    return Health(State(state), int(streak), float(since), moments, last, int(unknowns), asked)
