"""A director begins where nobody else writes to its table, or as lvs-nat.conf says."""

from __future__ import annotations

import logging
from pathlib import Path

from lvs_nat.core.rivals import LVS_NAT, Rival
from lvs_nat.core.setup import Rivals
from lvs_nat.errors import Contested
from lvs_nat.system.claim import Claim, Claimed
from lvs_nat.system.rivals import rivals

log = logging.getLogger(__name__)

FORCED = "; `rivals = warn` in lvs-nat.conf has lvs-nat start all the same"


def claimed(policy: Rivals, root: Path = Path("/")) -> tuple[Claim | None, tuple[str, ...]]:
    """Return our claim to the table, None where it is not to be had, and what to warn of.

    Raises Contested where there are rivals and *policy* is to refuse.
    """
    if policy is Rivals.IGNORE:
        return claim()[0], ()
    found = rivals(root)
    ours, other = claim()
    told = [it.told(systemd=(root / "run/systemd/system").is_dir()) for it in (*found, *other)]
    if told and policy is Rivals.REFUSE:
        if ours:
            ours.close()
        raise Contested("\n".join(words + FORCED for words in told))
    return ours, tuple(told)


def claim() -> tuple[Claim | None, list[Rival]]:
    """Return our claim to the table, and the director that has it instead."""
    try:
        return Claim(), []
    except Claimed as error:
        return None, [Rival(LVS_NAT, error.pid)]
    except OSError as error:
        log.warning("a second director would not be noticed: %s", error)
        return None, []
