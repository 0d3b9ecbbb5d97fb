"""What somebody may send or write who means harm: for hypothesis to make."""

import json

from hypothesis import strategies as st

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([-1, 2**31, 2**63, 10**400, float("inf"), float("nan"), -0.0])
    | st.floats()
    | st.text(max_size=20)
)


def values():
    """Return whatever JSON can say."""
    return st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=6)
        ),
        max_leaves=12,
    )


@st.composite
def damaged(draw, whole):
    """Return *whole*, a text or bytes, with a few pieces cut out, doubled, or put in."""
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(whole)))
        end = draw(st.integers(start, min(len(whole), start + 30)))
        other = draw(st.binary(max_size=8) if isinstance(whole, bytes) else st.text(max_size=8))
        piece = draw(st.sampled_from([whole[:0], whole[start:end] * 2, other]))
        whole = whole[:start] + piece + whole[end:]
    return whole


@st.composite
def altered(draw, value):
    """Return the text of *value*, which JSON can say, with something else in one place."""
    place, keys = value, []
    while isinstance(place, (dict, list)) and place and (not keys or draw(st.booleans())):
        every = list(place) if isinstance(place, dict) else range(len(place))
        keys.append(draw(st.sampled_from(list(every))))
        place = place[keys[-1]]
    return json.dumps(_with(value, keys, draw(values())))


def _with(value, keys, other):
    if not keys:
        return other
    if isinstance(value, dict):
        return {**value, keys[0]: _with(value[keys[0]], keys[1:], other)}
    return [_with(it, keys[1:], other) if n == keys[0] else it for n, it in enumerate(value)]
