import pytest

from lvs_nat.core.health import Health, Outcome, State, Verdict
from lvs_nat.core.leaving import PATIENCE, QUIET, Departure, depart, leave
from lvs_nat.core.setup import OnFailure, ServiceSetup
from lvs_nat.model import Mark
from tests.builders import VIP, tcp, udp

TCP, UDP = tcp(VIP), udp("172.25.0.10:53")
CAREFUL = ServiceSetup()
REFUSED = Health(State.DOWN, last=Verdict(Outcome.REFUSED, "refused"))
SILENT = Health(State.DOWN, last=Verdict(Outcome.SILENT, "no answer"))


@pytest.mark.parametrize(
    "name, health, on_failure, at_once",
    [
        (TCP, SILENT, OnFailure.QUIESCE_THEN_REMOVE, False),
        (TCP, REFUSED, OnFailure.QUIESCE_THEN_REMOVE, True),
        (Mark(7), SILENT, OnFailure.QUIESCE_THEN_REMOVE, False),
        (UDP, SILENT, OnFailure.QUIESCE_THEN_REMOVE, True),
        (TCP, SILENT, OnFailure.REMOVE, True),
        (TCP, REFUSED, OnFailure.QUIESCE, False),
        (UDP, SILENT, OnFailure.QUIESCE, False),
    ],
)
def test_a_server_is_removed_at_once_only_where_nothing_is_in_doubt(
    name, health, on_failure, at_once
):
    setup = ServiceSetup(on_failure=on_failure)

    assert depart(name, health, setup, 5.0) == Departure(
        5.0, removed=at_once, refused=health is REFUSED
    )


def removed_at(looks, setup=CAREFUL):
    """Return when a server that failed at 0 is removed; *looks* are (time, packets out)."""
    departure = Departure(0.0)
    for now, packets in looks:
        departure = leave(departure, packets, setup, now)
        if departure.removed:
            return now
    return None


def looks(until, packets=lambda now: 100, step=0.5):
    return [(number * step, packets(number * step)) for number in range(int(until / step) + 1)]


def test_a_silent_server_that_sends_nothing_is_removed_after_remove_after():
    assert removed_at(looks(10)) == 2.0
    assert removed_at(looks(10), ServiceSetup(remove_after=0.5)) == 0.5


@pytest.mark.parametrize(
    "silent_since, way, on_failure, removed",
    [
        (None, False, OnFailure.QUIESCE_THEN_REMOVE, False),
        (9.875, False, OnFailure.QUIESCE_THEN_REMOVE, False),
        (9.75, False, OnFailure.QUIESCE_THEN_REMOVE, True),
        (9.75, False, OnFailure.QUIESCE, False),
        # It does send, but elsewhere: that is for what has been counted to say.
        (9.75, True, OnFailure.QUIESCE_THEN_REMOVE, False),
    ],
)
def test_where_packets_are_seen_a_server_that_owes_an_answer_and_is_mute_goes_at_once(
    silent_since, way, on_failure, removed
):
    leaving = Departure(9.95, packets_out=100, way=way)
    after = leave(leaving, 100, ServiceSetup(on_failure=on_failure), 10.0, silent_since)

    assert after.removed is removed


def test_packets_counted_late_put_removal_off_by_no_more_than_one_publication():
    late = looks(10, lambda now: 100 if now < 1.5 else 140)

    assert removed_at(late) == 1.5 + QUIET


def test_a_server_that_goes_on_sending_may_finish_for_half_a_minute():
    sending = looks(60, lambda now: 100 + int(now / 2) * 40)

    assert removed_at(sending) == PATIENCE


def test_a_service_that_only_quiesces_never_removes():
    assert removed_at(looks(60), ServiceSetup(on_failure=OnFailure.QUIESCE)) is None
