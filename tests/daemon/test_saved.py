"""The saved files are read no further than they say something."""

import subprocess
import sys
from pathlib import Path

import pytest

from lvs_nat.core import config
from lvs_nat.daemon.saved import setup_of

INSTALLED = Path(__file__).parents[2] / "etc/lvs-nat.conf"
LOADED = f"""\
import sys
from pathlib import Path
from lvs_nat.daemon.saved import setup_of
setup_of(Path({str(INSTALLED)!r}).read_text(), "lvs-nat.conf")
print("configobj" in sys.modules)
"""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n \t\n",
        "# check = http",
        "\ufeff# a mark first\r\n\r\n",
        "fall = 3\n",
        "# \x85fall = 3",
        INSTALLED.read_text(),
    ],
    ids=lambda text: repr(text[:20]),
)
def test_settings_are_what_they_are_to_whoever_reads_all_of_them(text):
    assert setup_of(text, "lvs-nat.conf") == config.parse(text, "lvs-nat.conf")


def test_the_file_as_it_is_installed_takes_no_library_to_read():
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("False\n", "")
