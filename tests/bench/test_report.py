"""The page about the benches: in their own words, of what was measured, in one order."""

import importlib
import re

import pytest

from bench import report
from bench.figures import Promise, Table
from bench.report import HEAD, PARTS, Result, document, introduced

DOCSTRING = """python -m bench.x: what it costs,
and why.

One paragraph
of words.

Another.
"""


def result(title, day="2026-01-02", **more):
    table = Table(title, ("what", "s"), (("a", 1.5),), **more)
    return Result(day, "2 cores", "lvs-nat 1, keepalived 2", (table,))


def test_a_bench_is_introduced_in_its_own_words():
    assert introduced(DOCSTRING) == (
        "What it costs, and why",
        "One paragraph of words.\n\nAnother.",
    )


@pytest.mark.parametrize("bench", dict.fromkeys(part.bench for part in PARTS.values()))
def test_every_bench_has_words_for_the_page_and_options_that_exist(bench):
    module = importlib.import_module(f"bench.{bench}")
    title, text = introduced(module.__doc__)

    assert title
    assert text
    assert module.__doc__.startswith(f"python -m bench.{bench}: ")


def test_the_page_has_each_table_below_its_bench_and_says_when_it_was_measured():
    promises = (Promise("few", 3.0, 2.0),)
    page = document(
        {
            "checks-most": result("Most"),
            "checks-silent": result("Silent", promises=promises),
            "hostile": result("Zoo", day="2026-01-03"),
        }
    )

    assert page.startswith(HEAD)
    assert re.findall("^##.*|^Measured.*|^\\* .*", page, re.MULTILINE) == [
        "## What checks cost, how many there can be, how punctual they are",
        "Measured on 2026-01-02: lvs-nat 1, keepalived 2; 2 cores.",
        "### Most",
        "### Silent",
        "* BROKEN: few: 3 (at most 2)",
        "## What daemons make of servers that misbehave, and at what cost",
        "Measured on 2026-01-03: lvs-nat 1, keepalived 2; 2 cores.",
        "### Zoo",
    ]


def test_what_a_part_has_found_is_kept_and_read_again(tmp_path):
    results = tmp_path / "results"
    found = {"hostile": result("Zoo"), "checks-most": result("Most")}
    for name, it in found.items():
        report.keep(name, it, results)

    assert report.kept(results) == {name: found[name] for name in ("checks-most", "hostile")}


def test_the_page_is_what_the_benches_found():
    assert report.DOCUMENT.read_text() == document(report.kept())
