"""lvs-nat demo: the tutorial's lab, live, and nothing of this machine is touched."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import lvs_nat
from lvs_nat.cli.machine import Machine
from lvs_nat.errors import UsageError
from lvs_nat.lab import kernel
from lvs_nat.lab.demo import play

# In seconds: the demo takes half a minute; who keeps the lab may stay for a day.
LIMIT, KEPT = 600, 86400


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep", action="store_true", help="leave the lab up with a shell before the end"
    )
    parser.add_argument(
        "--colour",
        choices=("auto", "always", "never"),
        default="auto",
        help="colours on terminals only (auto), always or never",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, machine: Machine) -> int:
    """Exit 0 if all that is promised happened, 1 if not."""
    colour = args.colour == "always" or (args.colour == "auto" and machine.out.isatty())
    if not kernel.inside():
        return _in_the_lab(colour, args.keep, machine)
    broken = play(machine.out, colour, args.keep)
    for words in broken:
        machine.warn(f"not kept: {words}")
    return 1 if broken else 0


def _in_the_lab(colour: bool, keep: bool, machine: Machine) -> int:
    """Run this command again where there is a kernel with IPVS to play with."""
    if keep and not sys.stdin.isatty():
        raise UsageError("--keep needs a terminal for its shell")
    kind = kernel.choose(os.environ)
    machine.warn(f"preparing the lab on {KERNELS[kind]}; this machine stays as it is")
    again = [sys.executable, "-m", "lvs_nat.cli.main", "demo"]
    again += ["--colour", "always" if colour else "never", *(["--keep"] if keep else [])]
    tree = str(Path(lvs_nat.__file__).parent.parent)
    return kernel.run(
        again,
        timeout=KEPT if keep else LIMIT,
        env={**os.environ, "PYTHONPATH": tree},
        terminal=keep,
    )


KERNELS = {
    kernel.Kind.NATIVE: "this machine's kernel, in namespaces of its own",
    kernel.Kind.UML: "user-mode Linux (the first time, its packages are downloaded)",
}
