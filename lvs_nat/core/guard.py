"""What the panic guard objects to: an act of the operator's that leaves too little of a service."""

from __future__ import annotations

from lvs_nat.core.cluster import Cluster


def objection(before: Cluster, after: Cluster, now: float) -> str:
    """Return why *before* is not to become *after*, as a sentence; "" where it may.

    Whoever leaves no less than there was may do so, however little that is.
    """
    for name in before.rules.services:
        least = before.setup.service(name).keep_at_least
        if not least:
            continue
        was, left = before.share_serving(name, now), after.share_serving(name, now)
        if left < was and left < least:
            return (
                f"this would leave {left:.0%} of the weight of {name}, less than keep_at_least = "
                f"{least:.0%}; --force does it all the same"
            )
    return ""
