"""Tables of figures become drawings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.figures import Table


def draw(tables: Sequence[Table], path: Path) -> None:
    """Draw each table that names a column for it as bars, one below the other."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawn = [table for table in tables if table.bars]
    heights = [1.2 + 0.3 * len(table.rows) for table in drawn]
    figure, places = pyplot.subplots(
        len(drawn), squeeze=False, figsize=(8, sum(heights)), height_ratios=heights
    )
    for table, place in zip(drawn, places[:, 0]):
        column = table.columns.index(table.bars)
        rows = [row for row in table.rows if isinstance(row[column], (int, float))]
        names = [" ".join(str(cell) for cell in row[:2]) for row in rows]
        bars = place.barh(names, [row[column] for row in rows])
        place.bar_label(bars, fmt="%.3g", padding=3)
        place.invert_yaxis()
        place.margins(x=0.15)
        place.set_title(f"{table.title}: {table.bars}", fontsize=10)
        if table.log:
            place.set_xscale("log")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
