from collections import Counter
from dataclasses import replace

import pytest

from lvs_nat.core.health import Outcome, State, needed
from lvs_nat.core.schedule import (
    CONFIRM,
    CONFIRM_CLIENTS,
    SHORTEST,
    Pace,
    decides,
    due,
    first,
    follow,
    patience,
    phase,
    smoothed,
)
from lvs_nat.core.setup import Check
from tests.builders import at

CHECK = Check(interval=1.0, timeout=0.8, fast=0.2, fall=3, rise=2)
OUTCOMES = {
    "+": Outcome.PASS,
    "-": Outcome.SILENT,
    "x": Outcome.REFUSED,
    "f": Outcome.FAIL,
    "?": Outcome.UNKNOWN,
}


def after(letters, check=CHECK):
    """Return the pace once verdicts have come, each a letter of OUTCOMES."""
    pace = Pace()
    for letter in letters:
        pace = follow(pace, OUTCOMES[letter], check)
    return pace


@pytest.mark.parametrize(
    "letters, pace",
    [
        ("", Pace(None)),
        ("?", Pace(None)),
        ("+", Pace(True)),
        ("-", Pace(None, 1)),
        ("-?x", Pace(None, 2)),
        ("---", Pace(False)),
        ("-+", Pace(False, 1)),
        ("--+", Pace(False, 1)),
        ("-++", Pace(True)),
        ("-+-", Pace(False)),
        ("+-", Pace(True, 1)),
        ("+-x", Pace(True, 2)),
        ("+-?x", Pace(True, 2)),
        ("+--+", Pace(True)),
        ("+---", Pace(False)),
        ("+---+", Pace(False, 1)),
        ("+---+-", Pace(False)),
        ("+---++", Pace(True)),
        ("+---+?+", Pace(True)),
    ],
)
def test_only_what_contradicts_the_last_settled_streak_is_counted(letters, pace):
    assert after(letters) == pace


@pytest.mark.parametrize(
    "letters, ended, moment",
    [
        # A settled target keeps its moments, a quarter past each second.
        ("+", 10.251, 11.25),
        ("+", 11.1, 11.25),
        ("+?", 10.251, 11.25),
        ("---", 11.05, 11.25),
        ("xxx", 10.251, 11.25),
        ("+---", 10.5, 11.25),
        ("+---++", 10.5, 11.25),
        # Moments that went by are let go.
        ("+", 17.3, 18.25),
        # While counting, the pause is from the beginning of one probe to that of the next.
        ("+-", 10.35, 10.45),
        ("+-", 11.05, 11.05),
        ("+-?", 10.26, 10.45),
        ("+---+", 10.251, 10.45),
        # So it is with first failures, which confirm nothing that we know: never at once.
        ("-", 10.35, 10.45),
        ("-", 11.05, 11.05),
        ("x", 10.251, 10.45),
        ("xf", 10.251, 10.45),
        ("x?", 10.251, 10.45),
        # A refusal or a wrong answer is looked at again at once, and once.
        ("+f", 10.251, 10.251 + CONFIRM),
        ("+ff", 10.251, 10.45),
        ("+-f", 10.251, 10.45),
        ("+x?", 10.251, 10.45),
        ("+---f", 10.251, 11.25),
        ("+x", 10.251, 10.251 + CONFIRM),
        ("+-x", 10.251, 10.45),
        ("+xx", 10.251, 10.45),
        ("+---x", 10.251, 11.25),
    ],
)
def test_the_next_probe_is_due(letters, ended, moment):
    outcome = OUTCOMES[letters[-1]]

    assert due(after(letters), outcome, CHECK, 0.25, 10.25, ended) == pytest.approx(moment)


@pytest.mark.parametrize(
    "letters, interval", [("?", 1.0), ("+", 1.0), ("+?", 1.0), ("---", 30.0), ("---?", 30.0)]
)
def test_only_who_is_known_to_be_down_is_asked_at_the_interval_of_those(letters, interval):
    check = replace(CHECK, down_interval=30.0)
    moment = due(after(letters), OUTCOMES[letters[-1]], check, 0.0, 30.0, 30.0)

    assert moment == pytest.approx(30.0 + interval)


@pytest.mark.parametrize(
    "letters, pause",
    [
        ("+", 1.0),
        ("+-", CONFIRM_CLIENTS),
        ("+x", CONFIRM_CLIENTS),
        ("+-x", 0.2),
        ("+--", 0.2),
        ("+---", 1.0),
        ("+---+", 0.2),
    ],
)
def test_the_failure_of_a_suspect_is_looked_at_again_at_once_and_once(letters, pause):
    moment = due(after(letters), OUTCOMES[letters[-1]], CHECK, 0.0, 10.0, 10.0, suspected=True)

    assert moment == pytest.approx(10.0 + pause)


