"""lvs-nat status: running or not, and how every real server fares."""

from __future__ import annotations

import argparse
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR
from typing import Any

from lvs_nat.cli.machine import Machine
from lvs_nat.cli.options import paths
from lvs_nat.core.counts import Counts
from lvs_nat.daemon.paths import Paths
from lvs_nat.errors import LvsNatError, NotRunning
from lvs_nat.system.control import ask
from lvs_nat.system.pidfile import holder

TITLES = ("Real server", "State", "Weight", "Conns", "Last probe")
COLOURS = {"up": 32, "failing": 33, "recovering": 33, "new": 33, "down": 31, "unchecked": 36}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print all that is known, as JSON")
    parser.add_argument(
        "--checks", action="store_true", help="show every check of every server, and its history"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, machine: Machine) -> int:
    """Exit 0 running, 1 dead with a pid file, 2 dead with a lock, 3 stopped, 4 no answer."""
    where = paths(args)
    try:
        pid = holder(where.pid_file)
        found = ask(where.socket, "status") if pid is not None else {}
    except NotRunning:
        machine.warn(f"a director starts, ends or hangs: nobody listens at {where.socket}")
        return 4
    except (LvsNatError, OSError) as error:
        machine.warn(f"a director runs, but does not answer: {error}")
        return 4
    if pid is None:
        code, words = _dead(where)
        machine.say(json.dumps({"running": False, "words": words}) if args.json else words)
        return code
    if args.json:
        machine.say(json.dumps({"running": True, **found}, indent=2))
    else:
        machine.say(text(found, machine.out.isatty(), args.checks))
    return 0


def _dead(where: Paths) -> tuple[int, str]:
    if where.pid_file.exists():
        return 1, "lvs-nat is dead but its pid file exists; the table stands: start adopts it"
    if _marked(where.subsys):
        return 2, "lvs-nat is dead but subsys locked"
    return 3, "lvs-nat is stopped"


def _marked(lock: Path) -> bool:
    """Whether the init script's lock stands, in a folder that is not just anybody's."""
    with suppress(OSError):
        folder = lock.parent.lstat()
        return S_ISDIR(folder.st_mode) and folder.st_uid in (0, os.geteuid()) and lock.exists()
    return False


def text(found: dict[str, Any], colour: bool = False, checks: bool = False) -> str:
    """Return the report as lines for people; every check has lines of its own if *checks*."""
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found["since"]))
    counts = Counts(**found["counts"])
    lines = [f"lvs-nat (pid {found['pid']}) is running since {since}: {counts}"]
    # A director of an older version has not all of these.
    alarms = (*found["refusals"], *found.get("quarrels", ()), *found.get("names", ()))
    lines += [f"! {words}" for words in alarms]
    if found.get("problems"):
        lines.append("! the files cannot be used; what ran before goes on:")
        lines += [f"  {words}" for words in found["problems"]]
    if found["unsaved"]:
        lines.append("not saved yet (`lvs-nat save` keeps it, `lvs-nat reload` drops it):")
        lines += [f"  ipvsadm {words}" for words in found["unsaved"]]
    for service in found["services"]:
        lines += _service(service, colour, checks)
    return "\n".join(lines)


def _service(service: dict[str, Any], colour: bool, checks: bool) -> list[str]:
    head = f"{service['protocol'].upper()} {service['address']} {service['scheduler']}"
    if service["persistence"]:
        head += f" persistent {service['persistence']}"
    if service["servers"] and not service["available"]:
        head += "  (too few real servers)"
    rows = [
        (
            server["address"] + (" (sorry)" if server["sorry"] else ""),
            _state(server),
            _weight(server),
            f"{server['active_connections']}/{server['inactive_connections']}",
            _words(server),
        )
        for server in service["servers"]
    ]
    if not rows:
        return ["", head, "  (no real server)"]
    widths = [max(map(len, column)) for column in zip(TITLES, *rows)]
    lines = []
    for row, server in zip((TITLES, *rows), (None, *service["servers"])):
        cells = [cell.ljust(width) for cell, width in zip(row, widths)]
        if colour and server:
            cells[1] = f"\033[{COLOURS[server['state']]}m{cells[1]}\033[0m"
        lines.append(("  " + "  ".join(cells)).rstrip())
        if server:
            lines += _remarks(server)
            lines += _checks(server) if checks else _apart(server)
    return ["", head, *lines]


def _apart(server: dict[str, Any]) -> list[str]:
    """Return a line for each check of several that does not say what all of them come to."""
    checks = server["checks"] if len(server["checks"]) > 1 else []
    return [
        f"    {check['check']}: {_state(check)}, {_words(check)}"
        for check in checks
        if check["state"] != server["state"]
    ]


def _remarks(server: dict[str, Any]) -> list[str]:
    """Return a line for what else decides about a server: the operator, the panic guard."""
    remarks = [server["remark"]] if server["remark"] else []
    if wish := server["wish"]:
        words = f"{wish['wish']} by the operator"
        if wish["cut_in"]:
            words += f", connections are cut in {_span(wish['cut_in'])}"
        if wish["ends_in"] is not None:
            words += f", enabled again in {_span(wish['ends_in'])}"
        remarks.append(words)
    return [f"    {words}" for words in remarks]


def _checks(server: dict[str, Any]) -> list[str]:
    """Return what is known of each check of a server, and how its last probes went."""
    lines = []
    for check in server["checks"]:
        way = f" from {check['from']}" if check["from"] else ""
        asked = f"{check['check']} {check['endpoint']}{way}"
        lines.append(f"    {asked}: {_state(check)}, {_words(check)}")
        if check["history"]:
            lines.append(f"      {check['history']}{_latency(check['latency'])}")
    return lines


def _latency(found: dict[str, float | None]) -> str:
    """Return it in words; nothing where no probe has passed, for which older directors tell 0."""
    known = [found[it] for it in ("least", "mean", "most")]
    return f"  {'/'.join(f'{it:.3g}' for it in known)} ms (least/mean/most)" if all(known) else ""


def _state(server: dict[str, Any]) -> str:
    for_ = server["for"]
    return f"{server['state']} {_span(for_)}" if for_ is not None else str(server["state"])


def _weight(server: dict[str, Any]) -> str:
    """Return the configured weight, and the kernel's where it differs."""
    kernel = server["kernel_weight"]
    if kernel == server["weight"]:
        return str(kernel)
    return f"{server['weight']} ({'out' if kernel is None else f'now {kernel}'})"


def _words(server: dict[str, Any]) -> str:
    words = str(server["words"])
    if server["ms"] is not None:
        words += f" {server['ms']:.3g} ms"
    if server["next_probe_in"] is not None:
        words += f", next {server['next_probe_in']:.1f} s"
    return words


def _span(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
