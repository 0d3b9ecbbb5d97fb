"""python -m bench.report: run the benches, and write what they found as docs/benchmarks.md.

Runs all parts, or those that are named, one after the other; what each found is kept in
bench/results, with the day, the machine and the versions that were measured.  The document shows
what is kept, so that a part can be measured anew by itself.  Exits 1 if a promise is broken.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import machine
from bench.command import ROOT, load, say, tables
from bench.daemons import KEEPALIVED, LDIRECTORD, OURS
from bench.failover import WAYS, compared
from bench.faults import FAULTS
from bench.figures import Table, markdown

RESULTS = ROOT / "bench" / "results"
WIDTH = 100
DOCUMENT = ROOT / "docs" / "benchmarks.md"
HEAD = """\
# Benchmarks

`make bench` has measured all of this and written this page; `python -m bench.report PART` does a
part of it anew. Everything is compared within one run on one machine, and of seconds only the
ratios say something about other machines. What is promised has been decided beforehand; a
promise that is not kept is shown as such.
"""


@dataclass(frozen=True)
class Part:
    """A bench, or a piece of it that is measured by itself, with its *options*."""

    bench: str
    options: tuple[str, ...] = ()
    guest: bool = False


@dataclass(frozen=True)
class Result:
    """What a part has found: when (a day), on which machine, of which versions."""

    day: str
    machine: str
    versions: str
    tables: tuple[Table, ...]


def _failovers() -> Iterator[tuple[str, Part]]:
    """Yield each comparison that bench.failover makes as a part."""
    for name in FAULTS:
        for way in WAYS:
            if compared(name, way):
                words = ("--faults", name, "--settings", way)
                yield f"failover-{name}-{way}", Part("failover", words, guest=True)
    yield "failover-alone", Part("failover", ("--active-only",), guest=True)


PARTS: Mapping[str, Part] = {
    "table": Part("table", guest=True),
    "startup": Part("startup", guest=True),
    **{
        f"checks-{it}": Part("checks", ("--only", it))
        for it in ("cost", "promised", "most", "punctual", "silent")
    },
    "hostile": Part("hostile"),
    "footprint": Part("footprint"),
    "watching": Part("watching", guest=True),
    "reload": Part("reload", guest=True),
    "disruption": Part("disruption", guest=True),
    **dict(_failovers()),
}


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"parts: {', '.join(PARTS)}",
    )
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help="measure only these")
    add("--quick", action="store_true", help="have each see that it works; nothing is kept")
    add("--document", action="store_true", help="measure nothing: write what is kept")
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - PARTS.keys():
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    broken = []
    for name in () if chosen.document else chosen.parts or PARTS:
        say(f"== {name}")
        if not (tried(PARTS[name]) if chosen.quick else measured(name)):
            broken.append(name)
    if not chosen.quick:
        DOCUMENT.write_text(document(kept()))
    if broken:
        say(f"not all is kept by {', '.join(broken)}")
    return 1 if broken else 0


def tried(part: Part) -> bool:
    """Run a part in little; return whether it works."""
    return not subprocess.run([*_command(part), "--quick"], cwd=ROOT).returncode


def measured(name: str) -> bool:
    """Measure a part, and keep what it finds; return whether it keeps its promises."""
    part = PARTS[name]
    with tempfile.TemporaryDirectory(prefix="lvs-nat-bench.") as folder:
        found = Path(folder, "tables")
        status = subprocess.run([*_command(part), "--json", str(found)], cwd=ROOT).returncode
        if not found.exists():
            return False  # what was kept before stays
        seen = load(found)
    versions = ", ".join(it.version for it in (OURS, KEEPALIVED, LDIRECTORD))
    where = f"{machine.described()}{', in a guest of it' if part.guest else ''}"
    day = time.strftime("%Y-%m-%d", time.gmtime())
    keep(name, Result(day, where, versions, tuple(seen)))
    return not status


def _command(part: Part) -> Sequence[str]:
    return [sys.executable, "-m", f"bench.{part.bench}", *part.options]


def keep(name: str, result: Result, folder: Path = RESULTS) -> None:
    """Keep what a part has found."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(asdict(result)))


def kept(folder: Path = RESULTS) -> dict[str, Result]:
    """Return what is kept, in the order of the parts."""
    found = {}
    for name in PARTS:
        file = folder / f"{name}.json"
        if file.exists():
            fields = json.loads(file.read_text())
            found[name] = Result(**{**fields, "tables": tuple(tables(fields["tables"]))})
    return found


def document(results: Mapping[str, Result]) -> str:
    """Return the page: for each bench how it measures, in its own words, and its tables."""
    paragraphs = [HEAD]
    benches = dict.fromkeys(PARTS[name].bench for name in results)
    for bench in benches:
        title, text = introduced(importlib.import_module(f"bench.{bench}").__doc__ or "")
        paragraphs.append(f"## {title}\n\n{text}\n\n`python -m bench.{bench}`\n")
        before = ""
        for name, result in results.items():
            if PARTS[name].bench != bench:
                continue
            where = f"Measured on {result.day}: {result.versions}; {result.machine}."
            if where != before:
                paragraphs.append(f"{where}\n")
            before = where
            paragraphs += [f"{markdown(table)}\n" for table in result.tables]
    return "\n".join(paragraphs)


def introduced(words: str) -> tuple[str, str]:
    """Return the title that a bench's docstring has, and the rest of it, as paragraphs."""
    first, _, rest = words.strip().partition("\n\n")
    title = re.sub(r"\s+", " ", first.partition(": ")[2]).rstrip(".")
    text = "\n\n".join(textwrap.fill(block, WIDTH) for block in rest.split("\n\n"))
    return title[:1].upper() + title[1:], text


if __name__ == "__main__":
    sys.exit(main())
