from ipaddress import ip_address, ip_interface

import pytest

from lvs_nat.core.questions import Connect, Dns, File, Http, Nothing, Ping, Script, Tcp
from lvs_nat.core.setup import Check, From, ServiceSetup, Setup, Target, Way
from lvs_nat.core.targets import Asker, Here
from lvs_nat.model import Forwarding, Mark
from tests.builders import RS1, VIP, real, tcp, udp

VIRTUAL, INSIDE = ip_interface("172.25.0.10/24"), ip_interface("192.168.122.100/24")
DIRECTOR = Here(frozenset({VIRTUAL, INSIDE}))
BACK = Target(RS1.endpoint, Check(way=Way(VIRTUAL.ip)), path=True)
PLAIN = Target(RS1.endpoint, Check())


def asked(*checks, name=None, row=RS1, here=Here()):  # noqa: B008
    setup = Setup(ServiceSetup(checks or (Check(),)))
    return Asker(setup, name or tcp(VIP), here).targets(row)


@pytest.mark.parametrize(
    "checks, name, endpoint, expected",
    [
        ((), tcp(VIP), "192.168.122.10:80", "192.168.122.10:80"),
        ((), tcp("172.25.0.10:0"), "192.168.122.10:0", None),
        ((), udp("172.25.0.10:53"), "192.168.122.10:53", None),
        ((), Mark(5), "192.168.122.10:80", None),
        ((Check(port=8080),), Mark(5), "192.168.122.10:0", "192.168.122.10:8080"),
        ((Check(port=8080),), udp(VIP), "192.168.122.10:80", "192.168.122.10:8080"),
        ((Check(port=81),), tcp(VIP), "192.168.122.10:80", "192.168.122.10:81"),
        ((Check(address=ip_address("10.1.1.1")),), tcp(VIP), "1.1.1.1:80", "10.1.1.1:80"),
        ((Check(Dns()),), udp(VIP), "192.168.122.10:53", "192.168.122.10:53"),
        ((Check(Dns()),), Mark(5), "192.168.122.10:0", None),
        ((Check(Ping()),), Mark(5), "192.168.122.10:0", "192.168.122.10:0"),
        ((Check(File("/x")),), tcp("172.25.0.10:0"), "192.168.122.10:0", "192.168.122.10:0"),
        ((Check(Nothing()),), tcp(VIP), "192.168.122.10:80", None),
    ],
)
def test_a_server_is_asked_what_says_something_about_it(checks, name, endpoint, expected):
    found = [str(who.endpoint) for who in asked(*checks, name=name, row=real(endpoint))]

    assert found == ([expected] if expected else [])


def test_several_checks_are_all_asked_and_equal_ones_once():
    page = Check(Http(path="/up"))

    assert asked(page, Check(Connect()), page) == (
        Target(RS1.endpoint, page),
        Target(RS1.endpoint, Check(Connect())),
    )


def test_a_script_is_told_the_virtual_service():
    check = Check(Script(("/bin/true",)))

    assert [it.check.question.virtual for it in asked(check)] == [("172.25.0.10", "80")]
    assert [it.check.question.virtual for it in asked(check, name=Mark(7))] == [("7", "")]


def test_a_question_may_come_from_the_virtual_address_or_another_one_of_ours():
    other = ip_address("192.168.122.101")

    assert [it.check.way.source for it in asked(Check(origin=From.VIRTUAL))] == [VIRTUAL.ip]
    assert [it.check.way.source for it in asked(Check(origin=other))] == [other]


FD = ip_interface("fd00:25::10/64")


@pytest.mark.parametrize(
    "here, row, tried",
    [
        (DIRECTOR, RS1, True),
        (Here(), RS1, False),  # the standby of a pair
        (Here(DIRECTOR.interfaces, masquerades=True), RS1, False),
        (DIRECTOR, real("172.25.0.20:80"), False),  # beside us on the clients' network
        (DIRECTOR, real("192.168.122.100:80"), False),  # the director itself
        (DIRECTOR, real("192.168.122.10:80", forwarding=Forwarding.DIRECT), False),
        (DIRECTOR, real("[fd00:122::10]:80"), False),
        (Here(frozenset({ip_interface("172.25.0.10/32"), INSIDE})), RS1, True),
    ],
)
def test_the_way_back_is_tried_where_a_question_travels_as_a_client_does(here, row, tried):
    assert any(who.path for who in asked(here=here, row=row)) is tried


def test_the_way_back_is_one_question_more_for_each_virtual_address():
    assert asked(here=DIRECTOR) == (PLAIN, BACK)
    assert asked(Check(Http()), Check(Connect()), here=DIRECTOR)[2:] == (
        Target(RS1.endpoint, Check(timeout=0.8, way=Way(VIRTUAL.ip)), path=True),
    )
    assert isinstance(BACK.check.question, Tcp)


@pytest.mark.parametrize("origin", [From.NONE, From.VIRTUAL, ip_address("10.1.1.1")])
def test_whoever_says_where_questions_come_from_is_not_asked_for_the_way_back(origin):
    assert not any(who.path for who in asked(Check(origin=origin), here=DIRECTOR))
