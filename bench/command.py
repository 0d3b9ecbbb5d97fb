"""The command line of a bench: it measures, shows, draws, and says whether promises are kept."""

from __future__ import annotations

import argparse
import compileall
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench import figures
from bench.figures import Promise, Table
from lvs_nat.errors import LvsNatError
from lvs_nat.lab import kernel

Measure = Callable[[argparse.Namespace], Iterable[Table]]
Options = Callable[[argparse.ArgumentParser], None]
ROOT = Path(__file__).parent.parent


def run(
    module: str,
    description: str | None,
    measure: Measure,
    options: Options = lambda _: None,
    guest: float = 0,
    fetch: Callable[[], object] = lambda: None,
) -> int:
    """Do what the command line asks the bench *module* for; return 1 if a promise is broken.

    options adds those that the bench has of its own.  With *guest* it measures on a kernel with
    IPVS, and takes at most so many seconds there; *fetch* has what it needs fetched before, as a
    guest has no network.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="a short run to see that it works; promises nothing")
    add("--plot", type=Path, metavar="FILE.png", help="draw it, too (needs matplotlib)")
    add("--json", type=Path, metavar="FILE", help="write the tables there, too")
    options(parser)
    chosen = parser.parse_args()
    try:
        if guest and not kernel.inside():
            fetch()
            found = _there(module, guest)
        else:
            found = _here(measure, chosen)
    except LvsNatError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(table) for table in found]))
    if chosen.plot and not kernel.inside():
        from bench.plots import draw  # matplotlib is large, and only needed here

        draw(found, chosen.plot)
    return 0 if all(table.kept for table in found) else 1


def _here(measure: Measure, chosen: argparse.Namespace) -> list[Table]:
    found = []
    for whole in measure(chosen):
        table = replace(whole, promises=()) if chosen.quick else whole
        print(f"{figures.text(table)}\n", flush=True)
        found.append(table)
    return found


def _there(module: str, seconds: float) -> list[Table]:
    """Have a guest do it and return what it found."""
    compileall.compile_dir(ROOT / "lvs_nat", quiet=2)  # what a guest compiles is lost with it
    with tempfile.TemporaryDirectory(prefix="lvs-nat-bench.") as folder:
        file = Path(folder, "tables")
        command = [sys.executable, "-m", module, *sys.argv[1:], "--json", str(file)]
        kernel.run(command, timeout=seconds, memory="1G", writable=[Path(folder)], cwd=ROOT)
        if not file.exists():
            raise LvsNatError(f"{module} has found nothing")
        return load(file)


def load(path: Path) -> list[Table]:
    """Return what a bench has written to *path*."""
    return tables(json.loads(path.read_text()))


def tables(found: Iterable[Mapping[str, Any]]) -> list[Table]:
    """Return the tables that JSON had as *found*."""
    return [
        Table(
            **{
                **fields,
                **{key: tuple(fields[key]) for key in ("columns", "notes")},
                "rows": tuple(map(tuple, fields["rows"])),
                "promises": tuple(Promise(**promise) for promise in fields["promises"]),
            }
        )
        for fields in found
    ]


def say(words: str) -> None:
    """Tell whoever waits what is being measured."""
    print(f"bench: {words}", file=sys.stderr, flush=True)