@pytest.mark.parametrize(
    "fast, outcome, pause", [(5.0, "-", 1.0), (5.0, "x", CONFIRM), (0.01, "x", 0.01)]
)
def test_no_pause_while_counting_is_longer_than_the_interval(fast, outcome, pause):
    check = Check(interval=1.0, fast=fast)
    pace = after("+" + outcome, check)

    assert due(pace, OUTCOMES[outcome], check, 0.0, 10.0, 10.0) == pytest.approx(10.0 + pause)


@pytest.mark.parametrize(
    "newcomers, letters, moment",
    [
        (400, "x", 10.45),
        (2000, "x", 10.75),
        (2000, "xx", 10.75),
        (10_000, "x", 11.25),
        (10_000, "x+", 10.45),
        (10_000, "+x", 10.25 + CONFIRM),
        (10_000, "+xx", 10.45),
    ],
)
def test_where_thousands_are_new_their_second_round_follows_the_first(newcomers, letters, moment):
    outcome = OUTCOMES[letters[-1]]
    ended = due(after(letters), outcome, CHECK, 0.25, 10.25, 10.25, newcomers=newcomers)

    assert ended == pytest.approx(moment)


@pytest.mark.parametrize(
    "letters, round_trip, seconds",
    [
        ("", 0.0, 0.8),
        ("-", 0.0, 0.8),
        ("+", 0.002, 0.8),
        ("+-", 0.0, 0.8),
        ("+-", 0.002, SHORTEST),
        ("+--", 0.02, 0.16),
        ("+-", 0.5, 0.8),
        ("+---", 0.002, 0.8),
        ("+---+", 0.002, 0.8),
    ],
)
def test_while_failures_are_counted_a_server_gets_eight_of_its_round_trips(
    letters, round_trip, seconds
):
    assert patience(after(letters), CHECK, round_trip) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "letters, round_trip, seconds",
    [
        ("", 0.0, 0.8),
        ("+", 0.0, 0.8),
        ("+", 0.002, SHORTEST),
        ("+", 0.5, 0.8),
        ("+---", 0.002, 0.8),
    ],
)
def test_a_suspect_gets_no_more_than_eight_of_its_round_trips_from_the_first(
    letters, round_trip, seconds
):
    assert patience(after(letters), CHECK, round_trip, suspected=True) == pytest.approx(seconds)


@pytest.mark.parametrize("rise", [1, 2, 3])
def test_passes_decide_where_a_server_that_fell_so_often_may_have_enough(rise):
    check = replace(CHECK, rise=rise)
    enough = {needed(State.RECOVERING, (0.0,) * falls, check) for falls in range(10)}

    assert {passes for passes in range(1, 100) if decides(passes, check)} == enough


def test_a_round_trip_is_smoothed():
    assert smoothed(0.0, 0.008) == 0.008
    assert smoothed(0.008, 0.016) == pytest.approx(0.009)


@pytest.mark.parametrize("total", [1, 2, 200, 10_000])
def test_first_probes_leave_at_once_and_thousands_within_an_interval(total):
    starts = [first(number, total, CHECK) for number in range(total)]

    assert starts == sorted(starts)
    assert starts[0] == 0
    assert starts[-1] < min(CHECK.interval, total / 4000)


@pytest.mark.parametrize(
    "endpoints",
    [
        [at(f"10.0.{n >> 8}.{n & 255}:80") for n in range(1000)],
        [at(f"192.168.122.10:{8000 + n}") for n in range(1000)],
        [at(f"10.{n}.0.1:{port}") for n in range(100) for port in range(80, 90)],
        [at(f"[fd00::{n:x}]:80") for n in range(1000)],
        [at(f"[fd00:{n:x}::1]:80") for n in range(1000)],
    ],
)
def test_a_thousand_servers_fill_the_interval_evenly(endpoints):
    tenths = Counter(int(phase(endpoint) * 10) for endpoint in endpoints)

    assert set(tenths) == set(range(10))
    assert max(tenths.values()) <= 130


def test_the_servers_of_a_small_pool_are_apart():
    phases = sorted(phase(at(f"192.168.122.{n}:80")) for n in (10, 20, 30))

    assert min(b - a for a, b in zip(phases, phases[1:])) > 0.1
