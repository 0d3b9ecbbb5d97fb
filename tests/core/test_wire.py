import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_nat.core import wire
from lvs_nat.core.health import Outcome, Verdict, Weight
from lvs_nat.core.wire import Hello, Load, Lost, Told, Trouble, Verdicts


def told_by(records):
    return [told for record, _ in records for told in wire.unpack_report(record).told]


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
                st.none() | st.builds(Weight, st.floats(0, 2**31 - 1), st.booleans()),
            ),
            st.floats(0, 1e6),
            st.integers(1, 50),
        ),
        min_size=1,
        max_size=50,
    )
)
def test_verdicts_arrive_as_they_were_told(told):
    records = list(wire.pack_verdicts(3, told))

    assert told_by(records) == told
    assert {wire.unpack_report(record).generation for record, _ in records} == {3}


def test_no_verdicts_make_no_record():
    assert list(wire.pack_verdicts(1, [])) == []


def test_many_verdicts_need_several_records_that_are_counted_and_none_is_too_long():
    told = [Told(n, Verdict(Outcome.SILENT, "x" * 200, 0.5), 1.0) for n in range(1000)]
    records = list(wire.pack_verdicts(1, told))

    assert max(len(record) for record, _ in records) <= wire.RECORD
    assert sum(count for _, count in records) == 1000
    assert told_by(records) == told


@pytest.mark.parametrize(
    "record, report",
    [
        (wire.HELLO, Hello()),
        (wire.pack_load(Load(2**40, 3, 8000, 16384, 0.25)), Load(2**40, 3, 8000, 16384, 0.25)),
        (wire.pack_trouble("of my own"), Trouble("of my own")),
        (wire.pack_lost("killed by signal 9"), Lost("killed by signal 9")),
    ],
)
def test_what_else_is_reported_arrives_as_it_was_said(record, report):
    assert wire.unpack_report(record) == report


@pytest.mark.parametrize(
    "said, heard",
    [
        ("\x1b[2Jhello\n", "?[2Jhello?"),
        ("x" * 300, "x" * 200),
        ("不" * 100, "不" * 66),
        ("\udc80", "?"),
    ],
)
def test_words_are_bounded_and_cannot_reach_a_terminal(said, heard):
    ((record, _),) = wire.pack_verdicts(1, [Told(0, Verdict(Outcome.FAIL, said), 0.0)])

    assert wire.unpack_report(record).told[0].verdict.words == heard
    assert wire.unpack_report(wire.pack_lost(said)) == Lost(heard)


def entry(outcome=0, times=1, latency=0.0, next_in=0.0, meant=0, weight=0.0, length=0, words=b""):
    packed = struct.pack("=IBBddBdB", 0, outcome, times, latency, next_in, meant, weight, length)
    return b"V\x01\0\0\0" + packed + words


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"X",
        b"HH",
        b"V",
        b"V\x01\0\0\0\x01",
        b"L\xff",
        b"L\x1b[2J",
        b"L" + b"x" * 201,
        b"B\0",
        struct.pack("=cQIIId", b"B", 1, 1, 1, 1, math.nan),
        entry(outcome=6),
        entry(times=0),
        entry(times=51),
        entry(latency=-1.0),
        entry(latency=math.nan),
        entry(next_in=math.inf),
        entry(meant=3),
        entry(meant=1, weight=-0.1),
        entry(meant=2, weight=math.nan),
        entry(meant=2, weight=2.0**31),
        entry(length=3, words=b"ab"),
        entry(length=201, words=b"x" * 201),
        entry(length=2, words=b"a\n"),
        entry(length=1, words=b"\xff"),
        entry() + b"\0",
    ],
)
def test_a_malformed_report_is_refused(record):
    with pytest.raises(ValueError):  # noqa: PT011 - the words are nobody's to read
        wire.unpack_report(record)


@pytest.mark.fuzz
@given(st.binary(max_size=300))
def test_nonsense_from_a_prober_is_an_error_or_a_report_and_nothing_else(record):
    try:
        report = wire.unpack_report(record)
    except ValueError:
        return
    assert isinstance(report, (Verdicts, Hello, Load, Trouble, Lost))
