import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_nat.core import orders
from lvs_nat.core.questions import Http, Tls, Verify
from lvs_nat.core.setup import Check, Target, Way
from lvs_nat.core.wire import RECORD
from lvs_nat.model import Endpoint
from tests.builders import at

PAGE = Check(Http(path="/up", tls=Tls(verify=Verify.NAME, server_name="a.example")), 0.25, 3.0)
BACK = Check(way=Way(source=at("172.25.0.10:80").address))
MANY = [
    Target(Endpoint(at(f"10.{n >> 8}.{n & 255}.1:80").address, 80), Check() if n % 2 else PAGE)
    for n in range(5000)
]


def heard(records, hearing=None):
    """Return the orders that *records* complete."""
    hearing = hearing or orders.Hearing()
    return [whole for whole in map(hearing.take, records) if whole is not None]


@pytest.mark.parametrize(
    "targets",
    [
        [],
        [Target(at("192.168.122.10:80"), Check())],
        [Target(at("[fd00::10]:443"), PAGE)],
        [
            Target(at("192.168.122.10:80"), Check()),
            Target(at("192.168.122.10:80"), BACK, path=True),
        ],
        MANY,
    ],
)
def test_an_order_of_any_length_arrives_whole(targets):
    assert heard(orders.pack(7, targets)) == [(7, targets)]


def test_an_order_without_its_beginning_was_meant_for_another_and_is_dropped():
    records = list(orders.pack(7, MANY))
    assert len(records) > 4

    assert heard(records[1:]) == []
    assert heard([*records[3:], *orders.pack(8, MANY[:1])]) == [(8, MANY[:1])]


def test_equal_checks_are_told_once():
    records = list(orders.pack(1, [Target(at(f"10.0.0.{n}:80"), Check()) for n in range(9)]))

    assert [record[:1] for record in records] == [b"C", b"T"]


def test_a_check_that_no_record_can_hold_is_refused():
    with pytest.raises(ValueError, match="too long"):
        list(orders.pack(1, [Target(at("10.0.0.1:80"), Check(Http(body="x" * 50_000)))]))


@pytest.mark.fuzz
@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: b"C" + tail))
def test_nonsense_is_an_error_or_an_order_and_nothing_else(record):
    try:
        assert isinstance(orders.unpack(record), (orders.CheckNamed, orders.Part))
    except ValueError:
        return


@pytest.mark.parametrize("numbers", [(), (0,), (3, 1, 2**32 - 1)])
def test_a_haste_arrives_as_it_was_said(numbers):
    record = orders.pack_haste(7, numbers)

    assert record.startswith(orders.HASTE)
    assert orders.unpack_haste(record) == orders.Haste(7, numbers)


def test_a_haste_has_no_more_targets_than_fit_into_a_record():
    record = orders.pack_haste(7, range(100_000))

    assert len(record) <= RECORD
    assert orders.unpack_haste(record).numbers[:3] == (0, 1, 2)


@pytest.mark.parametrize("record", [b"", b"N", b"N\1\0\0\0\1", b"T\1\0\0\0\1\0\0\0"])
def test_a_malformed_haste_is_refused(record):
    with pytest.raises(ValueError, match="not a haste"):
        orders.unpack_haste(record)


def test_an_order_is_no_haste():
    assert not any(record.startswith(orders.HASTE) for record in orders.pack(1, MANY))
