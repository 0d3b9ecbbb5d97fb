"""The program, as the package installs it, starts on each Python that this machine has."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lvs_nat import __version__
from lvs_nat.lab import packages
from tests.boot.conftest import BUILT, ROOT, no_rpms

pytestmark = [pytest.mark.boot, pytest.mark.limit(180)]
VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13")
ARCHIVER = {"rpm2archive": ("rpm", "rpm")}
# With the interpreter at the place that the program names.  What serves is told last: the prober
# lives, as the server is up, and the director is run by that interpreter.
LIFE = """\
set -e
cp -R "$1/." /
ln -sfn "$2" /usr/bin/python3
ip address add 10.0.0.1/32 dev lo
ip address add 10.0.1.1/32 dev lo
echo 0 >/run/no-delay
"$2" -IS "$3" lvs01 80 /run/no-delay >/run/web &
until grep -q ready /run/web; do sleep 0.1; done
echo '-A -t 10.0.0.1:80 -s rr' >/etc/sysconfig/ipvsadm
echo '-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 1' >>/etc/sysconfig/ipvsadm
lvs-nat --version
lvs-nat configtest
lvs-nat start >/run/table
lvs-nat reexec >/run/reexec
lvs-nat status | grep -o '1 of 1 real server serving'
test "/proc/$(cat /run/lvs-nat/lvs-nat.pid)/exe" -ef "$2"
lvs-nat stop >/run/stop
lvs-nat status || echo "status $?"
"""


def pythons():
    """Return the interpreters of VERSIONS that are here, as make test-pythons looks for them."""
    found = []
    for version in VERSIONS:
        kept = Path.home().glob(f".pyenv/versions/{version}.*/bin/python")
        for path in filter(None, [shutil.which(f"python{version}"), *sorted(map(str, kept))]):
            say = "import sys; print('%d.%d %s' % (*sys.version_info[:2], sys.executable))"
            done = subprocess.run([path, "-I", "-c", say], capture_output=True, text=True)
            if done.stdout.split(" ", 1)[0] == version:
                found.append(os.path.realpath(done.stdout.split(" ", 1)[1].strip()))
                break
    return found


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The files of the package, as rpm puts them down."""
    (package,) = [*BUILT.glob("lvs-nat-[0-9]*.noarch.rpm")] or no_rpms(BUILT)
    tools = packages.gather(ARCHIVER, os.environ)
    archive = subprocess.run(
        [tools.path("rpm2archive"), "-n", "-"],
        input=package.read_bytes(),
        env=tools.environment(os.environ),
        capture_output=True,
        check=True,
    ).stdout
    folder = tmp_path_factory.mktemp("package")
    subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
    return folder


@pytest.mark.parametrize("python", pythons() or ["none"], ids=lambda it: Path(it).name)
def test_one_package_serves_every_python(unpacked, python):
    assert python != "none", f"none of Python {', '.join(VERSIONS)} is here"
    # As the scriptlets do.
    subprocess.run([python, "-I", "-m", "compileall", "-q", unpacked / "usr/share"], check=True)

    done = subprocess.run(
        [
            *(sys.executable, "-m", "lvs_nat.lab", "-t", "120", "--"),
            *("sh", "-c", LIFE, "life", unpacked, python, ROOT / "lvs_nat/lab/web.py"),
        ],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [
        f"lvs-nat {__version__}",
        "/etc/sysconfig/ipvsadm: 1 virtual service, 1 real server: OK",
        "1 of 1 real server serving",
        "lvs-nat is stopped",
        "status 3",
    ]
