"""python -m lvs_nat.lab: run a command on a kernel with IPVS."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from lvs_nat.errors import LvsNatError
from lvs_nat.lab import kernel


def main() -> int:
    """Run the command line's command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m lvs_nat.lab",
        description="Run a command as root on a kernel with IPVS; this machine's files are safe.",
        epilog="Exits as the command does; 124: it took too long, 125: its kernel died.",
    )
    add = parser.add_argument
    add("-t", dest="timeout", type=float, default=300, metavar="SECONDS", help="limit (300)")
    add("-m", dest="memory", default="512M", metavar="SIZE", help="of user-mode Linux (512M)")
    add("-w", dest="writable", action="append", default=[], type=Path, metavar="DIR",
        help="let the command write here for good; may be repeated")  # fmt: skip
    add("-i", dest="terminal", action="store_true", help="join the terminal: keys and colours")
    add("--time-travel", action="store_true",
        help="its clock jumps where all wait (it is made once, in 10 minutes)")  # fmt: skip
    add("command", nargs="+", metavar="COMMAND", help="after --")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        return kernel.run(**vars(arguments))
    except LvsNatError as error:
        print(f"lab: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
