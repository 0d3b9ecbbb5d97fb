from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_nat.core import plain
from lvs_nat.core.questions import (
    QUESTIONS,
    Expect,
    Http,
    Script,
    Step,
    Style,
    Tls,
    Udp,
    Verb,
    Verify,
)
from lvs_nat.core.setup import Check, From, OnUnknown, Way

VALUES = [
    *(made() for made in QUESTIONS),
    Http("/x", "POST", "a.example", ("X: 1",), "u:p", "b", ((200, 204), (301, 301)), tls=Tls()),
    Tls(verify=Verify.CHAIN, min_days=3),
    Expect((Step(Verb.EXPECT, b"^220"), Step(Verb.TLS), Step(Verb.SEND, b"\x00\xff")), "smtp"),
    Udp(b"\x80\xff", True, b"\x01", b"\xff", 1, 2),
    Script(("/bin/x", "%h"), Style.NAGIOS, ("10.0.0.1", "80")),
    Check(on_unknown=OnUnknown.DOWN, address=ip_address("fd00::1"), origin=From.VIRTUAL),
    Check(origin=ip_address("10.1.1.1"), way=Way(ip_address("10.1.1.2"), "eth0")),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_becomes_one_line_and_the_same_value_again(value):
    text = plain.spell(value)

    assert "\n" not in text
    assert plain.read(text) == value


@pytest.mark.parametrize(
    "text", ["", "{", '{"Nobody": []}', '{"Check": [1], "Way": []}', "[" * 10_000, "[1, {}]"]
)
def test_what_is_no_value_of_ours_is_refused(text):
    with pytest.raises(ValueError, match="not a value of ours"):
        plain.read(text)


@pytest.mark.fuzz
@given(st.text(max_size=60))
def test_any_text_is_a_value_or_refused(text):
    try:
        value = plain.read(text)
    except ValueError:
        return

    assert repr(plain.read(plain.spell(value))) == repr(value)  # NaN is not equal to itself
