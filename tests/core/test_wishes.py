import json

import pytest

from lvs_nat.core.pool import Wish
from lvs_nat.core.wishes import Wanted, Whom, lasting, parse, spell, wanted, without
from tests.builders import RS1, RS2, VIP, tcp

WEB, TLS = tcp(VIP), tcp("172.25.0.10:443")
RS1, RS2 = RS1.endpoint, RS2.endpoint
DRAINED, OUT = Wanted(Wish.QUIESCED, cut=30.0), Wanted(Wish.OUT, ends=60.0)
WISHES = {Whom(None, RS1): DRAINED, Whom(WEB, RS2): OUT}
ROWS = [(WEB, RS1), (WEB, RS2), (TLS, RS1)]


@pytest.mark.parametrize(
    "wish, now, expected",
    [
        (DRAINED, 29.0, Wish.QUIESCED),
        (DRAINED, 30.0, Wish.OUT),
        (OUT, 59.0, Wish.OUT),
        (OUT, 60.0, Wish.NOTHING),
        (Wanted(Wish.QUIESCED, cut=30.0, ends=20.0), 25.0, Wish.NOTHING),
    ],
)
def test_a_wish_changes_at_its_moments(wish, now, expected):
    assert wish.at(now) is expected


def test_the_wish_for_one_service_goes_before_the_one_for_all():
    wishes = {Whom(None, RS1): DRAINED, Whom(WEB, RS1): OUT}

    assert (wanted(wishes, WEB, RS1), wanted(wishes, TLS, RS1)) == (OUT, DRAINED)


def test_only_what_has_ended_is_dropped():
    assert lasting(WISHES, 59.0) is WISHES
    assert lasting(WISHES, 60.0) == {Whom(None, RS1): DRAINED}


@pytest.mark.parametrize(
    "endpoint, service, left",
    [
        (RS1, None, {Whom(WEB, RS2): OUT}),
        (RS2, None, {Whom(None, RS1): DRAINED}),
        (RS2, WEB, {Whom(None, RS1): DRAINED}),
        (RS2, TLS, WISHES),
        # What was meant for all services is still meant for the others.
        (RS1, WEB, {Whom(WEB, RS2): OUT, Whom(TLS, RS1): DRAINED}),
    ],
)
def test_a_server_is_taken_out_of_the_wishes_under_the_service_that_is_named(
    endpoint, service, left
):
    assert without(WISHES, {endpoint}, service, ROWS) == left


def test_within_a_boot_wishes_come_back_as_they_were_however_the_clock_is_set():
    assert parse(spell(WISHES, 1000.0, "boot"), "boot", 7.0) == (WISHES, 1000.0)


@pytest.mark.parametrize("boot", ["the next", ""])
def test_over_a_boot_wishes_end_at_the_same_wall_time(boot):
    later = {
        Whom(None, RS1): Wanted(Wish.QUIESCED, cut=-70.0),
        Whom(WEB, RS2): Wanted(Wish.OUT, ends=-40.0),
    }

    assert parse(spell(WISHES, 1000.0, "boot"), boot, 1100.0) == (later, None)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "Expecting value"),
        ('{"format": 2}', "it has format 2"),
        *((text, "not a file of wishes") for text in ("null", "[]", "{}", "[" * 100_000)),
        ('{"format": 1, "wishes": [{}]}', "not a file of wishes"),
    ],
    ids=["nothing", "later", "null", "list", "object", "deep", "empty"],
)
def test_a_text_that_is_none_is_said_to_be_none(text, words):
    with pytest.raises(ValueError, match=words):
        parse(text, "boot", 0.0)


def test_a_wish_of_a_service_that_nobody_can_name_is_none():
    data = json.loads(spell(WISHES, 0.0, "boot"))
    data["wishes"][1]["service"] = "web"

    with pytest.raises(ValueError, match="'web' is not the name of a virtual service"):
        parse(json.dumps(data), "boot", 0.0)
