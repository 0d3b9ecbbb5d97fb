"""One contract for the kernel's IPVS table and for the fake that stands in for it."""

import errno
import os
import random
import socket
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvs_nat.core.plan import (
    AddDestination,
    AddService,
    DelDestination,
    DelService,
    SetDestination,
    SetService,
    SetTimeouts,
    StartDaemon,
    StopDaemon,
    plan,
)
from lvs_nat.errors import NotInstalled, NotPrivileged
from lvs_nat.model import (
    WEIGHT_MAX,
    Counters,
    Forwarding,
    Listener,
    Mark,
    Ruleset,
    SchedulerFlags,
    Service,
    SyncDaemon,
    SyncRole,
    Timeouts,
    Transport,
    Tunnel,
    TunnelChecksum,
    TunnelType,
)
from lvs_nat.system.ipvs import Ipvs
from tests.builders import RS1, RS2, VIP, WEB, at, real, rules, service, tcp, udp
from tests.fakes import FakeIpvs

DEFAULT_TIMEOUTS = Timeouts(900, 120, 300)
GONE = tcp("172.25.0.99:80")


@pytest.fixture(params=["fake", pytest.param("kernel", marks=pytest.mark.kernel)])
def table(request):
    if request.param == "fake":
        yield FakeIpvs()
        return
    with Ipvs() as ipvs:
        clear(ipvs)
        yield ipvs
        clear(ipvs)


def clear(ipvs):
    ipvs.flush()
    ipvs.apply([StopDaemon(it) for it in ipvs.read().daemons.values()])
    ipvs.apply([SetTimeouts(DEFAULT_TIMEOUTS)])


def load(table, ruleset):
    return table.apply(plan(ruleset, table.read()))


def told(refusals):
    return [(it.operation, it.error.errno) for it in refusals]


TUNNELLED = {"forwarding": Forwarding.TUNNEL}
EVERYTHING = {
    "the tutorial's": service(VIP, RS1, RS2),
    "every option of a destination": service(
        VIP, real("10.0.0.1:8080", WEIGHT_MAX, upper_threshold=2**32 - 1, lower_threshold=7)
    ),
    "weight 0": service(VIP, real("10.0.0.1:80", 0)),
    "direct routing": service(VIP, real("10.0.0.1:80", forwarding=Forwarding.DIRECT)),
    "an ipip tunnel": service(VIP, real("10.0.0.1:80", **TUNNELLED, tunnel=Tunnel())),
    "a gue tunnel": service(
        VIP,
        real(
            "10.0.0.1:80",
            **TUNNELLED,
            tunnel=Tunnel(TunnelType.GUE, 6080, TunnelChecksum.REMOTE),
        ),
    ),
    "a gre tunnel": service(
        VIP,
        real("10.0.0.1:80", **TUNNELLED, tunnel=Tunnel(TunnelType.GRE, 0, TunnelChecksum.FULL)),
    ),
    "a tunnel to the other IP version": service(
        VIP, real("[fd00::10]:80", **TUNNELLED, tunnel=Tunnel())
    ),
    "udp, one packet": service(udp("172.25.0.10:53"), scheduler="wrr", one_packet=True),
    "sctp": service(Listener(Transport.SCTP, at("172.25.0.10:9899")), real("10.0.0.1:9899")),
    "ipv6": service("[fd00::1]:80", real("[fd00::10]:8080", 3), scheduler="wlc"),
    "persistence": service(VIP, RS1, persistence=300),
    "a netmask": service(VIP, persistence=60, netmask=ip_address("255.255.0.0")),
    "a netmask with holes": service(VIP, persistence=60, netmask=ip_address("255.0.255.0")),
    "an ipv6 prefix": service("[fd00::1]:80", persistence=60, netmask=64),
    "no port": service("172.25.0.10:0", real("10.0.0.1:0"), persistence=60),
    "scheduler flags": service(
        VIP, scheduler="sh", flags=SchedulerFlags.FLAG_1 | SchedulerFlags.FLAG_2
    ),
    "the third flag": service(VIP, scheduler="mh", flags=SchedulerFlags.FLAG_3),
    "a persistence engine": service(
        udp("172.25.0.10:5060"), persistence=300, persistence_engine="sip"
    ),
    "a mark": service(Mark(1), real("10.0.0.1:0", forwarding=Forwarding.DIRECT)),
    "the largest mark": service(Mark(2**32 - 1), real("10.0.0.1:0")),
    "an ipv6 mark": service(Mark(1, 6), real("[fd00::10]:0"), persistence=1, netmask=1),
}


