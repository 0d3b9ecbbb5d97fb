"""What a check can ask a real server: one frozen value for each kind of question.

A question knows nothing of times and of counting; two checks that ask the same of the same
endpoint are told apart by those.  Every default is here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, NamedTuple, Union, get_args


class CheckKind(Enum):
    """The kind of question a check asks, by the word that asks for it in lvs-nat.conf."""

    TCP = "tcp"  # half-open: SYN, SYN-ACK, RST; the application never sees it
    CONNECT = "connect"
    SYN = "syn"
    IDLE = "idle"
    TLS = "tls"
    HTTP = "http"
    GRPC = "grpc"
    DNS = "dns"
    UDP = "udp"
    RADIUS = "radius"
    PING = "ping"
    EXPECT = "expect"
    AGENT = "agent"
    SCRIPT = "script"
    FILE = "file"
    BFD = "bfd"
    NONE = "none"


class Verify(Enum):
    """How far a server's certificate is believed: not looked at, its chain, its name too."""

    NONE = "none"
    CHAIN = "chain"
    NAME = "name"


class Style(Enum):
    """What the exit status of a check script means.

    plain: 0 passes.  nagios: 0 and 1 pass, 2 fails, 3 is unknown.  keepalived: 0 passes, 1
    fails, 2 to 255 pass with a weight of status - 2.  ldirectord: 0 passes; it is called with
    the virtual address and port and the real ones.
    """

    PLAIN = "plain"
    NAGIOS = "nagios"
    KEEPALIVED = "keepalived"
    LDIRECTORD = "ldirectord"


class Verb(Enum):
    """What one step of a conversation does."""

    SEND = "send"
    EXPECT = "expect"
    TLS = "tls"  # go over to TLS now (STARTTLS)


class Step(NamedTuple):
    """One step of a conversation: bytes to send, or a regular expression for what comes."""

    verb: Verb
    data: bytes = b""


@dataclass(frozen=True)
class Nothing:
    """Ask nothing; the server is taken to be well."""

    kind: ClassVar[CheckKind] = CheckKind.NONE


@dataclass(frozen=True)
class Tcp:
    """Does a SYN bring a SYN-ACK?  One plain socket each; no privilege."""

    kind: ClassVar[CheckKind] = CheckKind.TCP


HALF_OPEN = Tcp()


@dataclass(frozen=True)
class Connect:
    """Does the whole handshake succeed?  reset closes with RST instead of FIN."""

    kind: ClassVar[CheckKind] = CheckKind.CONNECT
    reset: bool = False


@dataclass(frozen=True)
class Syn:
    """The same as Tcp through one raw socket for all servers."""

    kind: ClassVar[CheckKind] = CheckKind.SYN


@dataclass(frozen=True)
class Idle:
    """Can one connection be kept open?  Its end is noticed at once and asks all again."""

    kind: ClassVar[CheckKind] = CheckKind.IDLE


@dataclass(frozen=True)
class Tls:
    """Does the TLS handshake succeed, and is the certificate good?

    server_name is sent as SNI (nothing is sent for ""), and is the name that Verify.NAME
    wants.  ca is a file of trusted certificates, "" for the system's.  min_days is how long
    the certificate must still be valid.  alpn is a protocol that must be agreed on.
    certificate and key are files of our own.
    """

    kind: ClassVar[CheckKind] = CheckKind.TLS
    server_name: str = ""
    verify: Verify = Verify.NONE
    ca: str = ""
    min_days: int = 0
    alpn: str = ""
    certificate: str = ""
    key: str = ""


@dataclass(frozen=True)
class Http:
    """Is one request answered as it should be?

    host "" sends the endpoint.  headers are whole lines, "Name: value".  login is
    "user:password" for basic authentication.  status are inclusive ranges of good status
    codes.  Of the rest all that is given must hold of the body: it contains text, regex
    matches somewhere, digest is its SHA-256 or MD5 in hex, the value at the JSON pointer
    before "=" in json equals what is behind it.  redirects is how many are followed.
    """

    kind: ClassVar[CheckKind] = CheckKind.HTTP
    path: str = "/"
    method: str = "GET"
    host: str = ""
    headers: tuple[str, ...] = ()
    login: str = ""
    body: str = ""
    status: tuple[tuple[int, int], ...] = ((200, 299),)
    text: str = ""
    regex: str = ""
    digest: str = ""
    json: str = ""
    redirects: int = 0
    tls: Tls | None = None


