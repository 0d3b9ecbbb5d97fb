"""Refusals that no healthy kernel gives on demand; tests/system/test_ipvs.py has the others."""

import errno

import pytest

from lvs_nat.core.plan import (
    AddDestination,
    AddService,
    DelDestination,
    DelService,
    SetTimeouts,
    StartDaemon,
)
from lvs_nat.model import SyncDaemon, SyncRole, Timeouts
from lvs_nat.system.refusals import collect, sentence
from tests.builders import RS1, VIP, at, service, tcp

WEB = tcp(VIP)
SIX = service("[fd00::1]:80")


@pytest.mark.parametrize(
    "operation, number, expected",
    [
        (
            AddService(SIX),
            errno.EAFNOSUPPORT,
            "virtual service tcp [fd00::1]:80: "
            "this kernel's IPVS cannot do IPv6 (CONFIG_IP_VS_IPV6)",
        ),
        (
            AddDestination(WEB, RS1),
            errno.ENOMEM,
            "real server 192.168.122.10:80 of tcp 172.25.0.10:80: the kernel is short of memory",
        ),
        (
            DelDestination(WEB, at("192.168.122.10:80")),
            errno.EPERM,
            "real server 192.168.122.10:80 of tcp 172.25.0.10:80: root (CAP_NET_ADMIN) is needed",
        ),
        (
            DelService(WEB),
            errno.ENOPROTOOPT,
            "virtual service tcp 172.25.0.10:80: IPVS is being unloaded from the kernel",
        ),
        (SetTimeouts(Timeouts(1)), errno.EIO, "timeouts: Input/output error"),
        (
            StartDaemon(SyncDaemon(SyncRole.BACKUP, "eth1")),
            errno.EADDRNOTAVAIL,
            "backup sync daemon: interface eth1 has no address of the group's kind",
        ),
    ],
)
def test_an_errno_is_a_sentence(operation, number, expected):
    assert sentence(operation, number) == expected


def test_a_service_that_was_there_already_takes_no_refusal_with_it():
    adding, serving = AddService(service(VIP)), AddDestination(WEB, RS1)

    refusals = collect([(adding, errno.EEXIST), (serving, errno.ESRCH)])

    assert [it.operation for it in refusals] == [adding, serving]
