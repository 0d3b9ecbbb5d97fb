"""The saved files are read no further than they say something."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lvs_nat.core import config
from lvs_nat.core.setup import Setup
from lvs_nat.daemon.paths import Paths
from lvs_nat.daemon.saved import read_rules, settings, setup_of
from lvs_nat.errors import ConfigError

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


# Root without capabilities may enter no folder that is closed to its owner.
WITHOUT_PRIVILEGE = """\
import sys
from lvs_nat.cli.main import main
from lvs_nat.system import privileges
privileges.keep_only(())
sys.exit(main(sys.argv[1:]))
"""


# A folder that the user may not enter, in folders of root's alone.
CLOSED = "/root" if os.geteuid() else "{}/closed"


@pytest.mark.parametrize("word", ["rules", "configtest"])
def test_a_rule_file_in_a_folder_that_the_user_may_not_enter_is_one_that_he_cannot_read(
    type_in, word
):
    code, complaint = type_in(word, rules="closed/rules", config="conf")

    assert (code, complaint) == (6, "lvs-nat: closed/rules: " + UNREADABLE)


@pytest.mark.parametrize(
    "settings, warned",
    [
        ("check = script\nprogram = /nosuch %h\n", "program = /nosuch: no such file or directory"),
        ("interface = nosuch0\n", "interface = nosuch0: is not there"),
        # What lies in a folder that the user may not enter may be there.
        ("check = tls\nca = {}/closed/ca\nverify = chain\n", ""),
        (f"check = script\nprogram = {CLOSED}/check\n", ""),
    ],
)
def test_configtest_warns_of_what_is_sure_to_be_missing(type_in, tmp_path, settings, warned):
    (tmp_path / "conf").write_text(settings.format(tmp_path))
    code, complaint = type_in("configtest", rules="rules", config="conf")

    ending = "; no check that needs it can pass\n"
    assert code == 0
    assert complaint == (f"lvs-nat: warning: conf: {warned}{ending}" if warned else "")


UNREADABLE = "cannot be read by this user; run as root\n"


@pytest.fixture
def type_in(tmp_path):
    """Type a command about files beside a folder that is closed; give its code and complaint."""
    (tmp_path / "closed").mkdir(0)
    (tmp_path / "rules").write_text("-A -t 172.25.0.10:80 -s rr\n")
    (tmp_path / "conf").touch()

    def run(word, rules, config):
        words = [word, "--rules", str(tmp_path / rules), "--config", str(tmp_path / config)]
        command = [sys.executable, "-c", WITHOUT_PRIVILEGE, *words]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stderr.replace(f"{tmp_path}/", "")

    yield run
    (tmp_path / "closed").chmod(0o700)


@pytest.mark.parametrize(
    "path, complaint",
    [
        ("missing", "does not exist: lvs-nat is not configured"),
        ("file/below", "lies below something that is not a directory"),
        ("circle", "is a symbolic link that leads in a circle"),
    ],
)
def test_only_of_a_missing_rule_file_it_is_said_that_it_does_not_exist(tmp_path, path, complaint):
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")

    with pytest.raises(ConfigError, match=complaint):
        read_rules(tmp_path / path)


def test_only_a_missing_settings_file_is_as_good_as_an_empty_one(tmp_path):
    (tmp_path / "circle").symlink_to("circle")

    assert settings(Paths(Path("rules"), tmp_path / "missing")) == (Setup(), "")
    with pytest.raises(ConfigError, match="leads in a circle"):
        settings(Paths(Path("rules"), tmp_path / "circle"))
    with pytest.raises(ConfigError, match="does not exist"):
        settings(Paths(Path("rules"), tmp_path / "missing", config_given=True))
