"""Arguments are parsed, errors become exit codes."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import re
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

import lvs_nat
from lvs_nat.cli.machine import Machine
from lvs_nat.cli.options import Help, common
from lvs_nat.errors import LvsNatError, UsageError

COMMANDS = {
    "start": "start the director and show the table",
    "stop": "clear the table, restore the sysctls, end the director",
    "restart": "start anew; the table and its connections stay",
    "try-restart": "restart, if it is running",
    "reload": "go over to the saved files; servers that stay keep their connections",
    "force-reload": "the same as reload",
    "reexec": "go on as the version that is installed now, with all that runs",
    "status": "show services and real servers, and how they fare",
    "drain": "send a real server no new clients; those it has may finish",
    "disable": "take a real server out of service at once",
    "enable": "let a real server serve again",
    "weight": "set the weight of a real server in what runs",
    "diff": "show what save would write, and what reload would do to the rules",
    "save": "write the running rules to the rule file",
    "configtest": "tell every problem of every file, and touch nothing",
    "rules": "show the table that a rule file means, as ipvsadm -S -n spells it",
    "run": "run in the foreground, for systemd",
    "demo": "show the tutorial's lab live, in namespaces of its own",
}

# Set where we take the place of a director, or are tried to (daemon/handover.py).
HANDOVER = "LVS_NAT_HANDOVER"


# Commands that another one's module tells.
MODULES = {
    "try-restart": "restart",
    "force-reload": "reload",
    "disable": "drain",
    "enable": "drain",
    "weight": "drain",
}
# Words that look like the command they are to undo.
OPPOSITES = {"undrain": "enable", "undisable": "enable"}


class _Parser(argparse.ArgumentParser):
    """Usage errors are errors like others."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=Help, **settings)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\n{self.format_usage().rstrip()}")


def _misread(command: argparse.ArgumentParser, words: Sequence[str]) -> NoReturn:
    """Refuse *words* that *command* does not have, and name the option that may be meant."""
    word = next((it for it in words if it.startswith("-")), words[0])
    options = re.findall(r"--[\w-]+", command.format_usage())
    what = f"no option {word}" if word.startswith("-") else f"no use for {word}"
    command.error(f"{command.prog} has {what}{_near(word, options)}")


def _near(word: str, known: Iterable[str], likeness: float = 0.6) -> str:
    from difflib import get_close_matches  # only who has erred waits for it

    near = get_close_matches(word, known, 1, likeness)
    return f": did you mean {near[0]}?" if near else ""


def command() -> NoReturn:
    """Run one command as a program of its own, and leave without taking the interpreter down.

    A command has printed what it had to say, and its end takes its memory: going through that
    once more takes longer than many a command, the more so where a director shares it.
    """
    _streams()
    # We may have been started with it ignored, which is inherited: no child could be waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = main()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError):  # nobody is left who could be told
            stream.flush()
    os._exit(code)


def _streams() -> None:
    """Have all three streams, closed or not; what one cannot spell is escaped."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None and os.open(os.devnull, os.O_RDWR) == number:
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def main(argv: Sequence[str] | None = None, machine: Machine | None = None) -> int:
    """Run one command; return its LSB exit code."""
    machine = machine or Machine()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if HANDOVER in os.environ:
            from lvs_nat.daemon.successor import succeed

            return succeed(os.environ.pop(HANDOVER))
        args, strange = _parser(words).parse_known_args(words)
        if strange:
            args.misread(strange)
        return int(args.run(args, machine))
    except BrokenPipeError:
        # Who reads has seen enough; the interpreter must not try to say the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (LvsNatError, OSError) as error:
        machine.warn(str(error))
        return int(getattr(error, "exit_code", 1))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(prog="lvs-nat", description=lvs_nat.__doc__)
    parser.add_argument("--version", action="version", version=f"lvs-nat {lvs_nat.__version__}")
    # prog: argparse would format a usage line to find it.
    commands = parser.add_subparsers(metavar="COMMAND", required=True, prog=parser.prog)
    asked = [word for word in words[:1] if word in COMMANDS]
    if words and not asked and words[0] not in ("-h", "--help", "--version"):
        _no_command(parser, words[0])
    for name in asked or COMMANDS:  # only what runs is imported, or even made
        command = commands.add_parser(
            name,
            help=COMMANDS[name],
            description=COMMANDS[name],
            parents=[common()] if asked else [],
            allow_abbrev=False,
        )
        if asked:
            command.set_defaults(misread=partial(_misread, command))
            importlib.import_module(_module(name)).configure(command)
    return parser


def _no_command(parser: argparse.ArgumentParser, word: str) -> NoReturn:
    """Refuse *word*, which stands where a command should; argparse would take what follows it."""
    if word.startswith("-"):
        hint = _near(word, ("--help", "--version"), 0.8) or ": options stand after the command"
        parser.error(f"lvs-nat has no option {word}{hint}")
    hint = _near(OPPOSITES.get(word, word), COMMANDS) or ": lvs-nat --help has them all"
    parser.error(f"there is no command {word}{hint}")


def _module(command: str) -> str:
    return f"lvs_nat.cli.{MODULES.get(command, command)}"


if __name__ == "__main__":
    command()
