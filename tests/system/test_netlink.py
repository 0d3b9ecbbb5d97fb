"""The socket is tried on the family that every kernel has: the list of families itself."""

import errno
import socket

import pytest

from lvs_nat.errors import KernelError
from lvs_nat.system.netlink import (
    BATCH,
    CTRL_ATTR_FAMILY_ID,
    CTRL_ATTR_FAMILY_NAME,
    CTRL_CMD_GETFAMILY,
    GENL_ID_CTRL,
    Channel,
    attribute,
    nested,
    offsets,
)

UNKNOWN_COMMAND = 250
QUESTION = attribute(CTRL_ATTR_FAMILY_NAME, b"nlctrl\0")


@pytest.fixture
def channel():
    channel = Channel("nlctrl", 2, timeout=5)
    yield channel
    channel.close()


def number(span):
    place = offsets(span)[CTRL_ATTR_FAMILY_ID]
    return int.from_bytes(span[0][place : place + 2], "little")


@pytest.mark.parametrize("payload", [b"", b"1", b"12", b"123", b"1234", b"12345"])
def test_attributes_are_found_where_they_were_packed(payload):
    packed = attribute(7, payload) + attribute(8, b"after")

    assert len(packed) % 4 == 0
    assert offsets((packed, 0, len(packed))) == {7: 4, 8: len(attribute(7, payload)) + 4}
    assert nested(packed, 4) == (packed, 4, 4 + len(payload))


def test_an_attribute_without_length_is_no_endless_loop():
    with pytest.raises(KernelError, match="cannot be read"):
        offsets((bytes(8), 0, 8))


def test_a_question_has_one_answer(channel):
    assert number(channel.ask(CTRL_CMD_GETFAMILY, QUESTION)) == GENL_ID_CTRL


def test_a_list_has_all_its_rows(channel):
    assert GENL_ID_CTRL in map(number, channel.dump(CTRL_CMD_GETFAMILY))


def test_a_family_that_the_kernel_lacks_is_no_entry():
    with pytest.raises(KernelError) as caught:
        Channel("no such family", 1, timeout=5)

    assert caught.value.errno == errno.ENOENT


def test_each_refused_request_of_a_batch_is_told_by_its_place(channel):
    good, bad = (CTRL_CMD_GETFAMILY, QUESTION), (UNKNOWN_COMMAND, b"")
    missing = (CTRL_CMD_GETFAMILY, attribute(CTRL_ATTR_FAMILY_NAME, b"none\0"))

    assert channel.send([bad] * BATCH) == dict.fromkeys(range(BATCH), errno.EOPNOTSUPP)
    assert channel.send([bad, missing]) == {0: errno.EOPNOTSUPP, 1: errno.ENOENT}
    assert number(channel.ask(*good)) == GENL_ID_CTRL


def test_a_silent_kernel_is_not_waited_for_for_ever(channel):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.settimeout(0.01)
    channel._socket.close()
    channel._socket = ours

    with pytest.raises(KernelError, match="answer was lost, so its table must be read") as caught:
        channel.ask(CTRL_CMD_GETFAMILY, QUESTION)

    theirs.close()
    assert caught.value.errno == errno.ETIMEDOUT
    assert number(channel.ask(CTRL_CMD_GETFAMILY, QUESTION)) == GENL_ID_CTRL


def test_answers_that_overrun_the_buffer_are_told_lost(channel):
    channel._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)

    with pytest.raises(KernelError, match="answer was lost") as caught:
        channel.send([(UNKNOWN_COMMAND, b"")] * BATCH)

    assert caught.value.errno == errno.ENOBUFS
    assert number(channel.ask(CTRL_CMD_GETFAMILY, QUESTION)) == GENL_ID_CTRL
