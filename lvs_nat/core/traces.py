"""What a setting of the kernel was before us, and what we left there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Trace:
    """What one setting was before us, and what we left there."""

    before: str
    left: str
