"""Other people's programs that judge what we package: this machine's, or fetched beside the tree.

`python -m tests.judges` fetches them, so that a download is seen.
"""

import os
import shutil
import subprocess
import sys

from lvs_nat.errors import NotInstalled
from lvs_nat.lab import packages

# Program: (Debian package, Red Hat package).
PROGRAMS = {
    "groff": ("groff-base", "groff-base"),
    "logrotate": ("logrotate", "logrotate"),
    "mandoc": ("mandoc", "mandoc"),
    "systemd-analyze": ("systemd", "systemd"),
    "zsh": ("zsh", "zsh"),
}


class Judges:
    """The programs of *tools*, each run as if it were installed."""

    def __init__(self, tools):
        self._tools = tools
        self._environ = tools.environment({"PATH": packages.SEARCH, "LC_ALL": "C.UTF-8"})
        if tools.tree:
            groff = tools.tree / "usr/share/groff/current"
            self._environ["GROFF_BIN_PATH"] = str(tools.tree / "usr/bin")
            self._environ["GROFF_FONT_PATH"] = str(groff / "font")
            self._environ["GROFF_TMAC_PATH"] = f"{groff / 'tmac'}:{tools.tree}/etc/groff"
            self._environ["SYSTEMD_UNIT_PATH"] = f"{tools.tree}/usr/lib/systemd/system:"

    def __contains__(self, program):
        return bool(shutil.which(program, path=self._environ["PATH"]))

    def run(self, program, *words):
        """Return exit status, output and errors."""
        done = subprocess.run([program, *words], capture_output=True, text=True, env=self._environ)
        return done.returncode, done.stdout, done.stderr


def fetched():
    """Return them all; raise NotInstalled where one is not here and cannot be fetched."""
    return Judges(packages.gather(PROGRAMS, os.environ))


def installed():
    """Return those that this machine has."""
    return Judges(packages.Tools())


if __name__ == "__main__":
    try:
        fetched()
    except NotInstalled as error:
        sys.exit(str(error))