@pytest.mark.parametrize("case", EVERYTHING)
def test_a_service_is_read_as_it_was_written(table, case):
    ruleset = rules(EVERYTHING[case], timeouts=DEFAULT_TIMEOUTS)

    assert load(table, ruleset) == ()
    assert table.read() == ruleset


def test_services_of_all_kinds_stand_side_by_side(table):
    ruleset = rules(*{it.name: it for it in EVERYTHING.values()}.values())

    assert load(table, ruleset) == ()
    assert table.read().services == ruleset.services
    assert plan(ruleset, table.read()) == ()


@pytest.mark.parametrize("before", EVERYTHING)
@pytest.mark.parametrize("after", ["the tutorial's", "persistence", "a gue tunnel", "weight 0"])
def test_one_service_is_edited_into_another(table, before, after):
    load(table, rules(EVERYTHING[before]))
    ruleset = rules(EVERYTHING[after])

    assert load(table, ruleset) == ()
    assert table.read().services == ruleset.services


@pytest.mark.parametrize(
    "written, read",
    [
        (
            service(VIP, persistence=9, netmask=ip_address("255.255.255.255")),
            service(VIP, persistence=9),
        ),
        (service(VIP, netmask=ip_address("255.255.0.0")), service(VIP)),
        (
            service("[fd00::1]:80", persistence=9, netmask=128),
            service("[fd00::1]:80", persistence=9),
        ),
        (
            service(VIP, real("10.0.0.1:80", **TUNNELLED)),
            service(VIP, real("10.0.0.1:80", **TUNNELLED, tunnel=Tunnel())),
        ),
    ],
)
def test_what_says_the_same_is_read_alike(table, written, read):
    load(table, rules(written))

    assert table.read().services == rules(read).services


def test_destinations_survive_an_edit_of_their_service(table):
    load(table, WEB)

    assert table.apply([SetService(service(VIP, scheduler="wlc", persistence=5))]) == ()
    assert (
        table.read().services
        == rules(service(VIP, RS1, RS2, scheduler="wlc", persistence=5)).services
    )


def test_timeouts_of_zero_stay_as_they_are(table):
    assert table.apply([SetTimeouts(Timeouts(tcp=100)), SetTimeouts(Timeouts(udp=50))]) == ()
    assert table.read().timeouts == Timeouts(100, 120, 50)


@pytest.mark.parametrize(
    "daemon",
    [
        SyncDaemon(SyncRole.MASTER, "lo", 3),
        SyncDaemon(SyncRole.BACKUP, "lo"),
        SyncDaemon(SyncRole.MASTER, "lo", 255, ip_address("224.0.0.99"), 9000, 3, 1200),
        SyncDaemon(SyncRole.BACKUP, "lo", 7, ip_address("ff02::99"), 9000, 3, 1200),
    ],
)
def test_a_sync_daemon_runs_as_asked_until_stopped(table, daemon):
    ruleset = Ruleset(daemons={daemon.role: daemon})

    assert load(table, ruleset) == ()
    assert plan(ruleset, table.read()) == ()
    assert table.apply([StopDaemon(daemon)]) == ()
    assert table.read().daemons == {}


