"""Names of a running director, with a resolver that the test plays and real child processes."""

import errno
import json
import logging
import os
import socket
import time
from contextlib import suppress
from functools import partial
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_nat.daemon.loop import Loop
from lvs_nat.daemon.naming import Naming, _parse, known
from lvs_nat.system.names import Known, Query
from tests.hostile import altered, damaged

OLD = Known(IPv4Address("192.168.122.10"), 1e9, old=True)
FRESH = OLD._replace(old=False)
WAS = "192.168.122.10, which it had at"


class Enough(Exception):
    """Ends a run of the loop, and not the loop: one that is stopped runs no more."""


class Town:
    """A director's names, a resolver that reads a file of them, and time that passes."""

    def __init__(self, folder):
        self.path = folder / "state" / "addresses.json"
        self.directory = folder / "hosts"
        self.directory.write_text("{}")
        self.loop = Loop()
        query = partial(Query, resolve=self._resolve)
        self.naming = Naming(self.path, self.loop, retry=0.02, query=query)

    def _resolve(self, host):
        hosts = json.loads(self.directory.read_text())
        if host not in hosts:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        if not hosts[host]:
            time.sleep(60)
        return hosts[host]

    def until(self, condition):
        """Let the director's loop turn until *condition* holds."""
        deadline = time.monotonic() + 10

        def look():
            if condition():
                raise Enough
            assert time.monotonic() < deadline
            self.loop.after("test", 0.005, look)

        self.loop.after("test", 0.0, look)
        with suppress(Enough):
            self.loop.run()


@pytest.fixture
def town(tmp_path):
    town = Town(tmp_path)
    yield town
    town.naming.close()
    town.loop.close()


def test_what_names_were_found_to_be_is_known_to_the_next_director(town):
    names = {"lvs01": FRESH, "lvs02": OLD}
    town.naming.take(names)

    assert known(town.path) == names
    assert town.path.stat().st_mode & 0o777 == 0o600


def test_names_that_are_as_they_should_be_are_not_looked_up_and_need_no_word(town):
    town.naming.take({"lvs01": FRESH})

    assert town.naming.remarks == []
    assert not town.loop.pending("names")


def test_rules_without_names_leave_no_file(town):
    town.naming.take({})

    assert not town.path.exists()
    assert not town.path.parent.exists()


def test_an_old_address_is_said_until_its_name_is_looked_up_again(town, caplog):
    caplog.set_level(logging.INFO)
    town.naming.take({"lvs01": OLD, "lvs02": FRESH})
    said = town.naming.remarks
    town.directory.write_text('{"lvs01": ["192.168.122.9", "192.168.122.10"]}')
    town.until(lambda: not town.naming.remarks)

    assert [words[: words.index(" 2001")] for words in said] == [
        f"lvs01 cannot be looked up: {WAS}"
    ]
    assert caplog.messages == ["lvs01 is looked up again, and is 192.168.122.10 as before"]
    assert not known(town.path)["lvs01"].old
    assert known(town.path)["lvs01"].found > 1e9
    assert not town.loop.pending("names")


def test_a_name_that_has_moved_is_said_once_and_left_to_a_reload(town, caplog):
    town.naming.take({"lvs01": OLD})
    town.directory.write_text('{"lvs01": ["192.168.122.11"]}')
    words = (
        "lvs01 is 192.168.122.11 now, the rules go on with 192.168.122.10: "
        "`lvs-nat reload` goes over to it"
    )
    town.until(lambda: town.naming.remarks == [words])
    rounds = [0]

    def third():
        rounds[0] += 1
        return rounds[0] > 20

    town.until(third)

    assert caplog.messages == [words]
    assert known(town.path) == {"lvs01": OLD}


def test_a_resolver_that_hangs_is_asked_anew_and_holds_nothing_up(town):
    town.naming.take({"lvs01": OLD})
    town.directory.write_text('{"lvs01": []}')
    town.until(lambda: town.naming._asking)
    first = town.naming._asking
    town.until(lambda: town.naming._asking is not first)
    town.directory.write_text('{"lvs01": ["192.168.122.10"]}')
    town.until(lambda: not town.naming.remarks)


def test_an_answer_about_rules_that_were_read_anew_meanwhile_is_nobodys(town):
    town.naming.take({"lvs01": OLD})
    town.directory.write_text('{"lvs01": ["192.168.122.10"]}')
    town.until(lambda: town.naming._asking)
    town.naming.take({"lvs02": OLD})
    town.directory.write_text('{"lvs02": ["192.168.122.10"]}')
    town.until(lambda: not town.naming.remarks)

    assert list(known(town.path)) == ["lvs02"]


def test_what_is_looked_up_when_a_successor_is_tried_is_looked_up_again_where_that_fails(town):
    town.naming.take({"lvs01": OLD})
    town.directory.write_text('{"lvs01": []}')
    town.until(lambda: town.naming._asking)
    town.naming.rest()
    hangs = town.naming._asking
    town.directory.write_text('{"lvs01": ["192.168.122.10"]}')
    town.until(lambda: not town.naming.remarks)

    assert hangs is None


def test_where_there_is_no_room_for_a_process_it_is_said_and_tried_again(town, caplog):
    lacking, query = [OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))], town.naming._query

    def ask(hosts):
        if lacking:
            raise lacking.pop()
        return query(hosts)

    town.naming = Naming(town.path, town.loop, retry=0.02, query=ask)
    town.naming.take({"lvs01": OLD})
    town.directory.write_text('{"lvs01": ["192.168.122.10"]}')
    town.until(lambda: not town.naming.remarks)

    assert caplog.messages == [
        "names cannot be looked up now: Resource temporarily unavailable",
        "lvs01 is looked up again, and is 192.168.122.10 as before",
    ]


def test_a_director_that_goes_on_in_the_place_of_another_knows_what_is_old(town):
    town.naming.take({"lvs01": OLD})
    town.naming.close()
    town.naming.take(None)

    assert len(town.naming.remarks) == 1
    assert town.loop.pending("names")


def test_a_file_that_cannot_be_written_is_said_and_the_director_goes_on(tmp_path, caplog):
    (tmp_path / "state").touch()
    town = Town(tmp_path)
    town.naming.take({"lvs01": FRESH})

    assert "names have no last good address" in caplog.text


ENTRIES = {"format": 1, "names": {"lvs01": ["192.168.122.10", 1e9, True]}}


@pytest.mark.fuzz
@given(altered(ENTRIES) | damaged(json.dumps(ENTRIES)) | st.text())
def test_whatever_the_file_holds_it_is_one_or_is_said_to_be_none(text):
    try:
        names = _parse(text)
    except ValueError:
        return
    for host, it in names.items():
        assert f"{host}{it}".isprintable()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": 2}', '{"format": 1, "names": {"a\\u001b": ["1.2.3.4", 0, 0]}}']
)
def test_a_file_that_is_none_is_said(tmp_path, caplog, text):
    (tmp_path / "addresses.json").write_text(text)

    assert known(tmp_path / "addresses.json") == {}
    assert "cannot be used" in caplog.text