@dataclass(frozen=True)
class Grpc:
    """Does gRPC's health protocol say SERVING of the service ("" for the whole server)?"""

    kind: ClassVar[CheckKind] = CheckKind.GRPC
    service: str = ""
    tls: Tls | None = None


@dataclass(frozen=True)
class Dns:
    """Is a DNS question answered, with rcode and, where given, with this answer in it?"""

    kind: ClassVar[CheckKind] = CheckKind.DNS
    name: str = "."
    type: str = "SOA"
    answer: str = ""
    rcode: str = "NOERROR"
    tcp: bool = False


@dataclass(frozen=True)
class Udp:
    """Is a datagram answered?

    Where no answer is required, silence says nothing at all (the server is unchecked) and
    only an ICMP error fails.  expect is compared with the beginning of the answer, where mask
    has one bits.  least and most bound its length in bytes.
    """

    kind: ClassVar[CheckKind] = CheckKind.UDP
    send: bytes = b""
    reply: bool = False
    expect: bytes = b""
    mask: bytes = b""
    least: int = 0
    most: int = 65535


@dataclass(frozen=True)
class Radius:
    """Does a RADIUS server answer Status-Server (RFC 5997), or accept a login where given?"""

    kind: ClassVar[CheckKind] = CheckKind.RADIUS
    secret: str = ""
    login: str = ""


@dataclass(frozen=True)
class Ping:
    """Is one of *count* ICMP echo requests with *size* bytes of data answered?"""

    kind: ClassVar[CheckKind] = CheckKind.PING
    count: int = 1
    size: int = 56


@dataclass(frozen=True)
class Expect:
    """Does a conversation go as its steps say?  name is the preset it was made by.

    What is expected is searched for in what has come since the last match; what a group of it
    called fail finds, as in 220 |(?P<fail>5.*\\n), is a refusal, and where one called done
    finds anything, if only that nothing is there, the next two steps are left out.  tls is
    there where the conversation begins with TLS (immediate), or a step goes over to it.
    """

    kind: ClassVar[CheckKind] = CheckKind.EXPECT
    steps: tuple[Step, ...] = ()
    name: str = ""
    tls: Tls | None = None
    immediate: bool = False


@dataclass(frozen=True)
class Agent:
    """What does HAProxy's agent protocol say?  send is said first, if anything."""

    kind: ClassVar[CheckKind] = CheckKind.AGENT
    send: bytes = b""


@dataclass(frozen=True)
class Script:
    """How does a program end?  command is its absolute path and its arguments.

    In arguments %h is the real server's address, %p its port, %v the virtual address and %V
    the virtual port.  virtual is what the last two are, as text.
    """

    kind: ClassVar[CheckKind] = CheckKind.SCRIPT
    command: tuple[str, ...] = ()
    style: Style = Style.PLAIN
    virtual: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class File:
    """What does a file say: a weight (a number, or a percentage), up, down, drain?

    In its path %h and %p are the real server's address and port.  absent is whether a file
    that is not there means well.
    """

    kind: ClassVar[CheckKind] = CheckKind.FILE
    path: str = ""
    absent: bool = True


@dataclass(frozen=True)
class Bfd:
    """Is the BFD session with the server up, as FRR (vtysh) or BIRD (birdc) hold it?"""

    kind: ClassVar[CheckKind] = CheckKind.BFD


Question = Union[
    Nothing, Tcp, Connect, Syn, Idle, Tls, Http, Grpc, Dns, Udp, Radius, Ping, Expect, Agent,
    Script, File, Bfd,
]  # fmt: skip
QUESTIONS: tuple[type[Question], ...] = get_args(Question)
# What these find out takes no more than a round trip or two; others have a server's work in it.
SHORT = frozenset({CheckKind.TCP, CheckKind.CONNECT, CheckKind.SYN, CheckKind.IDLE, CheckKind.PING})


def short(question: Question) -> bool:
    """Say whether there is nothing to wait for but a round trip or two."""
    return question.kind in SHORT or (isinstance(question, Udp) and not question.reply)
