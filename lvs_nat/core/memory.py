"""What one director leaves for the next: what ran, and the health it knew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lvs_nat.core import plain
from lvs_nat.core.health import Health, State
from lvs_nat.core.setup import Check, Target

FORMAT = 2


@dataclass(frozen=True)
class Memory:
    """The state file.  Times in it are monotonic seconds of the boot it names.

    clean says that the director was told to end; it had not crashed.  saved is the digest of
    the rule file that running was made from, running the rules as text with the edits
    adopted since.
    """

    boot: str
    clean: bool
    saved: str
    running: str
    healths: Mapping[tuple[str, str], Health] = field(default_factory=dict)

    def health(self, target: Target) -> Health | None:
        return self.healths.get(_key(target))


def _key(target: Target) -> tuple[str, str]:
    return str(target.endpoint), _question(target.check)


def _question(check: Check) -> str:
    return plain.spell((check.question, check.way))


def remember(
    boot: str, clean: bool, saved: str, running: str, healths: Mapping[Target, Health]
) -> Memory:
    """Return the memory of a director; servers it knew nothing of are left out."""
    checks = {id(who.check): who.check for who in healths}  # thousands of targets share a few
    questions = {number: _question(check) for number, check in checks.items()}
    known = {
        (str(who.endpoint), questions[id(who.check)]): health
        for who, health in healths.items()
        if health.state is not State.NEW
    }
    return Memory(boot, clean, saved, running, known)


def spell(memory: Memory) -> str:
    """Return the text of the state file."""
    healths = [
        [*key, health.state.value, health.since, list(health.falls)]
        for key, health in memory.healths.items()
    ]
    return json.dumps(
        {
            "format": FORMAT,
            "boot": memory.boot,
            "clean": memory.clean,
            "saved": memory.saved,
            "running": memory.running,
            "healths": healths,
        }
    )


def parse(text: str) -> Memory:
    """Read a state file; raise ValueError with a sentence for anything that is not one."""
    try:
        data: Any = json.loads(text)
        if data["format"] != FORMAT:
            raise ValueError(f"it has format {data['format']!r}, not {FORMAT}")
        healths = {
            (str(address), str(kind)): Health(
                State(state), since=float(since), falls=tuple(map(float, falls))
            )
            for address, kind, state, since, falls in data["healths"]
        }
        texts = (str(data["boot"]), bool(data["clean"]), str(data["saved"]), str(data["running"]))
        return Memory(*texts, healths)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not a state file of this version: {error}") from error
