"""How the simulated day judges what it has seen; `make day` lives through one."""

import random

import pytest

from tests.lab.long_day import (
    GROWTH,
    WARM,
    WHO,
    Day,
    DrainFor,
    KillProber,
    MendAll,
    Reexec,
    Weight,
    growth,
    judge,
)

HOURS = range(24)


def lives(resident=lambda hour: 20_000, descriptors=lambda hour: 14, who=WHO):
    """Return the lives of *who*, the last of whom holds so much; the others hold ever the same."""
    steady = [(hour, Weight(9_000, 9)) for hour in HOURS]
    last = [(hour, Weight(resident(hour), descriptors(hour))) for hour in HOURS]
    return {(name, 7, 0): last if name == who[-1] else steady for name in who}


def noisy(hour):
    """Memory that comes and goes by some pages."""
    return 20_000 + random.Random(hour).choice((-12, -8, 0, 4, 16))


def warm(hour):
    return 20_000 - 900 * 0.5**hour


@pytest.mark.parametrize("resident", [lambda hour: 20_000, noisy, warm])
def test_memory_is_flat_that_comes_and_goes_or_comes_after_the_start(resident):
    assert judge(lives(resident))[1]


@pytest.mark.parametrize("when", HOURS)
def test_so_is_memory_that_rises_once_whenever_that_is(when):
    assert judge(lives(lambda hour: 20_000 + 300 * (hour >= when)))[1]


@pytest.mark.parametrize("leak", [32, 64])
@pytest.mark.parametrize("before", [lambda hour: 20_000, noisy])
def test_some_kilobytes_more_in_each_hour_are_not(leak, before):
    lines, flat = judge(lives(lambda hour: before(hour) + leak * hour))

    assert not flat
    assert [line.endswith("NOT flat") for line in lines] == [False, False, True]


def test_nor_is_a_descriptor_more():
    assert not judge(lives(descriptors=lambda hour: 14 + (hour > 14)))[1]


def test_nothing_is_flat_that_was_not_seen():
    assert not judge(lives(who=WHO[:2]))[1]
    assert not judge({})[1]


def test_a_process_that_lived_for_an_hour_or_two_is_not_judged():
    short = {("prober", 8, 0): [(0, Weight(1, 1)), (1, Weight(900, 9))]}

    assert judge({**lives(), **short}) == judge(lives())


def test_a_leak_in_lumps_is_one_too():
    lumps = [(hour, 20_000 + 64 * (hour // 2)) for hour in HOURS]

    assert growth(lumps) > GROWTH


@pytest.mark.parametrize("seed", range(5))
def test_every_day_has_what_a_day_must_have_and_all_of_it_before_memory_is_looked_at(seed):
    day, warm = Day(seed, 24), {}
    for hour in range(24):
        for slot in range(12):
            fault = day._choose(hour, slot)
            assert day.model.after(fault.change).sound
            day._note(fault)
        while day._ends:  # drains that have run out
            del day.model.wishes[day._ends.popitem()[0]]
        warm = warm or (hour == WARM["prober"] and dict(day.done))

    assert set(warm) == set(day.done)
    assert len(day.done) == 24
    assert [day.done[it.__name__] for it in (KillProber, MendAll, Reexec)] == [8, 24, 1]
    assert day.done[DrainFor.__name__] >= 8
