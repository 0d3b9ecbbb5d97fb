"""The place of another image of this process is taken: the director's, or its spawner's."""

from __future__ import annotations

import faulthandler
import pkgutil
import socket
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import lvs_nat
from lvs_nat.checks import kinds
from lvs_nat.checks.kind import Lent
from lvs_nat.daemon import serve, spawner
from lvs_nat.daemon.handover import Part, parse_paths, told
from lvs_nat.daemon.link import Link
from lvs_nat.daemon.notes import Notes
from lvs_nat.errors import LvsNatError
from lvs_nat.system import logs
from lvs_nat.system.program import Program
from lvs_nat.system.watcher import Watcher

# Where all lies that a director, its spawner or a prober may come to load.
FLOORS = ("core", "system", "checks", "daemon")


def succeed(text: str) -> int:
    """Be what the last image says, in words that it left in the environment."""
    part, words = told(text)
    return PARTS[part](words)


def _be_tried(words: dict[str, Any]) -> int:
    """Do all that can be done beside the one that runs: load what is needed, read what it knows."""
    _load_all()
    if "paths" in words:
        notes = Notes(parse_paths(words["paths"]).memory)
        found = notes.read()
        if found is None:
            raise LvsNatError("what runs is not known")
        notes.saved(found)
        if notes.rules(found) is None:
            raise LvsNatError("the rules that run cannot be read")
    print(f"lvs-nat {lvs_nat.__version__}")
    return 0


def _load_all() -> None:
    """Load every module, sooner or later needed, but those whose library is not installed."""
    spared = {kinds.MODULES[it] for it in kinds.MODULES if kinds.missing(it)}
    if not find_spec("pyroute2"):
        spared.add("links")  # a director does without, and says so
    for floor in FLOORS:
        folder = import_module(f"lvs_nat.{floor}")
        for module in pkgutil.iter_modules(folder.__path__):
            if module.name not in spared:
                import_module(f"lvs_nat.{floor}.{module.name}")


def _direct(words: dict[str, Any]) -> int:
    logs.to(words["log"])
    if words["log"] == "stderr":
        faulthandler.enable(file=2)  # as `lvs-nat run` has it
    link = Link(_socket(words["line"]), words["spawner"], orders=_socket(words["orders"]))
    paths = parse_paths(words["paths"])
    watcher = None
    if "packets" in words:
        watcher = Watcher(_socket(words["packets"]), words.get("table"), words["lacking"])
    return serve.go_on(paths, words["lock"], words["control"], link, watcher)


def _spawn(words: dict[str, Any]) -> int:
    former = spawner.Former(words["prober"], words["beats"])
    program = Program.of_this_process()
    line, orders = _socket(words["line"]), _socket(words["orders"])
    lent = Lent(tuple(map(_socket, words["raw"])))
    spawner.go_on(spawner.Spawner(line, orders, program, former=former, lent=lent))
    return 0


def _socket(fd: int) -> socket.socket:
    found = socket.socket(fileno=fd)
    found.set_inheritable(False)
    return found


PARTS = {Part.TRIAL: _be_tried, Part.DIRECTOR: _direct, Part.SPAWNER: _spawn}
