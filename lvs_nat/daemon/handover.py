"""What one image of a process tells the next one, which goes on in its place.

The old image is of the version before, so these names and meanings stay as they are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from lvs_nat.daemon.paths import Paths

# In the environment, so that `ps` shows the command that was typed, before and after.
VARIABLE = "LVS_NAT_HANDOVER"


class Part(Enum):
    """What the next image has to be."""

    TRIAL = "trial"  # beside us: no more than sure that it could be one of the others
    DIRECTOR = "director"
    SPAWNER = "spawner"


def environ(part: Part, **told: Any) -> dict[str, str]:
    """Return this process's environment for an image that is told to be *part*."""
    return {**os.environ, VARIABLE: json.dumps({"part": part.value, **told})}


def told(text: str) -> tuple[Part, dict[str, Any]]:
    """Return what the text of VARIABLE says."""
    found = json.loads(text)
    return Part(found.pop("part")), found


def spell_paths(paths: Paths) -> dict[str, Any]:
    """Return *paths* as JSON can hold them."""
    places = paths._asdict().items()
    return {name: it if isinstance(it, bool) else str(it) for name, it in places}


def parse_paths(words: Mapping[str, Any]) -> Paths:
    """Return the paths that `spell_paths` made *words* of."""
    found: dict[str, Any] = {
        name: it if isinstance(it, bool) else Path(it) for name, it in words.items()
    }
    return Paths(**found)
