"""Which parts of the table somebody else keeps changing, and when that is worth a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

# So many seconds are looked back on, and pass between two lines about one quarrel.
WINDOW = 60.0
# One who edits a row by hand seldom does so more often within a window; a program does.
EDITS = 3


class Edit(NamedTuple):
    """What somebody did: to which part of the table, spelled as it is typed, what becomes of it."""

    subject: str
    command: str
    fate: str


@dataclass(frozen=True)
class Quarrel:
    """Somebody changes one part of the table again and again; latest is the last command."""

    subject: str
    times: int
    latest: str

    def __str__(self) -> str:
        return (
            f"something keeps changing {self.subject}: {self.times} times within a minute, the "
            f"last time by ipvsadm {self.latest}; is it managed by a second program?"
        )


@dataclass(frozen=True)
class Quarrels:
    """The edits of the last WINDOW, by what they were done to; times are monotonic seconds."""

    edits: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    latest: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, float] = field(default_factory=dict)

    def after(self, done: Iterable[Edit], now: float) -> Quarrels:
        """Return the quarrels once *done* was seen, and what is long past forgotten."""
        edits = {
            subject: recent
            for subject, times in self.edits.items()
            if (recent := tuple(it for it in times if now - it < WINDOW))
        }
        latest = {subject: self.latest[subject] for subject in edits}
        for subject, command, _ in done:
            edits[subject] = (*edits.get(subject, ()), now)
            latest[subject] = command
        told = {subject: when for subject, when in self.told.items() if subject in edits}
        return Quarrels(edits, latest, told)

    def over(self, subject: str) -> bool:
        """Whether *subject* is changed too often for a line each time."""
        return len(self.edits.get(subject, ())) > EDITS

    @property
    def all(self) -> tuple[Quarrel, ...]:
        """The quarrels that go on."""
        return tuple(
            Quarrel(subject, len(times), self.latest[subject])
            for subject, times in self.edits.items()
            if len(times) > EDITS
        )

    def due(self, now: float) -> tuple[Quarrel, ...]:
        """Return the quarrels of which nothing was said for a WINDOW."""
        return tuple(
            quarrel
            for quarrel in self.all
            if now - self.told.get(quarrel.subject, -WINDOW) >= WINDOW
        )

    def telling(self, quarrels: Sequence[Quarrel], now: float) -> Quarrels:
        """Return the same, once of *quarrels* something was said."""
        said = dict.fromkeys((quarrel.subject for quarrel in quarrels), now)
        return replace(self, told={**self.told, **said})
