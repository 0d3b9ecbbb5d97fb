"""What all daemons are told to check, in the words of each of their configurations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lvs_nat.lab.animals import datagrams, http, tls


@dataclass(frozen=True)
class Pool:
    """Real servers (ADDRESS:PORT) that are asked alike; kind is a key of KINDS.

    Times are in seconds; timeout is that of a connection for the kinds that only connect.
    """

    kind: str
    servers: tuple[str, ...]
    interval: float = 1.0
    timeout: float = 1.0

    def split(self, size: int) -> Iterator[Pool]:
        """Yield pools of at most *size* servers each: one virtual service has no thousands."""
        for start in range(0, len(self.servers), size):
            yield Pool(self.kind, self.servers[start : start + size], self.interval, self.timeout)


@dataclass(frozen=True)
class Kind:
    """One question: in lvs-nat.conf, a checker of keepalived, lines of ldirectord.cf.

    None is where a program has no check of this kind.  TIMEOUT stands for the time-out,
    AUTHORITY for the file of the zoo's certificate authority.
    """

    ours: Mapping[str, str]
    keepalived: tuple[str, ...] | None = None
    ldirectord: tuple[str, ...] | None = None
    protocol: str = "tcp"


def _hex(data: bytes) -> str:
    return " ".join(f"{byte:02x}" for byte in data)


_TIMEOUT = "connect_timeout TIMEOUT"
_TCP_CHECK = ("TCP_CHECK {", _TIMEOUT, "}")
_URL = ("url {", "path /", "status_code 200-299", f'regex "{http.TEXT}"', "}")
_CONNECT = ("checktype=connect",)
_NEGOTIATE = "checktype=negotiate"
_PAGE = (_NEGOTIATE, 'request="/"', f'receive="{http.TEXT}"')
_TLS = {"server_name": tls.NAME, "verify": "name", "ca": "AUTHORITY"}

KINDS: Mapping[str, Kind] = {
    "tcp": Kind({"check": "tcp"}, _TCP_CHECK, _CONNECT),
    "connect": Kind({"check": "connect"}, _TCP_CHECK, _CONNECT),
    "syn": Kind({"check": "syn"}, _TCP_CHECK, _CONNECT),
    # The status alone: for what an HTTP check costs.
    "status": Kind(
        {"check": "http"},
        ("HTTP_GET {", "url {", "path /", "status_code 200", "}", _TIMEOUT, "}"),
        ("service=http", _NEGOTIATE, 'request="/"'),
    ),
    "http": Kind(
        {"check": "http", "contains": f'"{http.TEXT}"'},
        ("HTTP_GET {", *_URL, _TIMEOUT, "}"),
        ("service=http", *_PAGE),
    ),
    "https": Kind(
        {"check": "https", "contains": f'"{http.TEXT}"', **_TLS},
        ("SSL_GET {", "enable_sni", f"virtualhost {tls.NAME}", *_URL, _TIMEOUT, "}"),
        ("service=https", *_PAGE, f'virtualhost="{tls.NAME}"'),
    ),
    "tls": Kind({"check": "tls", **_TLS}),
    "smtp": Kind(
        {"check": "smtp"},
        ("SMTP_CHECK {", _TIMEOUT, "helo_name bench.example", "}"),
        ("service=smtp", _NEGOTIATE),
    ),
    "dns": Kind(
        {"check": "dns", "query": datagrams.NAME, "type": "A", "answer": str(datagrams.ADDRESS)},
        ("DNS_CHECK {", "type A", f"name {datagrams.NAME}", _TIMEOUT, "}"),
        (
            "service=dns",
            _NEGOTIATE,
            f'request="{datagrams.NAME}"',
            f'receive="{datagrams.ADDRESS}"',
        ),
        "udp",
    ),
    "udp": Kind(
        {
            "check": "udp",
            "send": f'"{datagrams.ASKED.decode()}"',
            "receive": f'"{datagrams.ANSWERED.decode()}"',
        },
        (
            "UDP_CHECK {",
            f"payload {_hex(datagrams.ASKED)}",
            f"require_reply {_hex(datagrams.ANSWERED)}",
            _TIMEOUT,
            "}",
        ),
        None,
        "udp",
    ),
}
