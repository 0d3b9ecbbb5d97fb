import pytest

from lvs_nat.core.health import Health, Outcome, State, Verdict, Weight
from lvs_nat.core.leaving import Departure
from lvs_nat.core.pool import (
    DOUBTFUL,
    HELD,
    KEPT,
    LAST,
    STANDING_IN,
    Choice,
    Stand,
    Wish,
    choose,
    row,
    scaled,
    share,
    unscaled,
)
from lvs_nat.core.setup import OnFailure, ServiceSetup, WhenEmpty
from tests.builders import RS1, RS2, real

UP, DOWN = Health(State.UP), Health(State.DOWN)
QUIESCED, QUIESCED2 = real("192.168.122.10:80", 0), real("192.168.122.20:80", 0)
SORRY = real("192.168.122.99:80")
GONE, GOING = Departure(1.0, removed=True), Departure(1.0)


@pytest.mark.parametrize(
    "stand, expected",
    [
        (Stand(RS1, None), RS1),
        (Stand(RS1, UP), RS1),
        (Stand(RS1, Health(State.FAILING)), RS1),
        (Stand(RS1, Health(State.NEW)), None),
        (Stand(RS1, DOWN), None),
        (Stand(RS1, DOWN, GOING), QUIESCED),
        (Stand(RS1, DOWN, GONE), None),
        (Stand(RS1, Health(State.RECOVERING), GOING), QUIESCED),
        (Stand(RS1, Health(State.RECOVERING), GONE), None),
        (Stand(RS1, DOWN, Departure(1.0, way=True, flowing=True)), RS1),
        (Stand(RS1, Health(State.UP, weight=Weight(0.4))), real("192.168.122.10:80", 2)),
        (Stand(RS1, UP, wish=Wish.QUIESCED), QUIESCED),
        (Stand(RS1, None, wish=Wish.QUIESCED), QUIESCED),
        (Stand(RS1, DOWN, GOING, wish=Wish.QUIESCED), QUIESCED),
        (Stand(RS1, DOWN, GONE, wish=Wish.QUIESCED), None),
        (Stand(RS1, Health(State.NEW), wish=Wish.QUIESCED), None),
        (Stand(RS1, UP, wish=Wish.OUT), None),
    ],
)
def test_a_destination_follows_the_health_of_its_server_and_the_operator(stand, expected):
    assert row(stand) == expected


def chosen(*stands, sorries=(), lost=False, held=None, **setup):
    return choose(ServiceSetup(**setup), stands, sorries, lost=lost, held=held)


def choice(*rows, remarks=(), quorate=True):
    return Choice({one.endpoint: one for one in rows}, dict(remarks), quorate)


WELL1, WELL2 = Stand(RS1, UP), Stand(RS2, UP)
ILL1, ILL2 = Stand(RS1, DOWN, GONE), Stand(RS2, DOWN, Departure(2.0, removed=True))


@pytest.mark.parametrize(
    "least, stands, expected",
    [
        (0.0, (ILL1, ILL2), choice(quorate=False)),
        (0.0, (WELL1, ILL2), choice(RS1)),
        # Of weights 5 and 10 the 10 alone are two thirds.
        (0.5, (ILL1, WELL2), choice(RS2)),
        (0.5, (WELL1, ILL2), choice(RS1, RS2, remarks=[(RS2.endpoint, KEPT)])),
        # The one that fell last is kept first.
        (0.5, (ILL1, ILL2), choice(RS2, remarks=[(RS2.endpoint, KEPT)], quorate=False)),
        (1.0, (ILL1, ILL2), choice(
            RS1, RS2, remarks=[(RS1.endpoint, KEPT), (RS2.endpoint, KEPT)], quorate=False)),
        # Who has never served is not kept, nor who the operator wants out.
        (1.0, (Stand(RS1, Health(State.NEW)), WELL2), choice(RS2)),
        (1.0, (Stand(RS1, DOWN, GONE, Wish.OUT), WELL2), choice(RS2)),
    ],
)  # fmt: skip
def test_the_panic_guard_keeps_the_last_servers(least, stands, expected):
    assert chosen(*stands, keep_at_least=least) == expected


def test_a_director_that_suspects_itself_takes_nobody_out_who_is_only_silent():
    refused = Stand(RS2, DOWN, Departure(2.0, removed=True, refused=True))

    assert chosen(Stand(RS1, DOWN, GOING), refused, held=1.0) == choice(
        RS1, remarks=[(RS1.endpoint, HELD)], quorate=False
    )


def test_the_last_one_is_not_quiesced_for_its_way_back_alone():
    doubtful = Stand(RS1, DOWN, Departure(1.0, way=True))

    assert chosen(doubtful, WELL2).rows == choice(QUIESCED, RS2).rows
    assert chosen(doubtful, ILL2) == choice(RS1, remarks=[(RS1.endpoint, DOUBTFUL)], quorate=False)


