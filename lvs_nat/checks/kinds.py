"""The table of all checks: where each kind of question is kept; none is loaded unasked."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType

from lvs_nat.checks.kind import NOTHING_LENT, Kind, Lent
from lvs_nat.core.questions import CheckKind

# Each module has a KIND, or makes one.
MODULES: Mapping[CheckKind, str] = MappingProxyType(
    {
        CheckKind.TCP: "tcp",
        CheckKind.TLS: "tls",
        CheckKind.HTTP: "http",
        CheckKind.GRPC: "grpc",
        CheckKind.EXPECT: "expect",
        CheckKind.CONNECT: "connect",
        CheckKind.IDLE: "idle",
        CheckKind.UDP: "udp",
        CheckKind.DNS: "dns",
        CheckKind.PING: "ping",
        CheckKind.SCRIPT: "script",
        CheckKind.FILE: "file",
        CheckKind.AGENT: "agent",
        CheckKind.RADIUS: "radius",
        CheckKind.BFD: "bfd",
        CheckKind.SYN: "syn",
    }
)
# What some are asked by, if it is installed: the Python module, and its package for EL and Fedora.
LIBRARIES: Mapping[CheckKind, tuple[str, str]] = MappingProxyType(
    {
        CheckKind.DNS: ("dns", "python3-dns"),
        CheckKind.GRPC: ("h2", "python3-h2"),
    }
)


# What is imported when the first such question is prepared, or the first certificate read.
NEEDED = (
    "lvs_nat.checks.secure", "urllib.parse", "hashlib", "dns.message", "h2.connection", "_strptime",
)  # fmt: skip


def missing(kind: CheckKind) -> str:
    """Return what must be installed before questions of *kind* can be asked; "" if nothing."""
    library, package = LIBRARIES.get(kind, ("", ""))
    if not library or find_spec(library):
        return ""
    return f"check = {kind.value} needs the Python library {library}: dnf install {package}"


def preload() -> None:
    """Load whatever there is, with what it needs: later nothing may be there to be read."""
    for name in (*(f"lvs_nat.checks.{it}" for it in MODULES.values()), *NEEDED):
        with suppress(ImportError):  # who asks for it is told
            import_module(name)


def load(kind: CheckKind, lent: Lent = NOTHING_LENT) -> Kind:
    """Return how questions of *kind* are asked; raise ImportError where a library is missing.

    A module whose questions share something has `kind`, which makes a new one, for KIND.
    """
    module = import_module(f"lvs_nat.checks.{MODULES[kind]}")
    found = module.KIND if hasattr(module, "KIND") else module.kind(lent)
    assert isinstance(found, Kind)
    return found
