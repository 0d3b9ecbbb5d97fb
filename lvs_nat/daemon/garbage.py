"""Python's search for garbage is put off while what is made is there to stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def undisturbed() -> Iterator[None]:
    """Look for no garbage in the block of `with`.

    What is made of thousands of rows either stays or is freed by its count of references: to
    walk all objects once for every 700 new ones finds nothing, and takes longer than the work.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
