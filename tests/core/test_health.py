import pytest

from lvs_nat.core.health import (
    EVENTS,
    FLAP_WINDOW,
    Health,
    Outcome,
    State,
    Verdict,
    Weight,
    joined,
    step,
)
from lvs_nat.core.setup import Check

VERDICTS = {
    "+": Verdict(Outcome.PASS, "connected"),
    "-": Verdict(Outcome.SILENT, "no answer"),
    "x": Verdict(Outcome.REFUSED, "refused"),
    "?": Verdict(Outcome.UNKNOWN, "no descriptor left"),
}


def after(results, start=State.UP, check=Check(fall=3), spacing=1.0):  # noqa: B008
    """Return the health after probes *spacing* apart; + passes, - and x fail, ? tells nothing."""
    health = Health(start)
    for number, result in enumerate(results):
        health = step(health, VERDICTS[result], number * spacing, check)
    return health


@pytest.mark.parametrize(
    "start, results, end",
    [
        (State.NEW, "", State.NEW),
        (State.NEW, "+", State.UP),
        (State.NEW, "-", State.DOWN),
        (State.NEW, "x", State.DOWN),
        (State.NEW, "?", State.NEW),
        (State.NEW, "?+", State.UP),
        (State.UP, "+", State.UP),
        (State.UP, "-", State.FAILING),
        (State.UP, "--", State.FAILING),
        (State.UP, "---", State.DOWN),
        (State.UP, "-x-", State.DOWN),
        (State.UP, "--+", State.UP),
        (State.UP, "--+--", State.FAILING),
        (State.UP, "????", State.UP),
        (State.UP, "-?-?-", State.DOWN),
        (State.DOWN, "-", State.DOWN),
        (State.DOWN, "+", State.RECOVERING),
        (State.DOWN, "+-", State.DOWN),
        (State.DOWN, "+-+", State.RECOVERING),
        (State.DOWN, "++", State.UP),
        (State.DOWN, "+?+", State.UP),
    ],
)
def test_only_an_unbroken_streak_moves_a_server(start, results, end):
    assert after(results, start).state is end


def test_one_success_and_one_failure_suffice_when_so_configured():
    hasty = Check(rise=1, fall=1)

    assert after("-", State.UP, hasty).state is State.DOWN
    assert after("+", State.DOWN, hasty).state is State.UP


def test_each_further_fall_doubles_the_successes_needed_to_return():
    assert after("---++").state is State.UP
    assert after("---++---++").state is State.RECOVERING
    assert after("---++---++++").state is State.UP


def test_falls_outside_the_flap_window_are_forgiven():
    assert after("---++---++", spacing=FLAP_WINDOW).state is State.UP


def test_a_state_remembers_when_it_was_entered_and_the_words_of_its_last_probe():
    health = after("--+++--")

    assert (health.state, health.since) == (State.FAILING, 5.0)
    assert health.last == VERDICTS["-"]


def test_verdicts_that_tell_nothing_are_counted_until_one_does():
    assert after("+???").unknowns == 3
    assert after("+???+").unknowns == 0


def test_the_table_answers_every_state_and_result():
    assert set(EVENTS) == {(state, passed) for state in State for passed in (True, False)}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ((), None),
        ((None, Weight(0.5)), Weight(0.5)),
        ((Weight(0.5), Weight(0.2)), Weight(0.2)),
        ((Weight(0.5), Weight(5, share=False)), Weight(5, share=False)),  # 5 of 100, not 50
        ((Weight(0.5), Weight(60, share=False)), Weight(0.5)),
    ],
)
def test_of_several_weights_that_are_asked_for_the_least_counts(asked, expected):
    healths = [Health(State.UP, weight=weight) for weight in (None, *asked)]

    assert joined(healths, 100).weight == expected
