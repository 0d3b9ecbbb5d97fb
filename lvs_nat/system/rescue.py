"""Refusals of SYNs are kept from clients, by whatever packet filter this machine has."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Union

from lvs_nat.errors import LvsNatError
from lvs_nat.model import Endpoint
from lvs_nat.system.child import Child
from lvs_nat.system.files import read_text, write_atomic
from lvs_nat.system.rescue_rules import Iptables, Nft

Means = Union[Nft, Iptables]
# In the order they are tried.
MEANS: tuple[Means, ...] = (Nft(), Iptables(""), Iptables("-legacy"))


class Rescue:
    """Rules that stand for as long as *record* does, which says by what means they were made.

    The record is on disk before the rules are: so the next director finds those of one that
    crashed, and `lvs-nat stop` removes them.
    """

    def __init__(self, record: Path) -> None:
        self._record = record
        self._means: Means | None = None
        self._child: Child | None = None
        self._begun: frozenset[Endpoint] = frozenset()
        self.done: frozenset[Endpoint] | None = None

    def set_up(self) -> str:
        """Make the rules, as root, for nobody yet; return the means.

        Raises LvsNatError with the reasons where none of the means works here.
        """
        self.remove()
        reasons = []
        for means in MEANS:
            write_atomic(self._record, means.name + "\n", 0o600)
            try:
                means.set_up()
            except LvsNatError as error:
                reasons.append(str(error))
                with suppress(LvsNatError):  # some of it may have been done
                    means.remove()
                continue
            self._means, self.done = means, frozenset()
            return means.name
        self._record.unlink()
        raise LvsNatError("; ".join(reasons))

    def adopt(self) -> bool:
        """Go on with rules that stand, without being root; return whether there are any.

        Whom they rescue is not known: the first `begin` says it anew.
        """
        name = read_text(self._record).strip() if self._record.exists() else ""
        self._means = next((means for means in MEANS if means.name == name), None)
        return self._means is not None

    def begin(self, endpoints: Collection[Endpoint]) -> bool:
        """Begin to have *endpoints* rescued and nobody else; return whether that was begun.

        If so, `fileno` can be read whenever `ended` is to be asked.
        """
        wanted = frozenset(endpoints)
        if self._means is None or self._child is not None or wanted == self.done:
            return False
        self._child = Child(*self._means.change(wanted))
        self._begun = wanted
        return True

    def fileno(self) -> int:
        if self._child is None:
            raise LvsNatError("nothing has been begun")
        return self._child.fileno()

    def ended(self) -> bool:
        """Return whether what was begun is done; raise LvsNatError if it has failed."""
        child = self._child
        if child is None or not child.ended():
            return False
        self._child, self.done = None, None
        child.result()
        self.done = self._begun
        return True

    def give_up(self) -> None:
        """Wait no longer for what was begun."""
        if self._child is not None:
            self._child.close()
            self._child, self.done = None, None

    def remove(self) -> bool:
        """Remove the rules, as root, whoever made them; return whether there were any.

        Raises LvsNatError if that cannot be.
        """
        if not self._record.exists():
            return False
        name = read_text(self._record).strip()
        for means in MEANS:
            if means.name == name:
                means.remove()
        self._record.unlink()
        return True
