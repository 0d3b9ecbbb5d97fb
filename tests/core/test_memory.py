import re

import pytest

from lvs_nat.core import memory
from lvs_nat.core.health import Health, State
from lvs_nat.core.setup import Check, Target
from tests.builders import RS1, RS2

WHO, OTHER = Target(RS1.endpoint, Check()), Target(RS2.endpoint, Check())
KNOWN = Health(State.DOWN, since=12.5, falls=(3.0, 12.5))


def test_what_is_remembered_is_read_back():
    noted = memory.remember(
        "boot", False, "digest", "-A -t 10.0.0.1:80 -s rr\n", {WHO: KNOWN, OTHER: Health()}
    )
    found = memory.parse(memory.spell(noted))

    assert found == noted
    assert (found.health(WHO), found.health(OTHER)) == (KNOWN, None)


def test_a_streak_is_counted_anew_by_the_next_director():
    noted = memory.remember("b", True, "", "", {WHO: Health(State.FAILING, 1, 2.0)})

    assert memory.parse(memory.spell(noted)).health(WHO) == Health(State.FAILING, 0, 2.0)


WHOLE = memory.spell(memory.remember("boot", True, "digest", "", {WHO: KNOWN}))


@pytest.mark.parametrize("end", range(len(WHOLE)))
def test_a_torn_state_file_is_said_to_be_none(end):
    with pytest.raises(ValueError, match="not a state file"):
        memory.parse(WHOLE[:end])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"format": 2}',
        "[" * 100_000,
        WHOLE.replace("down", "dawn"),
        re.sub(r'"down", [0-9.]+', f'"down", {10**400}', WHOLE),
    ],
    ids=lambda text: text[:20],
)
def test_nonsense_is_said_to_be_no_state_file(text):
    with pytest.raises(ValueError, match="not a state file"):
        memory.parse(text)
