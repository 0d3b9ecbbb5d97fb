"""Where everything lies on the machine."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Paths(NamedTuple):
    """Where everything lies.

    config_given says that the operator has named the file; subsys is the init script's lock.
    """

    rules: Path
    config: Path = Path("/etc/lvs-nat/lvs-nat.conf")
    config_given: bool = False
    run_dir: Path = Path("/run/lvs-nat")
    state_dir: Path = Path("/var/lib/lvs-nat")
    subsys: Path = Path("/var/lock/subsys/lvs-nat")

    @property
    def pid_file(self) -> Path:
        return self.run_dir / "lvs-nat.pid"

    @property
    def socket(self) -> Path:
        return self.run_dir / "control"

    @property
    def memory(self) -> Path:
        return self.run_dir / "state.json"

    @property
    def sysctls(self) -> Path:
        return self.run_dir / "sysctl.json"

    @property
    def rescue(self) -> Path:
        return self.run_dir / "rescue"

    @property
    def wishes(self) -> Path:
        return self.state_dir / "wishes.json"

    @property
    def addresses(self) -> Path:
        return self.state_dir / "addresses.json"

    @property
    def timeouts(self) -> Path:
        return self.run_dir / "timeouts.json"

    @property
    def backup(self) -> Path:
        return self.state_dir / "ipvsadm.before-save"


def defaults() -> Paths:
    """Return the paths of this machine: Debian-like systems have no /etc/sysconfig."""
    debian = Path("/etc/debian_version").exists() and not Path("/etc/sysconfig").is_dir()
    return Paths(Path("/etc/ipvsadm.rules" if debian else "/etc/sysconfig/ipvsadm"))