NOBODY = service(GONE)
REFUSED = [
    (AddService(service(VIP)), errno.EEXIST, "is in the kernel's table already"),
    (AddService(service(GONE, scheduler="nope")), errno.ENOENT, "modprobe ip_vs_nope failed"),
    (
        AddService(service(GONE, persistence_engine="nope")),
        errno.ENOENT,
        "the persistence engine nope is not there",
    ),
    (
        AddService(service("[fd00::9]:80", persistence=1, netmask=129)),
        errno.EINVAL,
        "netmask cannot be used",
    ),
    (SetService(NOBODY), errno.ESRCH, "somebody has removed it"),
    (SetService(service(VIP, scheduler="nope")), errno.ENOENT, "the scheduler nope is not there"),
    (AddDestination(GONE, RS1), errno.ESRCH, "the virtual service is not in the kernel's table"),
    (AddDestination(tcp(VIP), RS1), errno.EEXIST, "is there already"),
    (AddDestination(tcp(VIP), real("10.0.0.9:80", -1)), errno.ERANGE, "(it is -1)"),
    (
        AddDestination(tcp(VIP), real("10.0.0.9:80", upper_threshold=1, lower_threshold=2)),
        errno.ERANGE,
        "the lower threshold (2) above the upper one (1)",
    ),
    (AddDestination(tcp(VIP), real("224.0.0.1:80")), errno.EINVAL, "its address is no host's"),
    (AddDestination(tcp(VIP), real("255.255.255.255:80")), errno.EINVAL, "is no host's"),
    (AddDestination(tcp(VIP), real("0.0.0.0:80")), errno.EINVAL, "is no host's"),
    (AddDestination(tcp("[fd00::1]:80"), real("[ff02::1]:80")), errno.EINVAL, "is no host's"),
    (AddDestination(tcp("[fd00::1]:80"), real("[fe80::1]:80")), errno.EINVAL, "is no host's"),
    (AddDestination(tcp(VIP), real("[fd00::10]:80")), errno.EINVAL, "only a tunnel reaches"),
    (
        AddDestination(tcp(VIP), real("10.0.0.9:80", **TUNNELLED, tunnel=Tunnel(TunnelType.GUE))),
        errno.EINVAL,
        "a gue tunnel needs a port",
    ),
    (SetDestination(GONE, RS1), errno.ESRCH, "somebody has removed it"),
    (SetDestination(tcp(VIP), real("10.0.0.9:80")), errno.ENOENT, "somebody has removed it"),
    (SetDestination(tcp(VIP), replace(RS1, weight=-1)), errno.ERANGE, "must not be negative"),
    (SetTimeouts(Timeouts(tcp=2**31 - 1)), errno.EINVAL, "too long"),
    (
        StartDaemon(SyncDaemon(SyncRole.MASTER, "eth77")),
        errno.ENODEV,
        "master sync daemon: there is no interface eth77",
    ),
    (
        StartDaemon(SyncDaemon(SyncRole.MASTER, "lo", group=ip_address("10.0.0.1"))),
        errno.EINVAL,
        "no multicast address",
    ),
]


@pytest.mark.parametrize("operation, number, words", REFUSED)
def test_a_refusal_says_what_is_wrong_and_changes_nothing(table, operation, number, words):
    load(table, rules(service(VIP, RS1, RS2), service("[fd00::1]:80")))
    before = table.read()

    [refusal] = table.apply([operation])

    assert (refusal.operation, refusal.error.errno) == (operation, number)
    assert words in str(refusal.error)
    assert table.read() == before


def test_a_daemon_that_runs_is_not_started_again(table):
    daemon = SyncDaemon(SyncRole.MASTER, "lo", 3)
    table.apply([StartDaemon(daemon)])

    assert told(table.apply([StartDaemon(daemon)])) == [(StartDaemon(daemon), errno.EEXIST)]


def test_a_running_daemon_forbids_destinations_of_the_other_ip_version(table):
    mixed = AddDestination(tcp(VIP), real("[fd00::10]:80", **TUNNELLED))
    load(table, WEB)
    table.apply([StartDaemon(SyncDaemon(SyncRole.MASTER, "lo"))])

    assert told(table.apply([mixed])) == [(mixed, errno.EINVAL)]


@pytest.mark.parametrize(
    "operation",
    [
        DelService(GONE),
        DelDestination(GONE, at("10.0.0.1:80")),
        DelDestination(tcp(VIP), at("10.0.0.99:80")),
        StopDaemon(SyncDaemon(SyncRole.BACKUP)),
    ],
)
def test_removing_what_is_gone_is_done(table, operation):
    load(table, WEB)

    assert table.apply([operation]) == ()


