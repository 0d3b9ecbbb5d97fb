"""The table of all checks: where each kind of question is kept; none is loaded unasked."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

from lvs_nat.checks.kind import Kind
from lvs_nat.core.questions import CheckKind

# Each module has a KIND.
MODULES: Mapping[CheckKind, str] = MappingProxyType(
    {
        CheckKind.TCP: "tcp",
        CheckKind.TLS: "tls",
        CheckKind.HTTP: "http",
        CheckKind.EXPECT: "expect",
    }
)


def load(kind: CheckKind) -> Kind:
    """Return how questions of *kind* are asked; raise ImportError where a library is missing."""
    found = import_module(f"lvs_nat.checks.{MODULES[kind]}").KIND
    assert isinstance(found, Kind)
    return found
