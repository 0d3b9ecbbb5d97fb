"""What checks need of this machine, and what of it can be seen not to be there."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Collection, Iterator

from lvs_nat.checks.trust import ROOT, hopeless
from lvs_nat.core.questions import Question, Script, Tls
from lvs_nat.core.setup import Setup

READERS = stat.S_IRGRP | stat.S_IROTH


def unmet(setup: Setup, owners: Collection[int] = ROOT) -> list[str]:
    """Return in words what no check of *setup* can go without, and which is missing.

    They are no reason to refuse the files: what is missing may come later.  Who asks may see less
    of the machine than whoever runs the checks; of what he cannot see nothing is said.
    """
    checks = list(setup.checks())
    found: dict[str, str] = {}
    for question in dict.fromkeys(check.question for check in checks):
        for needed, why in _missing(question, owners):
            found[needed] = why
    for name in {check.way.interface for check in checks if check.way.interface}:
        try:
            socket.if_nametoindex(name)
        except OSError:
            found[f"interface = {name}"] = "is not there"
    return [
        f"{needed}: {why}; no check that needs it can pass" for needed, why in sorted(found.items())
    ]


def _missing(question: Question, owners: Collection[int]) -> Iterator[tuple[str, str]]:
    if isinstance(question, Script):
        program = question.command[0]
        if why := hopeless(program, owners):
            yield f"program = {program}", why
    tls = question if isinstance(question, Tls) else getattr(question, "tls", None)
    if isinstance(tls, Tls):
        for name in ("ca", "certificate", "key"):
            path = getattr(tls, name)
            if path and (why := _unreadable(path)):
                yield f"{name} = {path}", why


def _unreadable(path: str) -> str:
    """Return why no process without privilege can read the file; "" if one may."""
    try:
        found = os.stat(path)
    except PermissionError:
        return ""
    except OSError as error:
        return (error.strerror or str(error)).lower()
    if not stat.S_ISREG(found.st_mode):
        return "is no file"
    if found.st_uid == 0 and not found.st_mode & READERS:
        return f"only root can read it; chgrp lvs-nat-check {path} && chmod g+r {path}"
    return ""