def test_a_refusal_stops_nothing_after_it(table):
    odd = [real(f"10.0.{i // 100}.{i % 100 + 1}:80", -1 if i % 7 == 3 else 1) for i in range(300)]
    adding = [AddDestination(tcp(VIP), it) for it in odd]

    refusals = table.apply([AddService(service(VIP)), *adding])

    assert told(refusals) == [(it, errno.ERANGE) for it in adding if it.destination.weight < 0]
    assert (
        table.read().services == rules(service(VIP, *(it for it in odd if it.weight > 0))).services
    )


def test_destinations_of_a_service_that_could_not_be_added_are_no_refusals_of_their_own(table):
    lost = service(VIP, *(real(f"10.0.0.{i}:80") for i in range(1, 200)), scheduler="nope")
    kept = service("172.25.0.11:80", RS1)

    refusals = load(table, rules(lost, kept))

    assert told(refusals) == [(AddService(replace(lost, destinations={})), errno.ENOENT)]
    assert table.read().services == rules(kept).services


def test_ten_thousand_destinations_arrive_whole(table):
    ruleset = rules(
        *(
            service(f"172.25.0.{i}:80", *(real(f"10.{i}.{j}.1:80", j) for j in range(100)))
            for i in range(100)
        )
    )

    assert load(table, ruleset) == ()
    assert table.read().services == ruleset.services
    assert plan(ruleset, table.read()) == ()


def test_every_destination_has_counters(table):
    load(table, WEB)

    snapshot = table.snapshot()

    assert snapshot.ruleset.services == WEB.services
    assert dict(snapshot.counters) == {
        (tcp(VIP), RS1.endpoint): Counters(),
        (tcp(VIP), RS2.endpoint): Counters(),
    }
    assert snapshot.counters.get((GONE, RS1.endpoint)) is None
    assert snapshot.counters.get((tcp(VIP), at("10.0.0.1:1"))) is None


def test_every_destination_has_its_connections_in_the_order_of_the_service(table):
    load(table, WEB)

    assert dict(table.snapshot().connections) == {tcp(VIP): [(0, 0), (0, 0)]}


@pytest.mark.kernel
def test_connections_are_counted_while_they_last():
    """Clients, services and real servers are all on loopback."""
    with Ipvs() as table, socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as stack:
        clear(table)
        stack.callback(table.flush)
        here = real("{}:{}".format(*server.getsockname()))
        closed = replace(here, endpoint=replace(here.endpoint, port=1))
        services = [service("127.9.9.1:80", closed, here), service("127.9.9.2:80", closed)]
        load(table, rules(*services))
        for name, count in (("127.9.9.1", 4), ("127.9.9.2", 3)):
            for _ in range(count):
                client = stack.enter_context(socket.socket())
                client.connect_ex((name, 80))

        snapshot = table.snapshot()
        assert {name: sorted(it) for name, it in snapshot.connections.items()} == {
            tcp("127.9.9.1:80"): [(0, 2), (2, 0)],
            tcp("127.9.9.2:80"): [(0, 3)],
        }
        live = {
            (name, endpoint): both
            for name, service in snapshot.ruleset.services.items()
            for endpoint, both in zip(service.destinations, snapshot.connections[name])
        }
        assert {row: (it.active, it.inactive) for row, it in snapshot.counters.items()} == live


def test_flushing_leaves_nothing(table):
    load(table, WEB)
    table.flush()

    assert table.read().services == {}


def test_info_tells_version_and_size(table):
    assert table.info().version == (1, 2, 1)
    assert table.info().size >= 256


def test_one_service_can_be_asked_for(table):
    load(table, WEB)

    assert (table.has(tcp(VIP)), table.has(GONE), table.has(Mark(7))) == (True, False, False)
    table.flush()
    assert not table.has(tcp(VIP))


def test_writes_are_counted(table):
    before = table.writes

    table.apply([AddService(service(VIP)), AddDestination(tcp(VIP), RS1)])
    table.apply([])
    table.read()

    assert table.writes - before == 2


