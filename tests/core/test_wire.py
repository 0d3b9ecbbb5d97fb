import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_nat.core import wire
from lvs_nat.core.health import Outcome, Verdict
from lvs_nat.core.setup import Check, CheckKind, Target
from lvs_nat.core.wire import Hello, Lost, Told, Verdicts
from lvs_nat.model import Endpoint
from tests.builders import at

MANY = [
    Target(Endpoint(at(f"10.{n >> 8}.{n & 255}.1:80").address, 80), Check()) for n in range(5000)
]


def ordered(targets, generation=7):
    orders = [wire.unpack_order(record) for record in wire.pack_order(generation, targets)]
    assert {(order.generation, order.total) for order in orders} == {(generation, len(targets))}
    assert orders[0].first == 0
    return [target for order in orders for target in order.targets]


@pytest.mark.parametrize(
    "targets",
    [
        [],
        [Target(at("192.168.122.10:80"), Check())],
        [Target(at("[fd00::10]:443"), Check(CheckKind.TCP, 0.25, 0.1, 0.05, 3, 9))],
        MANY,
    ],
)
def test_an_order_of_any_length_arrives_whole(targets):
    assert ordered(targets) == targets


@given(
    st.lists(
        st.builds(
            Told,
            st.integers(0, 2**32 - 1),
            st.builds(
                Verdict,
                st.sampled_from(Outcome),
                st.text(st.characters(categories=["L", "N"], max_codepoint=0x7F), max_size=200),
                st.floats(0, 1e6),
            ),
            st.floats(0, 1e6),
        ),
        max_size=50,
    )
)
def test_verdicts_arrive_as_they_were_told(told):
    records = [wire.unpack_report(record) for record in wire.pack_verdicts(3, told)]

    assert [one for record in records for one in record.told] == told
    assert {record.generation for record in records} == {3}


def test_many_verdicts_need_several_records_and_none_is_too_long():
    told = [Told(n, Verdict(Outcome.SILENT, "x" * 300, 0.5), 1.0) for n in range(1000)]
    records = list(wire.pack_verdicts(1, told))

    assert max(map(len, records)) <= wire.RECORD
    assert sum(len(wire.unpack_report(record).told) for record in records) == 1000


@given(st.binary(max_size=300))
def test_nonsense_from_a_prober_is_an_error_or_a_verdict_and_nothing_else(record):
    try:
        report = wire.unpack_report(record)
    except ValueError:
        return
    assert isinstance(report, (Verdicts, Hello, Lost))


@given(st.binary(max_size=300))
def test_nonsense_in_an_order_is_an_error_or_an_order(record):
    try:
        assert isinstance(wire.unpack_order(record), wire.Order)
    except ValueError:
        return


def test_words_from_a_server_cannot_reach_a_terminal():
    told = [Told(0, Verdict(Outcome.FAIL, "\x1b[2Jhello\n"), 0.0)]
    (record,) = wire.pack_verdicts(1, told)

    assert wire.unpack_report(record).told[0].verdict.words == "?[2Jhello?"
    assert wire.unpack_report(wire.pack_lost("killed\n")) == Lost("killed?")
