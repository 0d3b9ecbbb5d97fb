"""How the terminal hears from a director that has left it."""

import os
import resource

import pytest

from lvs_nat.daemon.detach import SILENT, bound_descriptors, listen, tell
from lvs_nat.errors import LvsNatError

LISTING = "".join(f"TCP  172.25.0.10:{port} rr — ünïcode\n" for port in range(20_000))


def heard(*words):
    """Return what the terminal's side makes of *words*, raw, on the pipe."""
    reading, writing = os.pipe()
    with open(writing, "wb") as pipe:
        for word in words:
            pipe.write(word)
    return listen(reading)


@pytest.mark.parametrize(
    "code, text, warnings",
    [
        (0, "TCP  172.25.0.10:80 rr\n", ()),
        (6, "/etc/sysconfig/ipvsadm:1: what is wrong\nand more", ("one", "two\nlines")),
        (0, "", ()),
        (1, "\n\n", ()),
    ],
)
def test_code_warnings_and_text_arrive_as_they_were_said(code, text, warnings):
    reading, writing = os.pipe()
    tell(writing, code, text, warnings)
    outcome = listen(reading)

    assert (outcome.code, outcome.warnings, "".join(outcome.text)) == (code, warnings, text)


def test_a_long_listing_is_shown_in_pieces_while_the_director_still_says_it():
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        tell(writing, 0, LISTING, ())
        os._exit(0)
    os.close(writing)
    pieces = list(listen(reading).text)
    os.waitpid(child, 0)

    assert "".join(pieces) == LISTING
    assert max(map(len, pieces)) <= 1 << 16


@pytest.mark.parametrize("words", [b"", b"[0, [", b"nonsense\n"])
def test_a_director_that_ends_before_it_has_spoken_is_told_as_a_failed_start(words):
    outcome = heard(words)

    assert (outcome.code, "".join(outcome.text)) == (1, SILENT)


def test_a_listing_that_breaks_off_is_no_success():
    outcome = heard(b"[0, [], 100]\n", b"TCP  172.25.0.10:80 rr\n")

    with pytest.raises(LvsNatError, match="the director ended"):
        "".join(outcome.text)


def test_a_director_goes_on_where_nobody_waits_any_more():
    reading, writing = os.pipe()
    os.close(reading)
    tell(writing, 0, LISTING, ())

    with pytest.raises(OSError, match="Bad file descriptor"):  # it is closed, as for whoever waits
        os.fstat(writing)


@pytest.mark.parametrize(
    "limits, bounded",
    [((512, 512), (512, 512)), ((512, 4096), (512, 1024)), ((4096, 4096), (1024, 1024))],
)
def test_a_director_can_have_no_more_descriptors_than_it_needs(limits, bounded):
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        bound_descriptors(1024)
        os._exit(resource.getrlimit(resource.RLIMIT_NOFILE) != bounded)

    assert os.waitpid(child, 0)[1] == 0
