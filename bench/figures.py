"""Figures as tables: what was measured, as text, as Markdown, and against what is promised."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Union

Cell = Union[str, float, None]


@dataclass(frozen=True)
class Promise:
    """One goal: what is promised, what was seen, and the limit it must keep."""

    words: str
    seen: float
    limit: float
    at_least: bool = False

    @property
    def kept(self) -> bool:
        return self.seen >= self.limit if self.at_least else self.seen <= self.limit

    def __str__(self) -> str:
        sign = "at least" if self.at_least else "at most"
        word = "kept" if self.kept else "BROKEN"
        return f"{word}: {self.words}: {shown(self.seen)} ({sign} {shown(self.limit)})"


@dataclass(frozen=True)
class Table:
    """What one bench found; None is where nothing could be measured.

    bars names the column that a drawing shows; log says that it needs a logarithmic scale.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    promises: tuple[Promise, ...] = ()
    bars: str = ""
    log: bool = False

    @property
    def kept(self) -> bool:
        return all(promise.kept for promise in self.promises)


def shown(value: Cell) -> str:
    """Return *value* as it is read most easily: three digits that count, no more."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def text(table: Table) -> str:
    """Return the table for a terminal."""
    cells = [table.columns, *(tuple(map(shown, row)) for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = [table.title]
    for row in cells:
        first, *others = (
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths))
        )
        lines.append("  " + "  ".join([first, *others]).rstrip())
    return "\n".join([*lines, *(f"  {line}" for line in (*table.notes, *map(str, table.promises)))])


def markdown(table: Table) -> str:
    """Return the table as GitHub and its like show it."""
    rule = ["---", *("---:" for _ in table.columns[1:])]
    rows = [table.columns, rule, *(tuple(map(shown, row)) for row in table.rows)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    after = [*table.notes, *(f"* {promise}" for promise in table.promises)]
    return "\n".join([f"### {table.title}", "", *lines, *([""] if after else []), *after])


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """Return ours in units of theirs, or None where one of them is not known."""
    return None if ours is None or not theirs else ours / theirs


def middle(values: Iterable[float]) -> float | None:
    """Return the median of *values*, or None if there are none."""
    found = list(values)
    return median(found) if found else None


def share(values: Sequence[float], part: float) -> float:
    """Return the value below which *part* (0 to 1) of the *values* lie; 0 if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0
