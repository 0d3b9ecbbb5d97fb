"""Garbage is looked for when that finds some."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def undisturbed() -> Iterator[None]:
    """Look for no garbage meanwhile.

    What is made of thousands of rows either stays or goes by itself: to look through all that
    lasts once for every 700 of them finds nothing, and takes longer than the work.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
