"""What a setting of the kernel was before us, and what we left there."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Trace:
    """What one setting was before us, and what we left there.

    former is what we had left there before that, if anything: a crash may have come between
    this record and the change.
    """

    before: str
    left: str
    former: str = ""

    def ours(self, present: str) -> bool:
        """Whether *present* is what we left, not somebody else's setting."""
        return present in (self.left, self.former or self.left)

    def becoming(self, left: str, present: str) -> Trace:
        """Return the trace to be on disk before *present* is changed to *left*."""
        again = self.ours(present) and present not in (self.before, left)
        return replace(self, left=left, former=present if again else "")