ADDRESSES = [at("172.25.0.10:80"), at("172.25.0.10:443"), at("[fd00::1]:80")]
NAMES = [
    *(Listener(transport, it) for it in ADDRESSES for transport in Transport),
    Mark(1),
    Mark(1, 6),
]
HOSTS = ["10.0.0.1:80", "10.0.0.2:80", "127.0.0.1:80", "[fd00::10]:80"]
NO_HOSTS = ["224.0.0.1:80", "255.255.255.255:80", "[ff02::1]:80"]


def tunnels(ports):
    return st.builds(
        Tunnel, st.sampled_from(TunnelType), st.sampled_from(ports), st.sampled_from(TunnelChecksum)
    )


@st.composite
def destinations(
    draw,
    hosts=(*HOSTS, *NO_HOSTS),
    weights=(-1, 0, 1, WEIGHT_MAX),
    ports=(0, 6080),
    forwardings=tuple(Forwarding),
):
    forwarding = draw(st.sampled_from(forwardings))
    return real(
        draw(st.sampled_from(hosts)),
        draw(st.sampled_from(weights)),
        forwarding=forwarding,
        upper_threshold=draw(st.sampled_from([2, 7])),
        lower_threshold=draw(st.sampled_from([0, 2] if -1 not in weights else [0, 5])),
        tunnel=draw(tunnels(ports)) if forwarding is Forwarding.TUNNEL else None,
    )


@st.composite
def services(draw, schedulers=("rr", "wlc", "sh", "nope"), engines=("", "sip", "nope")):
    name = draw(st.sampled_from(NAMES))
    masks = [None, ip_address("255.255.0.255"), ip_address("255.255.255.255")]
    persistence = draw(st.sampled_from([0, 1, 86400]))
    return Service(
        name=name,
        scheduler=draw(st.sampled_from(schedulers)),
        persistence=persistence,
        netmask=draw(st.sampled_from(masks if name.version == 4 else [None, 1, 64, 128])),
        flags=SchedulerFlags(draw(st.integers(0, 7)) * SchedulerFlags.FLAG_1),
        one_packet=draw(st.booleans()),
        persistence_engine=draw(st.sampled_from(engines)),
    )


def operations():
    names, endpoints = st.sampled_from(NAMES), st.sampled_from([at(it) for it in HOSTS])
    return st.one_of(
        st.builds(AddService, services()),
        st.builds(AddService, services(("rr",), ("",))),
        st.builds(SetService, services()),
        st.builds(DelService, names),
        st.builds(AddDestination, names, destinations()),
        st.builds(AddDestination, names, destinations(HOSTS, (1,), (6080,))),
        st.builds(SetDestination, names, destinations()),
        st.builds(DelDestination, names, endpoints),
    )


