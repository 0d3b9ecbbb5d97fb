"""What either kind of lab kernel is told to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TIMED_OUT = 124  # as timeout(1) says it
DIED = 125  # the command cannot have been the one that ended


@dataclass(frozen=True)
class Orders:
    """One command, as a sh *script*, and its limits; *stdout* and *stderr* are descriptors."""

    script: str
    timeout: float
    memory: str
    writable: tuple[Path, ...]
    stdout: int
    stderr: int
    terminal: bool
