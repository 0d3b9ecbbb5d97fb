"""What is packed for the kernel, held to pyroute2's reading of it, and the other way round."""

import struct
from ipaddress import ip_address

import pytest
from pyroute2.netlink.generic.ipvs import ipvsmsg

from lvs_nat.core.plan import AddDestination, AddService, DelDestination, SetTimeouts, StartDaemon
from lvs_nat.model import (
    Counters,
    Destination,
    Forwarding,
    Listener,
    Mark,
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
from lvs_nat.system import ipvs_abi, ipvs_requests, ipvs_rows
from tests.builders import VIP, at, real, service, tcp

HEADERS = 20  # struct nlmsghdr, struct genlmsghdr
PERSISTENT, ONE_PACKET = 1, 4


def by_pyroute2(operation, part="IPVS_CMD_ATTR_SERVICE"):
    command, attributes = ipvs_requests.request(operation)
    header = struct.pack("=IHHIIBBxx", HEADERS + len(attributes), 99, 0, 1, 0, command, 1)
    message = ipvsmsg(header + attributes)
    message.decode()
    found = dict(message.get_attr(part)["attrs"])
    return command, {kind.split("_ATTR_")[1]: value for kind, value in found.items()}


def to_pyroute2(part, attributes):
    message = ipvsmsg()
    message["cmd"] = 1
    message["version"] = 1
    message["header"]["type"] = 99
    message["attrs"] = [[part, {"attrs": attributes}]]
    message.encode()
    return bytes(message.data), HEADERS, len(message.data)


@pytest.mark.parametrize(
    "row, expected",
    [
        (
            service(VIP, scheduler="wlc"),
            {
                "AF": 2,
                "PROTOCOL": 6,
                "ADDR": "172.25.0.10",
                "PORT": 80,
                "SCHED_NAME": "wlc",
                "FLAGS": {"flags": 0, "mask": 0x3D},
                "TIMEOUT": 0,
                "NETMASK": "255.255.255.255",
            },
        ),
        (
            Service(
                Listener(Transport.UDP, at("[fd00::1]:5060")),
                "sh",
                persistence=300,
                netmask=64,
                flags=SchedulerFlags.FLAG_1,
                one_packet=True,
                persistence_engine="sip",
            ),
            {
                "AF": 10,
                "PROTOCOL": 17,
                "ADDR": "fd00::1",
                "PORT": 5060,
                "SCHED_NAME": "sh",
                "FLAGS": {"flags": PERSISTENT | ONE_PACKET | 8, "mask": 0x3D},
                "TIMEOUT": 300,
                # pyroute2 has no other word for 64 as a machine's number.
                "NETMASK": str(ip_address(struct.pack("=I", 64))),
                "PE_NAME": "sip",
            },
        ),
        (
            service(Mark(2**32 - 1), persistence=1, netmask=ip_address("255.0.0.0")),
            {
                "AF": 2,
                "FWMARK": 2**32 - 1,
                "SCHED_NAME": "rr",
                "FLAGS": {"flags": PERSISTENT, "mask": 0x3D},
                "TIMEOUT": 1,
                "NETMASK": "255.0.0.0",
            },
        ),
    ],
)
def test_pyroute2_reads_the_service_we_ask_for(row, expected):
    command, found = by_pyroute2(AddService(row))

    assert command == ipvs_abi.NEW_SERVICE
    found["FLAGS"] = {key: found["FLAGS"][key] for key in ("flags", "mask")}
    assert found == expected


@pytest.mark.parametrize(
    "row, expected",
    [
        (
            real("10.0.0.1:8080", 7, upper_threshold=9, lower_threshold=3),
            {
                "ADDR": "10.0.0.1",
                "PORT": 8080,
                "ADDR_FAMILY": 2,
                "FWD_METHOD": 0,
                "WEIGHT": 7,
                "U_THRESH": 9,
                "L_THRESH": 3,
                "TUN_TYPE": 0,
                "TUN_PORT": 0,
                "TUN_FLAGS": 0,
            },
        ),
        (
            real(
                "[fd00::10]:80",
                forwarding=Forwarding.TUNNEL,
                tunnel=Tunnel(TunnelType.GUE, 6080, TunnelChecksum.REMOTE),
            ),
            {
                "ADDR": "fd00::10",
                "PORT": 80,
                "ADDR_FAMILY": 10,
                "FWD_METHOD": 2,
                "WEIGHT": 1,
                "U_THRESH": 0,
                "L_THRESH": 0,
                "TUN_TYPE": 1,
                # The kernel's is big-endian; pyroute2 reads it in the machine's order.
                "TUN_PORT": struct.unpack("=H", struct.pack("!H", 6080))[0],
                "TUN_FLAGS": 2,
            },
        ),
    ],
)
def test_pyroute2_reads_the_destination_we_ask_for(row, expected):
    operation = AddDestination(tcp(VIP), row)

    assert by_pyroute2(operation, "IPVS_CMD_ATTR_DEST") == (ipvs_abi.NEW_DEST, expected)
    assert by_pyroute2(operation)[1] == {
        "AF": 2,
        "PROTOCOL": 6,
        "ADDR": "172.25.0.10",
        "PORT": 80,
    }


def test_a_destination_is_deleted_by_its_name_alone():
    operation = DelDestination(tcp(VIP), at("10.0.0.1:80"))

    assert by_pyroute2(operation, "IPVS_CMD_ATTR_DEST") == (
        ipvs_abi.DEL_DEST,
        {"ADDR": "10.0.0.1", "PORT": 80, "ADDR_FAMILY": 2},
    )


def test_timeouts_are_three_numbers():
    message = ipvs_requests.request(SetTimeouts(Timeouts(900, 0, 300)))

    assert message == (
        ipvs_abi.SET_CONFIG,
        struct.pack("=HHI HHI HHI", 8, 4, 900, 8, 5, 0, 8, 6, 300),
    )


def test_a_daemon_is_started_with_what_is_given():
    _, attributes = ipvs_requests.request(StartDaemon(SyncDaemon(SyncRole.BACKUP, "eth1", 7)))

    body = struct.pack("=HHI HH5sxxx HHI", 8, 1, 2, 9, 2, b"eth1", 8, 3, 7)
    assert attributes == struct.pack("=HH", len(body) + 4, 3) + body


SERVICE = [
    ["IPVS_SVC_ATTR_AF", 2],
    ["IPVS_SVC_ATTR_PROTOCOL", 6],
    ["IPVS_SVC_ATTR_ADDR", "172.25.0.10"],
    ["IPVS_SVC_ATTR_PORT", 80],
    ["IPVS_SVC_ATTR_SCHED_NAME", "wrr"],
    ["IPVS_SVC_ATTR_FLAGS", {"flags": PERSISTENT | ONE_PACKET | 2 | 16, "mask": 2**32 - 1}],
    ["IPVS_SVC_ATTR_TIMEOUT", 300],
    ["IPVS_SVC_ATTR_NETMASK", "255.255.0.0"],
    ["IPVS_SVC_ATTR_PE_NAME", "sip"],
]
READ = Service(
    tcp(VIP),
    "wrr",
    persistence=300,
    netmask=ip_address("255.255.0.0"),
    flags=SchedulerFlags.FLAG_2,
    one_packet=True,
    persistence_engine="sip",
)


def test_we_read_the_service_that_pyroute2_packs():
    assert ipvs_rows.service(to_pyroute2("IPVS_CMD_ATTR_SERVICE", SERVICE)) == READ


def test_a_service_of_a_protocol_that_ipvs_does_not_balance_is_passed_over():
    odd = [["IPVS_SVC_ATTR_PROTOCOL", 99] if it[1] == 6 else it for it in SERVICE]

    assert ipvs_rows.service(to_pyroute2("IPVS_CMD_ATTR_SERVICE", odd)) is None


COUNTED = range(1, 11)
OLD_COUNTED = [11, 12, 13, 2**40, 2**41, 16, 17, 18, 19, 20]
NAMES = ["CONNS", "INPKTS", "OUTPKTS", "INBYTES", "OUTBYTES"]
NAMES += ["CPS", "INPPS", "OUTPPS", "INBPS", "OUTBPS"]


def stats(numbers):
    return {"attrs": [[f"IPVS_STATS_ATTR_{it}", n] for it, n in zip(NAMES, numbers)]}


def destination_row(*more):
    return to_pyroute2(
        "IPVS_CMD_ATTR_DEST",
        [
            ["IPVS_DEST_ATTR_ADDR_FAMILY", 2],
            ["IPVS_DEST_ATTR_ADDR", "10.0.0.1"],
            ["IPVS_DEST_ATTR_PORT", 8080],
            ["IPVS_DEST_ATTR_FWD_METHOD", 2],
            ["IPVS_DEST_ATTR_WEIGHT", 7],
            ["IPVS_DEST_ATTR_U_THRESH", 9],
            ["IPVS_DEST_ATTR_L_THRESH", 3],
            ["IPVS_DEST_ATTR_ACTIVE_CONNS", 21],
            ["IPVS_DEST_ATTR_INACT_CONNS", 22],
            ["IPVS_DEST_ATTR_PERSIST_CONNS", 23],
            ["IPVS_DEST_ATTR_STATS", stats(OLD_COUNTED)],
            *more,
        ],
    )


GRE = [["IPVS_DEST_ATTR_TUN_TYPE", 2], ["IPVS_DEST_ATTR_TUN_FLAGS", 1]]
GRE.append(["IPVS_DEST_ATTR_TUN_PORT", struct.unpack("=H", struct.pack("!H", 5))[0]])


@pytest.mark.parametrize(
    "more, tunnel",
    [([], Tunnel()), (GRE, Tunnel(TunnelType.GRE, 5, TunnelChecksum.FULL))],
    ids=["before Linux 5.3", "today"],
)
def test_we_read_the_destination_that_pyroute2_packs(more, tunnel):
    assert ipvs_rows.destination(destination_row(*more), 4) == Destination(
        at("10.0.0.1:8080"), 7, Forwarding.TUNNEL, 9, 3, tunnel
    )


@pytest.mark.parametrize(
    "more, totals",
    [([], OLD_COUNTED), ([["IPVS_DEST_ATTR_STATS64", stats(COUNTED)]], COUNTED)],
    ids=["before Linux 4.1", "today"],
)
def test_we_read_the_counters_that_pyroute2_packs(more, totals):
    assert ipvs_rows.counters(destination_row(*more)) == Counters(21, 22, 23, *totals)


def test_traffic_is_no_edit_but_a_weight_is():
    def row(weight, active, connections):
        return to_pyroute2(
            "IPVS_CMD_ATTR_DEST",
            [
                ["IPVS_DEST_ATTR_ADDR", "10.0.0.1"],
                ["IPVS_DEST_ATTR_PORT", 80],
                ["IPVS_DEST_ATTR_FWD_METHOD", 0],
                ["IPVS_DEST_ATTR_WEIGHT", weight],
                ["IPVS_DEST_ATTR_U_THRESH", 0],
                ["IPVS_DEST_ATTR_L_THRESH", 0],
                ["IPVS_DEST_ATTR_ACTIVE_CONNS", active],
                ["IPVS_DEST_ATTR_ADDR_FAMILY", 2],
                ["IPVS_DEST_ATTR_STATS64", stats([connections] * 10)],
            ],
        )

    first, second = ipvs_rows.identities([row(1, 0, 0), row(2, 0, 0)])

    assert ipvs_rows.identities([]) == []
    assert first != second
    assert ipvs_rows.identities([row(1, 5, 9), row(2, 6, 8)]) == [first, second]
    assert ipvs_rows.identities([row(2, 0, 0), row(3, 0, 0)])[0] == second
    assert ipvs_rows.identities([row(3, 0, 0)])[0] not in (first, second)


def test_info_is_a_version_and_a_size():
    row = struct.pack("=HHI HHI", 8, 1, 0x010203, 8, 2, 4096)

    assert ipvs_rows.info((row, 0, len(row))) == ((1, 2, 3), 4096)


def test_a_timeout_that_the_kernel_does_not_tell_is_none():
    row = struct.pack("=HHI", 8, 6, 300)

    assert ipvs_rows.timeouts((row, 0, len(row))) == Timeouts(udp=300)