ON_THE_KERNEL = settings(
    database=None,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.kernel
@ON_THE_KERNEL
@given(st.lists(operations(), max_size=60))
def test_the_fake_refuses_and_keeps_what_the_kernel_does(batch):
    fake = FakeIpvs()
    with Ipvs() as kernel:
        kernel.flush()
        for start in range(0, len(batch), 7):
            some = batch[start : start + 7]

            assert told(kernel.apply(some)) == told(fake.apply(some))
            assert kernel.read().services == fake.read().services


@st.composite
def rulesets(draw):
    table = {}
    for one in draw(st.lists(services(("rr", "wlc", "sh"), ("", "sip")), max_size=5)):
        hosts = [it for it in HOSTS if at(it).address.version == one.name.version]
        asked = [it for it in Forwarding if it is not Forwarding.LOCAL]  # which no rule asks for
        some = destinations(hosts, (0, 1, WEIGHT_MAX), (6080,), asked)
        rows = draw(st.lists(some, max_size=4))
        whole = one.netmask in (128, ip_address("255.255.255.255"))
        table[one.name] = replace(
            one,
            netmask=one.netmask if one.persistence and not whole else None,
            destinations={it.endpoint: it for it in rows},
        )
    return Ruleset(table, draw(st.none() | st.just(Timeouts(100, 0, 7))))


@pytest.mark.kernel
@ON_THE_KERNEL
@given(rulesets(), rulesets(), st.integers(0, 2**32))
def test_a_table_is_as_desired_after_its_plan_however_that_was_cut_short(first, second, seed):
    with Ipvs() as kernel:
        kernel.flush()
        assert load(kernel, first) == ()
        operations = plan(second, kernel.read())
        kernel.apply(operations[: random.Random(seed).randint(0, len(operations))])

        assert load(kernel, second) == ()
        assert plan(second, kernel.read()) == ()
        assert kernel.read().services == second.services


@pytest.mark.kernel
def test_a_table_made_by_ipvsadm_is_read():
    lines = [
        "-A -t 172.25.0.10:80 -s wrr -p 300 -M 255.255.255.0",
        "-a -t 172.25.0.10:80 -r 10.0.0.1:80 -m -w 5 -x 9 -y 3",
        "-a -t 172.25.0.10:80 -r 10.0.0.2:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
        "-A -f 4294967295 -6 -s rr",
        "-a -f 4294967295 -6 -r [fd00::10]:0 -g -w 7",
    ]
    subprocess.run(["ipvsadm", "-C"], check=True)
    subprocess.run(["ipvsadm", "-R"], input="\n".join(lines), text=True, check=True)

    with Ipvs() as kernel:
        assert (
            kernel.read().services
            == rules(
                service(
                    VIP,
                    real("10.0.0.1:80", 5, upper_threshold=9, lower_threshold=3),
                    real(
                        "10.0.0.2:80",
                        **TUNNELLED,
                        tunnel=Tunnel(TunnelType.GUE, 6080, TunnelChecksum.FULL),
                    ),
                    scheduler="wrr",
                    persistence=300,
                    netmask=ip_address("255.255.255.0"),
                ),
                service(Mark(2**32 - 1, 6), real("[fd00::10]:0", 7, forwarding=Forwarding.DIRECT)),
            ).services
        )


@pytest.mark.kernel
def test_what_nobody_edited_is_the_same_object_again():
    with Ipvs() as kernel:
        clear(kernel)
        load(kernel, rules(service(VIP, RS1, RS2), service("172.25.0.11:80", RS2)))
        before = kernel.read().services
        kernel.apply([SetDestination(tcp(VIP), replace(RS1, weight=99))])
        after = kernel.read().services
        kernel.flush()

    assert after[tcp("172.25.0.11:80")] is before[tcp("172.25.0.11:80")]
    assert after[tcp(VIP)] == service(VIP, replace(RS1, weight=99), RS2)
    old, new = (it[tcp(VIP)].destinations[RS2.endpoint] for it in (before, after))
    assert new is old


class Interrupted(Ipvs):
    """A table that somebody *spoils* while it is read, before the first or a later service."""

    def __init__(self, spoils, number):
        super().__init__()
        self._spoils, self._number = spoils, number

    def _destinations(self, service):
        self._number -= 1
        if self._number == 0:
            self._spoils()
        return super()._destinations(service)


@pytest.mark.kernel
@pytest.mark.parametrize("number", [1, 2])
def test_a_table_that_is_flushed_while_it_is_read_is_read_as_empty(number):
    both = rules(service(VIP, RS1, RS2), service("172.25.0.11:80", RS1))
    with Ipvs() as other:
        clear(other)
        load(other, both)
        with Interrupted(other.flush, 2 + number) as table:
            before = table.read()
            after = table.read()

    assert before.services == both.services
    assert after.services == {}


@pytest.mark.kernel
def test_who_is_not_root_is_told_so():
    child = os.fork()
    if not child:
        os.setuid(65534)
        try:
            Ipvs()
        except NotPrivileged as error:
            os._exit(error.exit_code)
        os._exit(99)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4


def has_ipvs():
    try:
        Ipvs().close()
    except NotInstalled:
        return False
    except NotPrivileged:
        pass
    return True


@pytest.mark.skipif(has_ipvs(), reason="this kernel has IPVS")
def test_a_kernel_without_ipvs_is_named():
    with pytest.raises(NotInstalled, match="this kernel has no IPVS: modprobe ip_vs failed") as it:
        Ipvs()

    assert it.value.exit_code == 5
