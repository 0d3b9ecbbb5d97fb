"""Which files a command is about: what is typed, then what the running director was told."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lvs_nat.cli.options import paths
from lvs_nat.daemon.paths import Paths

# Set by the init script and by the unit: all that OPTIONS says is typed, and OPTIONS may have
# been edited since the director was started.
COMPLETE = "LVS_NAT_OPTIONS"


def meant(args: argparse.Namespace) -> dict[str, str]:
    """Return the files that a command line names; the defaults too where it leaves out no name."""
    where = paths(args)
    return {
        name: str(getattr(where, name))
        for name in ("rules", "config", "state_dir")
        if COMPLETE in os.environ or getattr(args, name) is not None
    }


def of_director(args: argparse.Namespace, answer: Mapping[str, Any]) -> Paths:
    """Return the files that are typed, and for the rest those that a director runs on.

    *answer* is what it says to `running`: the service may have been started with options that
    nobody types.  A director of an older version tells of the rule file alone.
    """
    told = {"rules": answer.get("path"), **answer.get("files", {})}
    where = paths(args)

    def place(name: str, otherwise: Path) -> Path:
        typed = getattr(args, name) is not None
        return otherwise if typed else Path(told.get(name) or otherwise)

    return where._replace(
        rules=place("rules", where.rules),
        config=place("config", where.config),
        config_given=where.config_given or bool(told.get("config_given")),
        state_dir=place("state_dir", where.state_dir),
    )
