"""The options that every command has."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from pathlib import Path

from lvs_nat.daemon.paths import Paths, defaults


class Help(argparse.HelpFormatter):
    """Asks for the terminal's width by itself.

    argparse makes a formatter for every option, and loads shutil for each width it is not told:
    with what that needs, a fifth of the time of a short command.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    with suppress(ValueError):
        if columns := int(os.environ.get("COLUMNS", "")):
            return columns
    with suppress(OSError):
        if columns := os.get_terminal_size(1).columns:
            return columns
    return 80


def common() -> argparse.ArgumentParser:
    """Return a parent parser with the options that say where the files lie."""
    parser = argparse.ArgumentParser(add_help=False, formatter_class=Help)
    files = parser.add_argument_group("files")
    default = defaults()
    for option, value, place, what in (
        ("--rules", "FILE", default.rules, "the rules, as ipvsadm-save -n writes them"),
        ("--config", "FILE", default.config, "checks and settings"),
        ("--run-dir", "DIR", default.run_dir, "pid file, control socket and state"),
        ("--state-dir", "DIR", default.state_dir, "what outlives a boot"),
    ):
        files.add_argument(option, type=Path, metavar=value, help=f"{what} (default: {place})")
    return parser


def seconds(text: str) -> float:
    """Read 90, 500ms, 1.5s or 2m as seconds; at most a year."""
    from configobj.validate import ValidateError

    from lvs_nat.core import values

    try:
        return values.seconds(text, "0", "31536000")
    except ValidateError as error:
        raise argparse.ArgumentTypeError(f"{text} {error}") from error


def places_given(args: argparse.Namespace) -> bool:
    """Say whether the command line itself says where something lies."""
    return any((args.rules, args.config, args.run_dir, args.state_dir))


def paths(args: argparse.Namespace) -> Paths:
    """Return where everything lies for this command line."""
    default = defaults()
    return Paths(
        rules=(args.rules or default.rules).absolute(),
        config=(args.config or default.config).absolute(),
        config_given=args.config is not None,
        run_dir=(args.run_dir or default.run_dir).absolute(),
        state_dir=(args.state_dir or default.state_dir).absolute(),
        # The lock of the init script is about the machine's one service.
        subsys=args.run_dir / "subsys" if args.run_dir else default.subsys,
    )
