"""What the spec file says twice, or says of other files, must agree with them."""

import re
from pathlib import Path

import lvs_nat

ROOT = Path(__file__).parent.parent.parent
SPEC = (ROOT / "lvs-nat.spec").read_text()
PINNED = dict(
    re.findall(r"^([\w-]+)==([\d.]+)", (ROOT / "packaging/bundled.txt").read_text(), re.M)
)


def test_the_package_has_the_version_of_the_program():
    version = re.search(r"^Version: +(\S+)$", SPEC, re.M)[1]
    newest = re.search(r"^%changelog\n\* .* - (\S+)-\d+$", SPEC, re.M)[1]

    assert (version, newest) == (lvs_nat.__version__, lvs_nat.__version__)


def test_what_is_bundled_is_what_is_pinned():
    sources = re.findall(r"^Source1\d: +(\w+)-([\d.]+)-\S+\.whl$", SPEC, re.M)
    provided = re.findall(r"^Provides: +bundled\(python3dist\((\S+)\)\) = (\S+)$", SPEC, re.M)

    assert {name.replace("_", "-"): version for name, version in sources} == PINNED
    assert dict(provided) == PINNED


def test_every_library_that_is_needed_is_bundled_or_required():
    needed = re.search(
        r"^install_requires =\n((?: +\S+\n)+)", (ROOT / "setup.cfg").read_text(), re.M
    )
    names = re.findall(r"^ +([\w-]+)", needed[1], re.M)
    required = re.findall(r"^Requires: +python3dist\((\S+)\)", SPEC, re.M)

    assert set(names) == set(required)
    assert set(names) <= set(PINNED)


def test_rpmlint_is_silenced_with_a_reason_a_line():
    lines = (ROOT / "packaging/rpmlint.toml").read_text().splitlines()
    silenced = [number for number, line in enumerate(lines) if line.startswith('    "')]

    first = [number for number in silenced if number - 1 not in silenced]
    assert all(lines[number - 1].startswith("    # ") for number in first)
