"""What can go wrong, said so that the operator knows what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class LvsNatError(Exception):
    """An error the operator can act on.  Its text is all there will be to read.

    exit_code follows the LSB init script actions, so a service script passes it on unchanged.
    """

    exit_code = 1


class Problem(NamedTuple):
    """One thing wrong with one line of one file; line 0 means the file as a whole."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{place}: {self.message}"


class ConfigError(LvsNatError):
    """The configuration cannot be used.  Every problem found is reported at once."""

    exit_code = 6

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class KernelError(LvsNatError):
    """The kernel refused an operation on the IPVS table; errno is 0 where none was given."""

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


class UsageError(LvsNatError):
    """The command line is not one of ours."""

    exit_code = 2


class NotPrivileged(LvsNatError):
    """The act needs root."""

    exit_code = 4


class NotInstalled(LvsNatError):
    """Something the director cannot do without is missing: IPVS in the kernel, a library."""

    exit_code = 5


class Contested(LvsNatError):
    """Other programs write to the same table, as this machine is configured."""

    exit_code = 6


class NotRunning(LvsNatError):
    """No director answers on the control socket."""

    exit_code = 7


class AlreadyRunning(LvsNatError):
    """Another director holds the lock.  LSB calls a second start a success."""

    exit_code = 0