def fallen(outcome, state=State.DOWN, **departure):
    health = Health(state, last=Verdict(outcome, "words"))
    return Stand(RS1, health, Departure(1.0, **departure))


SILENT1 = fallen(Outcome.SILENT)
ALONE = choice(RS1, remarks=[(RS1.endpoint, LAST)], quorate=False)
OUT = choice(QUIESCED, quorate=False)


@pytest.mark.parametrize(
    ("stand", "setup", "expected"),
    [
        (SILENT1, {}, ALONE),
        (fallen(Outcome.PASS, State.RECOVERING), {}, ALONE),
        (fallen(Outcome.SILENT, removed=True), {}, choice(quorate=False)),
        (fallen(Outcome.SILENT, refused=True), {}, OUT),
        (fallen(Outcome.FAIL), {}, OUT),
        (Stand(RS1, DOWN, GOING), {}, OUT),  # found so at a start: it has to pass first
        (SILENT1._replace(wish=Wish.QUIESCED), {}, OUT),
        (SILENT1, {"on_failure": OnFailure.QUIESCE}, OUT),
    ],
)
def test_the_last_one_that_falls_silent_is_kept_until_it_is_removed(stand, setup, expected):
    drained = Stand(RS2, UP, wish=Wish.QUIESCED)

    assert chosen(stand, **setup) == expected
    assert chosen(stand, drained, **setup).rows == {**expected.rows, RS2.endpoint: QUIESCED2}
    assert chosen(stand, WELL2, **setup).rows.get(RS1.endpoint, QUIESCED) == QUIESCED


def test_where_somebody_stands_in_for_the_silent_the_last_one_is_not_kept():
    sorry = {"when_empty": WhenEmpty.SORRY, "sorries": [Stand(SORRY, UP)]}

    assert chosen(SILENT1, **sorry).rows == choice(QUIESCED, SORRY).rows


@pytest.mark.parametrize(
    "when_empty, expected",
    [
        (WhenEmpty.REFUSE, choice(quorate=False)),
        (WhenEmpty.WITHDRAW, choice(quorate=False)),
        (WhenEmpty.KEEP, choice(
            RS1, RS2, remarks=[(RS2.endpoint, KEPT), (RS1.endpoint, KEPT)], quorate=False)),
        (WhenEmpty.SORRY, choice(
            SORRY, remarks=[(SORRY.endpoint, STANDING_IN)], quorate=False)),
    ],
)  # fmt: skip
def test_a_service_without_a_server_does_what_it_was_told(when_empty, expected):
    assert chosen(ILL1, ILL2, sorries=[Stand(SORRY, UP)], when_empty=when_empty) == expected


def test_a_sorry_server_is_checked_too_and_several_may_stand_in():
    sorry = {"when_empty": WhenEmpty.SORRY}
    other = real("192.168.122.98:80")

    assert chosen(ILL1, sorries=[Stand(SORRY, DOWN)], **sorry).rows == {}
    assert set(chosen(ILL1, sorries=[Stand(SORRY, UP), Stand(other, None)], **sorry).rows) == {
        SORRY.endpoint,
        other.endpoint,
    }
    assert chosen(WELL1, ILL2, sorries=[Stand(SORRY, UP)], **sorry) == choice(RS1)


def test_too_few_hand_over_to_the_sorry_server_and_keep_their_connections():
    few = chosen(WELL1, ILL2, sorries=[Stand(SORRY, UP)], when_empty=WhenEmpty.SORRY, quorum=6)

    assert few == choice(QUIESCED, SORRY, remarks=[(SORRY.endpoint, STANDING_IN)], quorate=False)


@pytest.mark.parametrize(
    "weight, lost, quorate",
    [(11, False, True), (7, False, True), (6, False, False), (12, True, False), (13, True, True)],
)
def test_a_lost_quorum_is_regained_at_more_than_it_was_lost_at(weight, lost, quorate):
    stand = Stand(real("192.168.122.10:80", weight), UP)

    assert chosen(stand, lost=lost, quorum=10, hysteresis=3).quorate is quorate


def test_a_server_comes_back_step_by_step():
    returning = [share(100.0, 60.0, now) for now in (100.0, 103.0, 130.0, 159.9, 160.0, 999.0)]

    assert returning == [0.01, 0.05, 0.5, 0.95, 1.0, 1.0]
    assert (
        chosen(Stand(RS1, UP, share=0.5), WELL2, slow_start=60.0).rows
        == choice(real("192.168.122.10:80", 250), real("192.168.122.20:80", 1000)).rows
    )


@pytest.mark.parametrize("weight", [0, 1, 5, 65535, 2**31 - 1])
def test_weights_are_configured_ones_again_for_people(weight):
    assert unscaled(scaled(weight)) == min(weight, (2**31 - 1 + 50) // 100)
    assert scaled(1, 0.001) == 1
