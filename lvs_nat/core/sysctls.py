"""Which kernel settings a director in NAT mode wants, and what else they change.

Names are paths below /proc/sys: an interface may have a dot in its name, no slash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from lvs_nat.core.traces import Trace

FORWARD = "net/ipv4/ip_forward"
FORWARD6 = "net/ipv6/conf/all/forwarding"
REDIRECTS = "net/ipv4/conf/all/accept_redirects"
# A client whose server was removed is told by a reset, not left to time out; one that is still
# connecting goes to another server.
EXPIRE = "net/ipv4/vs/expire_nodest_conn"
IPVS = (
    EXPIRE,
    # A persistent client may leave a server at weight 0.
    "net/ipv4/vs/expire_quiescent_template",
    # A client that uses a port again is scheduled again; gone from some kernels, hence last.
    "net/ipv4/vs/conn_reuse_mode",
)
_DOTS = str.maketrans("./", "/.")


def wanted(interfaces: Iterable[str], ipv6_nat: bool) -> dict[str, str]:
    """Return the settings in the order to write them.

    ip_forward is first: writing it changes others (`effects`).  Redirects are off for every
    interface but lo, or clients on the servers' network are sent past the director.
    """
    devices = [name for name in interfaces if name not in ("all", "default", "lo")]
    redirects = (
        f"net/ipv4/conf/{device}/send_redirects" for device in ("all", "default", *devices)
    )
    found = {FORWARD: "1", **dict.fromkeys(redirects, "0"), **dict.fromkeys(IPVS, "1")}
    if ipv6_nat:
        found[FORWARD6] = "1"
    return found


def effects(name: str, value: str, present: Iterable[str]) -> dict[str, str]:
    """Return what the kernel itself sets when *name* changes to *value*.

    *present* are the names that exist.  net/ipv4/devinet.c, inet_forward_change, and
    net/ipv6/addrconf.c, addrconf_fixup_forwarding.
    """
    if name not in (FORWARD, FORWARD6):
        return {}
    family = name.split("/")[1]
    found = {
        other: value
        for other in present
        if other.startswith(f"net/{family}/conf/") and other.endswith("/forwarding")
    }
    if name == FORWARD:
        found[REDIRECTS] = "0" if value == "1" else "1"
    found.pop(name, None)
    return found


def recorded(
    wants: Mapping[str, str], present: Mapping[str, str], record: Mapping[str, Trace]
) -> dict[str, Trace]:
    """Return the record to be on disk before the first of *wants* is written.

    The first record of a name is kept: what stands there now may be our own work.  What the
    kernel sets along is recorded at once, even if nothing needs writing yet.
    """
    found = dict(record)
    for name, value in wants.items():
        along = effects(name, value, present)
        for other in (name, *along):
            if other in present:
                found.setdefault(other, _first(other, present[other], record))
        if present.get(name, value) != value:
            for other, left in {name: value, **along}.items():
                if other in found:
                    found[other] = found[other].becoming(left, present.get(other, left))
    return found


def returning(
    targets: Mapping[str, str], present: Mapping[str, str], record: Mapping[str, Trace]
) -> dict[str, Trace]:
    """Return the record to be on disk before *present* is set to *targets* again.

    What the kernel sets along with forwarding would look like somebody else's work after a
    crash: it is ours, and what is to be in its place is what *targets* say.
    """
    found = dict(record)
    for name in (FORWARD, FORWARD6):
        if targets.get(name) != present.get(name):
            for other, value in effects(name, targets[name], targets).items():
                if other in targets:
                    trace = replace(found[other], before=targets[other])
                    found[other] = trace.becoming(value, present[other])
    return found


def restored(
    record: Mapping[str, Trace], present: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Return what each setting is to be again, and a sentence for each that somebody has set.

    The two of forwarding come first: writing them changes others.
    """
    found, lines = {}, []
    for name in sorted(present, key=lambda name: name not in (FORWARD, FORWARD6)):
        value, trace = present[name], record[name]
        found[name] = trace.before if trace.ours(value) else value
        if value != trace.before and not trace.ours(value):
            what = f"somebody set it, where we had set {trace.left}"
            lines.append(f"{spell(name)} is left at {value}: {what}")
    return found, lines


def staying(record: Mapping[str, Trace], present: Mapping[str, str]) -> list[str]:
    """Return a sentence for each of our settings that stays with a table that is kept."""
    return [
        f"{spell(name)} stays at {value} for the table that is kept; it was {record[name].before}"
        for name, value in present.items()
        if value != record[name].before and record[name].ours(value)
    ]


def _first(name: str, value: str, record: Mapping[str, Trace]) -> Trace:
    # An interface that appeared after us took its value from a default that we had changed.
    parts = name.split("/")
    if len(parts) == 5 and parts[2] == "conf":
        default = record.get("/".join((*parts[:3], "default", parts[4])))
        if default and default.ours(value):
            return default
    return Trace(value, value)


def ours(name: str, _: Trace) -> bool:
    """Whether *name* is one that a director may ever write: a record could have been forged."""
    parts = name.split("/")
    return parts[0] == "net" and len(parts) > 1 and not {"", ".", ".."} & set(parts)


def spell(name: str) -> str:
    """Return the name as sysctl(8) takes it: net.ipv4.conf.eth0/100.send_redirects."""
    return name.translate(_DOTS)
