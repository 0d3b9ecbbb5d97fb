import pytest

from lvs_nat.core.health import Outcome
from lvs_nat.core.schedule import CONFIRM, SHORTEST, Pace, deadline, delay, first, follow, second
from lvs_nat.core.setup import Check

CHECK = Check(interval=1.0, timeout=0.8, fast=0.2, fall=3, rise=2)
OUTCOMES = {"+": Outcome.PASS, "-": Outcome.SILENT, "x": Outcome.REFUSED, "?": Outcome.UNKNOWN}


def after(letters, latency=0.002):
    pace, outcome = Pace(), Outcome.PASS
    for letter in letters:
        outcome = OUTCOMES[letter]
        pace = follow(pace, CHECK, outcome, latency)
    return pace, outcome


@pytest.mark.parametrize(
    "letters, seconds",
    [
        ("+", 1.0),
        ("++", 1.0),
        ("+-", 0.2),
        ("+x", CONFIRM),
        ("+xx", CONFIRM),
        ("+xxx", 1.0),
        ("+--", 0.2),
        ("+---", 1.0),
        ("+----", 1.0),
        ("+-+", 1.0),
        ("+---+", 0.2),
        ("+---++", 1.0),
        ("+---+-", 1.0),
        ("-", 0.2),
        ("x", CONFIRM),
        ("+?", 1.0),
        ("+-?", 0.2),
    ],
)
def test_probes_come_fast_while_verdicts_are_counted(letters, seconds):
    pace, outcome = after(letters)

    assert delay(pace, CHECK, outcome) == seconds


@pytest.mark.parametrize(
    "letters, latency, seconds",
    [
        ("+", 0.002, 0.8),
        ("+-", 0.002, SHORTEST),
        ("+-", 0.02, 0.16),
        ("+-", 0.5, 0.8),
        ("+---", 0.002, 0.8),
        ("-", 0.002, 0.8),
        ("+---+", 0.002, 0.8),
    ],
)
def test_while_failures_are_counted_a_server_gets_eight_of_its_round_trips(
    letters, latency, seconds
):
    assert deadline(after(letters, latency)[0], CHECK) == pytest.approx(seconds)


def test_a_round_trip_is_smoothed_over_passes_alone():
    pace = follow(Pace(), CHECK, Outcome.PASS, 0.008)
    pace = follow(pace, CHECK, Outcome.REFUSED, 9.0)

    assert follow(pace, CHECK, Outcome.PASS, 0.016).round_trip == pytest.approx(0.009)


@pytest.mark.parametrize("total", [1, 2, 200, 10_000])
def test_first_probes_go_out_at_once_and_thousands_spread_within_an_interval(total):
    starts = [first(number, total, CHECK) for number in range(total)]

    assert starts[0] == 0
    assert max(starts) <= min(CHECK.interval, total / 4000)


def test_second_probes_spread_over_the_interval():
    seconds = [second(number, 100, CHECK) for number in range(100)]

    assert seconds == sorted(seconds)
    assert (min(seconds), max(seconds) > 0.95 * CHECK.interval) == (0.5, True)


def test_a_fast_pause_longer_than_the_interval_is_the_interval():
    slow = Check(interval=0.1, fast=5.0)
    pace = follow(Pace(), slow, Outcome.SILENT, 0.0)

    assert delay(pace, slow, Outcome.SILENT) == 0.1
