import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lvs_nat.core.canonical import Canonical
from lvs_nat.core.rules import parse
from lvs_nat.core.spelling import spell
from lvs_nat.errors import ConfigError
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


VIPS = ("-t 172.25.0.10:80", "-t 172.25.0.11:80")
SERVERS = ("192.168.122.10:80", "192.168.122.20:80")
LINE = st.one_of(
    st.builds("-a {} -r {} -m -w {}".format, *map(st.sampled_from, (VIPS, SERVERS, (1, 2)))),
    st.builds("-d {} -r {}".format, *map(st.sampled_from, (VIPS, SERVERS))),
    st.builds("{} {} -s rr".format, *map(st.sampled_from, (("-A", "-E"), VIPS))),
    st.builds("-D {}".format, st.sampled_from(VIPS)),
    st.sampled_from(("", "-C")),
)
ROWS = st.lists(LINE, max_size=12).map(lambda lines: "".join(f"{line}\n" for line in lines))
BEGINNING = "".join(f"-A {vip} -s rr\n" for vip in VIPS)
TEXT = st.builds("".join, st.tuples(st.sampled_from(("", BEGINNING)), ROWS))
EVERY_ROW = "".join(
    f"-a {vip} -r {server} -m -w {weight}\n"
    for weight in (1, 2)
    for vip in VIPS
    for server in SERVERS
)


def meaning(text, **more):
    try:
        parsed = parse(text, "f", **more)
    except ConfigError as error:
        return [(it.line, it.message) for it in error.problems]
    return parsed.ruleset, list(map(str, parsed.ruleset.services.values())), parsed.warnings


def read(text):
    """Return the canonical rows of *text*, each as it is read where it stands alone."""
    lines = filter(None, text.split("\n"))
    return {it: parse(f"{BEGINNING}{it}\n", "f").rows[it] for it in lines}


@given(TEXT)
@example(f"-A -t 172.25.0.10:80 -s rr\n{ROW}\n-C\n{ROW.replace('122.10', '122.20')}\n")
@example(f"-A -t 172.25.0.10:80 -s rr\n{ROW}\n-D -t 172.25.0.10:80\n{ROW[:-1]}9\n")
@example(f"{BEGINNING}{ROW}\n{ROW}\n")
def test_a_text_means_the_same_the_quick_way_and_the_long_way(text):
    assert meaning(text) == meaning(text.replace("\n", " \n"))


@given(TEXT)
@example(BEGINNING + EVERY_ROW.splitlines(True)[0] * 2)
def test_a_text_that_is_read_after_another_means_what_it_means_by_itself(text):
    assert meaning(text, before=read(EVERY_ROW)) == meaning(text)


def test_what_was_read_is_not_read_again_and_only_the_latest_text_is_remembered():
    service, other = "-A -t 172.25.0.10:80 -s rr\n", ROW.replace("122.10", "122.20")
    before = parse(f"{service}{ROW}\n{other}\n", "f")
    after = parse(f"{service}{ROW}\n", "f", before=before.rows)

    assert before.rows.keys() == {ROW, other}
    assert after.rows.keys() == {ROW}
    assert after.rows[ROW] is before.rows[ROW]
