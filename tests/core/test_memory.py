import json
import re
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_nat.core import memory
from lvs_nat.core.health import Health, Outcome, State, Verdict
from lvs_nat.core.leaving import Departure
from lvs_nat.core.memory import Memory
from lvs_nat.core.setup import Check, Target
from lvs_nat.errors import Problem
from tests.builders import RS1, RS2
from tests.hostile import altered, damaged

WHO, OTHER = Target(RS1.endpoint, Check()), Target(RS2.endpoint, Check())
DOWN = Health(State.DOWN, since=12.5, falls=(3.0, 12.5))
SILENT = Verdict(Outcome.SILENT, "no answer within 0.8 s", 0.8)
FAILING = Health(State.FAILING, 1, 2.0, last=SILENT)
RULES = "-A -t 10.0.0.1:80 -s rr\n"


def noted(healths, rules=RULES):
    known = memory.known(healths)
    ramps = {("tcp 10.0.0.1:80", "192.168.122.10:80"): 11.5}
    row = ("tcp 10.0.0.1:80", "192.168.122.20:80")
    doubts = {
        "departures": {row: Departure(9.5, way=True, flowing=True)},
        "lost": frozenset({"tcp 10.0.0.1:80"}),
        "dropped": "-A -t 10.0.0.2:80 -s rr\n",
        "reported": "-A -t 10.0.0.3:80 -s lc\n",
        "suspected": 7.25,
    }
    problems = (Problem("rules", 3, "nonsense"), Problem("lvs-nat.conf", 0, "cannot be read"))
    left = Memory("boot", False, 1.5, "digest", rules, RULES, "fall = 3\n", known, ramps, problems)
    return replace(left, **doubts)


@pytest.mark.parametrize("rules", [RULES, RULES.replace("rr", "wrr")], ids=["as saved", "edited"])
def test_what_is_remembered_is_read_back(rules):
    before = noted({WHO: DOWN, OTHER: Health()}, rules)
    found = memory.parse(memory.spell(before))

    assert found == before
    assert (found.health(WHO), found.health(OTHER)) == (DOWN, None)


@pytest.mark.parametrize(
    "name, nothing",
    [
        *(("ramps", {}), ("problems", ()), ("departures", {})),
        *(("lost", frozenset()), ("suspected", None), ("dropped", ""), ("reported", None)),
    ],
)
def test_a_state_file_of_a_director_that_did_not_know_of_something_is_one_too(name, nothing):
    before = noted({WHO: DOWN})
    data = json.loads(memory.spell(before))
    del data[name]

    assert memory.parse(json.dumps(data)) == replace(before, **{name: nothing})


def test_rules_without_an_edit_are_kept_once():
    assert memory.spell(noted({})).count("-A -t 10.0.0.1") == 1


def test_a_streak_is_counted_on_by_a_director_that_goes_on_and_anew_by_a_later_one():
    found = memory.parse(memory.spell(noted({WHO: FAILING})))

    assert found.health_now(WHO) == FAILING
    assert found.health(WHO) == Health(State.FAILING, 0, 2.0)


WHOLE = memory.spell(noted({WHO: DOWN, OTHER: FAILING}))


@pytest.mark.parametrize("end", range(len(WHOLE)))
def test_a_torn_state_file_is_said_to_be_none(end):
    with pytest.raises(ValueError, match="not a state file"):
        memory.parse(WHOLE[:end])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"format": 2}',
        "[" * 100_000,
        WHOLE.replace("down", "dawn"),
        WHOLE.replace("SILENT", "HUSHED"),
        WHOLE.replace("0.8], null]", "0.8], []]"),
        re.sub(r'"down", [0-9.]+', f'"down", {10**400}', WHOLE),
    ],
    ids=lambda text: text[:20],
)
def test_nonsense_is_said_to_be_no_state_file(text):
    with pytest.raises(ValueError, match="not a state file"):
        memory.parse(text)


@pytest.mark.fuzz
@given(damaged(WHOLE) | altered(json.loads(WHOLE)) | st.text(max_size=60))
def test_whatever_a_state_file_holds_it_is_one_or_is_said_to_be_none(text):
    with suppress(ValueError):
        found = memory.parse(text)
        assert memory.parse(memory.spell(found)) == found or "NaN" in memory.spell(found)
