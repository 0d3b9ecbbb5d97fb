"""Rules, names and operations as ipvsadm has them typed."""

from ipaddress import IPv4Address, IPv6Address

import pytest

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
)
from lvs_nat.core.spelling import (
    spell,
    spell_address,
    spell_name,
    spell_operation,
)
from lvs_nat.model import (
    Endpoint,
    Forwarding,
    Listener,
    Mark,
    Ruleset,
    SchedulerFlags,
    SyncDaemon,
    SyncRole,
    Timeouts,
    Transport,
    Tunnel,
    TunnelChecksum,
    TunnelType,
)
from tests.builders import RS1, VIP, WEB, at, real, rules, service, tcp, udp

MASTER = SyncDaemon(SyncRole.MASTER, "eth1", 7)


@pytest.mark.parametrize(
    "operation, text",
    [
        (AddService(service(VIP)), "-A -t 172.25.0.10:80 -s rr"),
        (SetService(service(VIP, scheduler="wrr")), "-E -t 172.25.0.10:80 -s wrr"),
        (DelService(tcp(VIP)), "-D -t 172.25.0.10:80"),
        (
            AddDestination(tcp(VIP), RS1),
            "-a -t 172.25.0.10:80 -r 192.168.122.10:80 -m -w 5",
        ),
        (
            SetDestination(tcp(VIP), RS1),
            "-e -t 172.25.0.10:80 -r 192.168.122.10:80 -m -w 5",
        ),
        (DelDestination(Mark(7, 6), at("[fd00::20]:0")), "-d -f 7 -6 -r [fd00::20]:0"),
        (SetTimeouts(Timeouts(900, 0, 300)), "--set 900 0 300"),
        (StartDaemon(MASTER), "--start-daemon master --mcast-interface eth1 --syncid 7"),
        (
            StartDaemon(
                SyncDaemon(SyncRole.BACKUP, "eth0", 0, IPv6Address("ff02::81"), 8848, 3, 1400)
            ),
            "--start-daemon backup --mcast-interface eth0 --syncid 0 --mcast-group ff02::81"
            " --mcast-port 8848 --mcast-ttl 3 --sync-maxlen 1400",
        ),
        (StopDaemon(MASTER), "--stop-daemon master"),
    ],
)
def test_an_operation_is_spelled_as_the_arguments_of_ipvsadm(operation, text):
    assert spell_operation(operation) == text


@pytest.mark.parametrize(
    "name, text",
    [
        (tcp("10.0.0.1:80"), "-t 10.0.0.1:80"),
        (udp("[2001:db8::1]:53"), "-u [2001:db8::1]:53"),
        (Listener(Transport.SCTP, at("10.0.0.1:2905")), "--sctp-service 10.0.0.1:2905"),
        (Mark(4294967295), "-f 4294967295"),
        (Mark(1, 6), "-f 1 -6"),
    ],
)
def test_a_service_is_named_as_on_the_command_line(name, text):
    assert spell_name(name) == text


@pytest.mark.parametrize(
    "more, text",
    [
        ({"persistence": 60}, "-s rr -p 60"),
        (
            {"persistence": 60, "netmask": IPv4Address("255.255.255.0")},
            "-s rr -p 60 -M 255.255.255.0",
        ),
        ({"persistence_engine": "sip", "one_packet": True}, "-s rr --pe sip -o"),
        ({"flags": SchedulerFlags(0x38)}, "-s rr -b flag-1,flag-2,flag-3"),
        ({"flags": SchedulerFlags(0x18), "scheduler": "sh"}, "-s sh -b sh-fallback,sh-port"),
        ({"flags": SchedulerFlags(0x10), "scheduler": "mh"}, "-s mh -b mh-port"),
        ({"flags": SchedulerFlags(0x28), "scheduler": "sh"}, "-s sh -b sh-fallback,flag-3"),
    ],
)
def test_the_options_of_a_service_stand_in_ipvsadms_order(more, text):
    assert spell(rules(service(udp(VIP), **more))) == f"-A -u 172.25.0.10:80 {text}\n"


@pytest.mark.parametrize(
    "more, text",
    [
        ({}, "-m -w 1"),
        ({"forwarding": Forwarding.DIRECT}, "-g -w 1"),
        ({"forwarding": Forwarding.LOCAL}, "-g -w 1"),
        ({"forwarding": Forwarding.TUNNEL}, "-i -w 1 --tun-type ipip"),
        (
            {
                "forwarding": Forwarding.TUNNEL,
                "tunnel": Tunnel(TunnelType.GRE, 0, TunnelChecksum.FULL),
            },
            "-i -w 1 --tun-type gre --tun-csum",
        ),
        (
            {
                "forwarding": Forwarding.TUNNEL,
                "tunnel": Tunnel(TunnelType.GUE, 6080, TunnelChecksum.REMOTE),
                "upper_threshold": 9,
            },
            "-i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum -x 9",
        ),
        ({"upper_threshold": 10, "lower_threshold": 5}, "-m -w 1 -x 10 -y 5"),
    ],
)
def test_the_options_of_a_destination_stand_in_ipvsadms_order(more, text):
    row = spell_operation(AddDestination(tcp(VIP), real("192.168.122.10:80", **more)))

    assert row == f"-a -t 172.25.0.10:80 -r 192.168.122.10:80 {text}"


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1",
        "2001:db8::1",
        "::",
        "::1",
        "::ffff",
        "::0.1.0.2",
        "::1.2.0.0",
        "::ffff:1.2.3.4",
        "::ffff:0.0.1.2",
        "::ffff:0.0.0.0",
        "1:0:2:3:4:5:6:7",
        "1::2:0:0:5:6",
    ],
)
def test_an_address_is_spelled_as_by_the_c_library(text):
    kind = IPv6Address if ":" in text else IPv4Address

    assert spell_address(kind(text)) == text


def test_timeouts_come_first_and_sync_daemons_last():
    whole = Ruleset(WEB.services, Timeouts(10, 20, 30), {SyncRole.MASTER: MASTER})

    assert spell(whole) == (
        "--set 10 20 30\n"
        "-A -t 172.25.0.10:80 -s rr\n"
        "-a -t 172.25.0.10:80 -r 192.168.122.10:80 -m -w 5\n"
        "-a -t 172.25.0.10:80 -r 192.168.122.20:80 -m -w 10\n"
        "--start-daemon master --mcast-interface eth1 --syncid 7\n"
    )


def test_a_mixed_table_is_spelled_in_ipvsadms_order():
    table = rules(service(Mark(7)), service("192.0.2.1:80"), service("10.0.0.1:80"))

    assert spell(table) == "-A -t 192.0.2.1:80 -s rr\n-A -t 10.0.0.1:80 -s rr\n-A -f 7 -s rr\n"


def test_an_endpoint_is_spelled_with_its_port_even_if_that_is_none():
    assert spell_name(Listener(Transport.TCP, Endpoint(IPv4Address("10.0.0.1"), 0))) == (
        "-t 10.0.0.1:0"
    )
