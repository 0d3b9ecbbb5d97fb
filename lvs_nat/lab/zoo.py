"""The zoo: servers on loopback that are well, or ill in one way each, in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

from lvs_nat.errors import LvsNatError
from lvs_nat.lab.animals import tls
from lvs_nat.lab.animals.animal import Animal
from lvs_nat.lab.animals.keeper import ANIMALS
from lvs_nat.model import Endpoint

__all__ = ["ANIMALS", "Animal", "Zoo"]

KEEPER = "lvs_nat.lab.animals.keeper"
TREE = Path(__file__).parent.parent.parent


class Zoo:
    """The animals *names* while they live: `with Zoo() as zoo: ask(zoo["http-drip"])`.

    authority is the file of the certificate authority that signed theirs; pid is the process
    that serves them all.  What each is, and what a check must say of it, is in ANIMALS; what a
    check is to ask is told by the modules of lvs_nat.lab.animals.
    """

    def __init__(self, names: Iterable[str] = ANIMALS, address: str = "127.0.0.1") -> None:
        self._names = tuple(names)
        self._address = address

    def __enter__(self) -> Zoo:
        self._folder = tempfile.TemporaryDirectory(prefix="lvs-nat-zoo.")
        folder = Path(self._folder.name)
        folder.chmod(0o755)  # whoever asks may be nobody, and has to see the authority
        self.authority = folder / tls.AUTHORITY
        if any(getattr(ANIMALS[name].den, "certificate", "") for name in self._names):
            tls.certify(folder)
        keeper = [sys.executable, "-m", KEEPER, str(folder), self._address, *self._names]
        self._process = subprocess.Popen(
            keeper,
            env={**os.environ, "PYTHONPATH": str(TREE)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pid = self._process.pid
        ports = self._ports()
        host = ip_address(self._address)
        self._places = {name: Endpoint(host, port) for name, port in zip(self._names, ports)}
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        self._folder.cleanup()

    def _ports(self) -> list[int]:
        told = self._process.stdout.readline() if self._process.stdout else b""
        if not told:
            raise LvsNatError("the zoo did not open")
        return [int(port) for port in json.loads(told)]

    def __getitem__(self, name: str) -> Endpoint:
        return self._places[name]
