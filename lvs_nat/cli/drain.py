"""lvs-nat drain, disable, enable, weight: the operator acts on one real server."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from lvs_nat.cli.machine import Machine
from lvs_nat.cli.options import paths, seconds
from lvs_nat.core.counts import number
from lvs_nat.system.control import ask

# Between two looks at the connections that are waited for.
LOOK = 0.5
# What is asked is answered when it is on disk, which may be slow (seconds).
PATIENCE = 30.0


def configure(parser: argparse.ArgumentParser) -> None:
    command = parser.prog.split()[-1]
    parser.add_argument(
        "server", metavar="SERVER", help="a real server: 192.168.122.10:80, or all its ports"
    )
    if command == "weight":
        parser.add_argument("weight", type=int, metavar="WEIGHT", help="its configured weight")
    parser.add_argument(
        "--service",
        metavar="SERVICE",
        help="under this virtual service alone: 'tcp 172.25.0.10:80', 'fwmark 5'",
    )
    if command == "drain":
        parser.add_argument(
            "--timeout", type=seconds, metavar="TIME", help="give up what is left after this long"
        )
        parser.add_argument(
            "--wait", action="store_true", help="return when no connection is left, or in time"
        )
    if command in ("drain", "disable"):
        parser.add_argument(
            "--for", dest="length", type=seconds, metavar="TIME", help="enable it after this long"
        )
    if command != "enable":
        parser.add_argument(
            "--force", action="store_true", help="even if too few servers would be left"
        )
    parser.add_argument("--json", action="store_true", help="print what becomes of it, as JSON")
    parser.set_defaults(run=run, command=command)


def run(args: argparse.Namespace, machine: Machine) -> int:
    """Exit 0 once it is done; 1 where it is refused, or --wait ends before the connections.

    What is done but could not be written down is done: that is a warning.
    """
    found = _act(args)
    warnings = found.get("warnings", [])  # a director of an older version tells none
    for warning in warnings:
        machine.warn(f"warning: {warning}")
    drained = True
    if getattr(args, "wait", False):
        found, drained = _wait(args, found, machine)
    if args.json:
        machine.say(json.dumps({"rows": found["rows"], "warnings": warnings}, indent=2))
    else:
        machine.say("\n".join(map(_line, found["rows"])))
    return 0 if drained else 1


def _act(args: argparse.Namespace) -> dict[str, Any]:
    if args.command == "weight":
        return _ask(args, "weigh", weight=args.weight, force=args.force)
    return _ask(
        args,
        "wish",
        wish=args.command,
        cut_after=getattr(args, "timeout", None),
        ends_after=getattr(args, "length", None),
        force=getattr(args, "force", False),
    )


def _ask(args: argparse.Namespace, verb: str, **more: Any) -> dict[str, Any]:
    told = {"server": args.server, "service": args.service, **more}
    return ask(paths(args).socket, verb, timeout=PATIENCE, **told)


def _wait(
    args: argparse.Namespace, found: dict[str, Any], machine: Machine
) -> tuple[dict[str, Any], bool]:
    """Wait until the kernel counts none more that goes on; say how many are left as that changes.

    Returns what is known then, and whether all of them have ended by themselves.
    """
    deadline = None if args.timeout is None else time.monotonic() + args.timeout
    said = None
    while left := sum(map(_left, found["rows"])):
        if left != said:
            machine.warn(f"{number(left, 'connection')} left")
            said = left
        if deadline is not None and time.monotonic() >= deadline:
            return found, False
        time.sleep(LOOK)
        found = _ask(args, "connections")
    # Who is out of the table has had the rest of them cut.
    cut = said is not None and any(row["kernel_weight"] is None for row in found["rows"])
    return found, not cut


def _left(row: dict[str, Any]) -> int:
    """Return the connections that go on: IPVS counts no flow of UDP as active.

    What is inactive of TCP has ended, and under a firewall mark nobody says what it is.
    """
    flows = row["inactive_connections"] if str(row["service"]).startswith("udp ") else 0
    return int(row["active_connections"]) + int(flows)


def _line(row: dict[str, Any]) -> str:
    kernel = row["kernel_weight"]
    now = "out of the table" if kernel is None else f"weight {kernel} in the table"
    connections = number(_left(row), "connection")
    return f"{row['address']} under {row['service']}: weight {row['weight']}, {now}, {connections}"
