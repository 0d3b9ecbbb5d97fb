import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_nat.core.canonical import Canonical
from lvs_nat.core.rules import parse
from lvs_nat.core.spelling import spell
from tests.builders import real, rules, service, tcp, udp

ROW = "-a -t 172.25.0.10:80 -r 192.168.122.10:80 -m -w 5"
number = st.integers(0, 300)
address = st.builds("{}.{}.{}.{}:{}".format, number, number, number, number, st.integers(0, 70000))


@pytest.mark.parametrize(
    "text, expected",
    [
        (ROW, (tcp("172.25.0.10:80"), real("192.168.122.10:80", 5))),
        (ROW.replace("-t", "-u"), (udp("172.25.0.10:80"), real("192.168.122.10:80", 5))),
        (ROW.replace("-w 5", "-w 0"), (tcp("172.25.0.10:80"), real("192.168.122.10:80", 0))),
    ],
)
def test_the_usual_line_is_read_in_one_step(text, expected):
    assert Canonical().row(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-A -t 172.25.0.10:80 -s rr",
        ROW + " ",
        ROW + "\r",
        " " + ROW,
        "#" + ROW,
        ROW.replace("-m", "-g"),
        ROW + " -x 5 -y 1",
        ROW.replace("10:80", "010:80"),
        ROW.replace("192.", "0."),
        ROW.replace("192.", "224."),
        ROW.replace("192.", "256."),
        ROW.replace(":80 -m", ":0 -m"),
        ROW.replace(":80 -m", ":65536 -m"),
        ROW.replace("-w 5", "-w 2147483648"),
        ROW.replace("-w 5", "-w 05"),
        ROW.replace("-w 5", "-w \u0665"),
    ],
)
def test_whatever_is_not_surely_right_is_left_to_the_reader_that_knows_the_language(text):
    assert Canonical().row(text) is None


@given(address, address, st.integers(0, 2**32), st.sampled_from("tu"))
def test_the_quick_way_reads_no_line_otherwise_than_the_long_way(vip, server, weight, letter):
    line = f"-a -{letter} {vip} -r {server} -m -w {weight}"
    quick = Canonical().row(line)
    if quick is None:
        return
    name, destination = quick
    # A blank more, and the line is canonical no longer.
    text = f"-A -{letter} {vip} -s rr\n{line} \n"

    assert parse(text, "f").ruleset == rules(service(name, destination))
    assert spell(parse(text.replace(" \n", "\n"), "f").ruleset) == text.replace(" \n", "\n")
