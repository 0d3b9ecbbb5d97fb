"""Which settings lvs-nat.conf has, and what each may be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum

from lvs_nat.core.questions import Style, Verify
from lvs_nat.core.setup import (
    Drift,
    OnFailure,
    OnStart,
    OnStop,
    OnUnknown,
    Own,
    Rivals,
    Watch,
    WhenEmpty,
)
from lvs_nat.model import Endpoint, Listener, Mark, ServiceName, Transport

MARK_MAX = 2**32 - 1


def _choice(choices: type[Enum]) -> str:
    return f"choice({', '.join(it.value for it in choices)}, default=None)"


# Nothing here has a default but None, "as written above it": defaults live in core/setup.py
# and core/questions.py.  The least interval keeps 200 servers below 4,000 probes a second;
# Linux repeats a lost SYN after 1 s, so a timeout of a minute has been asked six times.
TIMING_KEYS = (
    "interval = seconds(0.05, 3600, default=None)",
    "timeout = seconds(0.01, 60, default=None)",
    "fast = seconds(0.02, 3600, default=None)",
    "fall = count(1, 100, default=None)",
    "rise = count(1, 100, default=None)",
    "down_interval = seconds(0.05, 3600, default=None)",
    f"on_unknown = {_choice(OnUnknown)}",
    "port = count(1, 65535, default=None)",
    "address = address(default=None)",
    "from = origin(default=None)",
    "interface = interface(default=None)",
)
QUESTION_KEYS = (
    "reset = switch(default=None)",
    "path = words(default=None)",
    "method = token(default=None)",
    "host = text(default=None)",
    "headers = headers(default=None)",
    "login = text(default=None)",
    "body = text(default=None)",
    "status = ranges(default=None)",
    "contains = text(default=None)",
    "matches = text(default=None)",
    "digest = token(default=None)",
    "json = text(default=None)",
    "redirects = count(0, 10, default=None)",
    "tls = switch(default=None)",
    "server_name = token(default=None)",
    f"verify = {_choice(Verify)}",
    "ca = text(default=None)",
    "min_days = count(0, 3650, default=None)",
    "alpn = token(default=None)",
    "certificate = text(default=None)",
    "key = text(default=None)",
    "grpc_service = token(default=None)",
    "query = token(default=None)",
    "type = token(default=None)",
    "answer = text(default=None)",
    "rcode = token(default=None)",
    "over_tcp = switch(default=None)",
    "send = octets(default=None)",
    "reply = switch(default=None)",
    "receive = octets(default=None)",
    "mask = octets(default=None)",
    "least = count(0, 65535, default=None)",
    "most = count(0, 65535, default=None)",
    "secret = text(default=None)",
    "count = count(1, 10, default=None)",
    "size = count(0, 1400, default=None)",
    "talk = talk(default=None)",
    "program = words(default=None)",
    f"style = {_choice(Style)}",
    "file = text(default=None)",
    "absent = choice(up, unknown, default=None)",
)
CHECK_KEYS = ("check = words(default=None)", *TIMING_KEYS, *QUESTION_KEYS)
SERVICE_KEYS = (
    *CHECK_KEYS,
    f"on_failure = {_choice(OnFailure)}",
    "remove_after = seconds(0, 3600, default=None)",
    "keep_at_least = share(default=None)",
    "quorum = count(1, 2147483647, default=None)",
    "hysteresis = count(0, 2147483646, default=None)",
    f"when_empty = {_choice(WhenEmpty)}",
    "sorry = endpoints(default=None)",
    "slow_start = seconds(0, 3600, default=None)",
    "rescue = switch(default=None)",
)
DIRECTOR_KEYS = (
    *SERVICE_KEYS,
    f"on_start = {_choice(OnStart)}",
    f"on_stop = {_choice(OnStop)}",
    f"own = {_choice(Own)}",
    f"drift = {_choice(Drift)}",
    f"rivals = {_choice(Rivals)}",
    "sysctl = switch(default=None)",
    f"watch = {_choice(Watch)}",
    "resolver_wait = seconds(0, 60, default=None)",
)
SPEC = (
    *DIRECTOR_KEYS,
    "[checks]",
    "[[__many__]]",
    *CHECK_KEYS,
    "[services]",
    "[[__many__]]",
    *SERVICE_KEYS,
    "[[[__many__]]]",
    *CHECK_KEYS,
)
WORDS: Mapping[str, type[Enum]] = {
    "on_failure": OnFailure,
    "when_empty": WhenEmpty,
    "on_start": OnStart,
    "on_stop": OnStop,
    "own": Own,
    "drift": Drift,
    "rivals": Rivals,
    "watch": Watch,
}


def _names(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(line.split(" = ")[0] for line in lines)


TIMING = _names(TIMING_KEYS)
# Free text may be a secret or have one in it.  Everybody may ask what is wrong with the file, and
# is not to be told what these are.
FREE = ("text", "words", "headers", "octets", "talk")
SECRETIVE = frozenset(
    name for name, kind in (line.split(" = ") for line in QUESTION_KEYS) if kind.startswith(FREE)
)
POOL = tuple(key for key in _names(SERVICE_KEYS) if key not in _names(CHECK_KEYS))
CHECK = _names(CHECK_KEYS)
DIRECTOR = tuple(key for key in _names(DIRECTOR_KEYS) if key not in _names(SERVICE_KEYS))
# By depth: the director, [services] or [checks], one service or check, one real server.
KEYS = tuple(map(_names, (DIRECTOR_KEYS, (), SERVICE_KEYS, CHECK_KEYS)))
PLACES = (
    "at the top of the file",
    "in [services]",
    "in the section of a virtual service",
    "in the section of a real server",
)
CHECKS_PLACE = "in [checks]"
SECTIONS = ("checks", "services")
SERVICE_FORMS = "[[tcp 172.25.0.10:80]], [[udp ...]], [[sctp ...]], [[fwmark 5]], [[fwmark 5 ipv6]]"
SERVER_FORMS = "[[[192.168.122.10:80]]] or [[[[fd00::20]:80]]]"
MARKERS = "a section is [services], [[tcp 172.25.0.10:80]] or [[[192.168.122.10:80]]]"


def service_name(text: str) -> ServiceName:
    """Read a service's name as `str` spells it, status or the listing shows it.

    Raises ValueError for anything else.
    """
    words = text.split()
    if len(words) == 2 and words[0].upper() in Transport.__members__:
        try:
            return Listener(Transport[words[0].upper()], Endpoint.parse(words[1]))
        except ValueError as error:
            raise ValueError(f"{text!r} is not the name of a virtual service") from error
    lower = text.lower().split()
    if lower[:1] in (["fwmark"], ["fwm"]) and lower[2:] in ([], ["ipv6"]):
        mark = words[1] if len(words) > 1 else ""
        if re.fullmatch("[0-9]{1,10}", mark) and 1 <= int(mark) <= MARK_MAX:
            return Mark(int(mark), 6 if words[2:] else 4)
    raise ValueError(f"{text!r} is not the name of a virtual service")
