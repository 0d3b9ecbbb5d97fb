"""The table shared with the filter, on plain memory."""

import pytest

from lvs_nat.system import filters
from lvs_nat.system.slots import SIZE, Slots
from tests.builders import at

A, B, C = at("192.168.122.10:80"), at("192.168.122.20:80"), at("[fd00::20]:80")
MANY = [at(f"10.{n >> 12}.{n >> 4 & 255}.{n & 15}:80") for n in range(10_000)]


@pytest.fixture
def memory():
    return memoryview(bytearray(SIZE))


def keys(memory):
    """Return the keys that the filter would find."""
    held = {key for key in memory.cast("Q")[:: filters.SLOT // 8] if key & 1}
    return {key for key in held if found(memory, key)}


def found(memory, key):
    """Search as the filter does."""
    for bucket in filters.buckets(key):
        start = bucket * filters.BUCKET
        for held in memory[start : start + filters.BUCKET].cast("Q")[:: filters.SLOT // 8]:
            if held in (key, filters.UNUSED):
                return held == key
    return False


def key(endpoint):
    return filters.key(endpoint.address.packed, endpoint.port)


def written(memory, slots, endpoint, word, value):
    """Let the filter write *value* into a word of the slot of *endpoint*."""
    (place,) = [
        place
        for bucket in filters.buckets(key(endpoint))
        for place in range(bucket * filters.BUCKET, (bucket + 1) * filters.BUCKET, filters.SLOT)
        if memory[place : place + 8].cast("Q")[0] == key(endpoint)
    ]
    memory[place + word : place + word + 8].cast("Q")[0] = value


def test_the_watched_are_found_under_their_keys_and_nobody_else(memory):
    slots = Slots(memory)
    assert slots.watch([A, B, C]) == frozenset()
    assert keys(memory) == {key(A), key(B), key(C)}

    slots.watch([B])
    assert keys(memory) == {key(B)}


def test_of_those_that_stay_nothing_is_forgotten_and_of_those_that_return_all(memory):
    slots = Slots(memory)
    slots.watch([A, B])
    for endpoint in (A, B):
        written(memory, slots, endpoint, filters.SINCE, 2_500_000_000)
        written(memory, slots, endpoint, filters.ROUND_TRIP, 60_000_000)
    slots.watch([B])
    slots.watch([A, B])

    assert (slots.silent_since(A), slots.round_trip(A)) == (None, 0.0)
    assert slots.silent_since(B) == pytest.approx(2.5)
    assert slots.round_trip(B) == pytest.approx(0.06)


@pytest.mark.parametrize(
    "owing_since, heard, silent_since",
    [(0, 0, None), (0, 7, None), (3, 0, 3.0), (3, 2, 3.0), (3, 5, 5.0)],
)
def test_silent_is_who_owes_an_answer_and_has_sent_nothing_since(
    memory, owing_since, heard, silent_since
):
    slots = Slots(memory)
    slots.watch([A])
    written(memory, slots, A, filters.SINCE, owing_since * 10**9)
    written(memory, slots, A, filters.HEARD, heard * 10**9)

    assert slots.silent_since(A) == silent_since


def test_whoever_is_hushed_is_so_until_that_time(memory):
    slots = Slots(memory)
    slots.watch([A])
    slots.hush(A, 12.5)
    slots.hush(B, 12.5)

    assert 12_500_000_000 in memory.cast("Q")
    assert keys(memory) == {key(A)}


def test_what_the_memory_held_before_is_forgotten(memory):
    Slots(memory).watch([A, B])

    assert Slots(memory, used=True).silent_since(A) is None
    assert keys(memory) == set()


def test_of_those_that_are_not_watched_nothing_is_known(memory):
    assert Slots(memory).silent_since(A) is None
    assert Slots(memory).round_trip(A) == 0.0


def test_there_is_room_for_10_000_servers(memory):
    assert Slots(memory).watch(MANY) == frozenset()
    assert keys(memory) == {key(endpoint) for endpoint in MANY}


def test_those_that_stay_are_found_whoever_leaves(memory):
    crowd = [at(f"10.9.{n >> 8}.{n & 255}:443") for n in range(20_000)]
    slots = Slots(memory)
    slots.watch(crowd)
    slots.watch(crowd[::3])
    assert keys(memory) == {key(endpoint) for endpoint in crowd[::3]}

    slots.watch([*crowd[::3], *MANY])
    assert keys(memory) == {key(endpoint) for endpoint in [*crowd[::3], *MANY]}


def test_those_without_room_are_told_and_watched_once_there_is_some(memory):
    number = filters.BUCKETS * filters.SLOTS + 1
    crowd = [at(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}:443") for n in range(number)]
    slots = Slots(memory)
    left_out = slots.watch(crowd)

    assert left_out
    assert keys(memory) == {key(endpoint) for endpoint in set(crowd) - left_out}
    assert slots.watch(left_out) == frozenset()
