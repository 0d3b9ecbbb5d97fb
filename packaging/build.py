"""The RPMs are built, and judged, from this tree: as an ordinary user, on Red Hat or Debian."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import lvs_nat
from lvs_nat.errors import LvsNatError
from lvs_nat.lab import packages

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "packaging"
SPEC = ROOT / "lvs-nat.spec"
OUT = ROOT / "build" / "rpm"
# Program: (Debian package, Red Hat package).
BUILDING = {"rpmbuild": ("rpm", "rpm-build")}
JUDGING = {"rpmlint": ("rpmlint", "rpmlint"), "rpm": ("rpm", "rpm")}


def main() -> int:
    """Build into build/rpm, or judge what lies there; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lint", action="store_true", help="judge what has been built")
    parser.add_argument("--nocheck", action="store_true", help="build without running the tests")
    parser.add_argument(
        "--next",
        action="store_true",
        help="build this tree as the version after it, into build/rpm/next, to try an upgrade",
    )
    arguments = parser.parse_args()
    try:
        if arguments.lint:
            return lint()
        version = following(lvs_nat.__version__) if arguments.next else lvs_nat.__version__
        return build(version, OUT / "next" if arguments.next else OUT, arguments.nocheck)
    except LvsNatError as error:
        print(f"rpm: {error}", file=sys.stderr)
        return error.exit_code


def build(version: str, out: Path, nocheck: bool) -> int:
    """Put the RPMs and the source RPM of this tree into *out*; the tests run on the way."""
    tools = packages.gather(BUILDING, os.environ)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rpm.", dir=OUT) as top:
        sources, tree = Path(top, "SOURCES"), Path(top, f"lvs-nat-{version}")
        sources.mkdir()
        copy(tree, version)
        archive(tree, sources / f"{tree.name}.tar.gz")
        for file in (HERE / "lvs-nat.sysusers", *libraries()):
            shutil.copy(file, sources)
        command = [*rpmbuild(tools, Path(top)), *(["--nocheck"] if nocheck else []), "-ba"]
        done = subprocess.run(
            [*command, str(tree / SPEC.name)],
            env={**environment(tools), "SOURCE_DATE_EPOCH": date()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            print(done.stdout, file=sys.stderr)
            return 1
        for old in out.glob("*.rpm"):
            old.unlink()
        for new in (*Path(top).glob("RPMS/*/*.rpm"), *Path(top).glob("SRPMS/*.rpm")):
            print(shutil.move(new, out / new.name).relative_to(ROOT))
    return 0


def following(version: str) -> str:
    """Return the version after *version*."""
    *first, last = version.split(".")
    return ".".join([*first, str(int(last) + 1)])


def copy(tree: Path, version: str) -> None:
    """Copy this working copy's files to *tree*, as those of *version*."""
    ours = ("--cached", "--others", "--exclude-standard")
    listing = ["git", "-C", str(ROOT), "ls-files", "-z", *ours]
    files = subprocess.run(listing, capture_output=True, check=True, text=True).stdout
    for name in files.split("\0")[:-1]:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    for name in (SPEC.name, "lvs_nat/__init__.py"):
        text = (tree / name).read_text()
        (tree / name).write_text(text.replace(lvs_nat.__version__, version))


def rpmbuild(tools: packages.Tools, top: Path) -> list[str]:
    """Return how rpmbuild is called below *top*, lent the macros that it lacks."""
    settings = {"_topdir": top, "_dbpath": top / "db", "_tmppath": top, "__python3": sys.executable}
    words = [str(tools.path("rpmbuild"))]  # not --quiet, which hides what %check has to say
    macros = [*words, "--eval", "%{?systemd_post:yes}"]
    known = subprocess.run(macros, env=environment(tools), capture_output=True, text=True)
    if known.stdout.strip() != "yes":
        words += ["--load", str(HERE / "debian.macros")]
    # What the tests need is in this Python, not in the rpm database.
    words += ["--nodeps"]
    return [*words, *(f"--define={name} {value}" for name, value in settings.items())]


def archive(tree: Path, path: Path) -> None:
    """Write *tree* to *path*, in the same bytes each time."""
    subprocess.run(
        [
            *("tar", "--create", f"--file={path}", "--use-compress-program=gzip -n"),
            *("--sort=name", "--owner=0", "--group=0", "--mode=u=rwX,go=rX", f"--mtime=@{date()}"),
            *(f"--directory={tree.parent}", tree.name),
        ],
        check=True,
    )


def date() -> str:
    """Return the time of the last commit, in seconds since 1970."""
    last = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    return subprocess.run(last, capture_output=True, text=True, check=True).stdout.strip()


def libraries() -> list[Path]:
    """Return the wheels that are bundled, downloaded once and held to their hashes."""
    pins = HERE / "bundled.txt"
    key = hashlib.sha256(pins.read_bytes()).hexdigest()[:12]
    place = packages.cache(os.environ).parent / "bundled" / key
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as new:
            pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
            what = ("--require-hashes", "--no-deps", "--only-binary=:all:", f"--requirement={pins}")
            subprocess.run([*pip, "download", *what, f"--dest={new}/wheels"], check=True)
            os.rename(f"{new}/wheels", place)
    return sorted(place.glob("*.whl"))


def lint() -> int:
    """Run rpmlint over what has been built; what it may say is in packaging/rpmlint.toml."""
    built = sorted(OUT.glob("*.rpm"))
    if not built:
        raise LvsNatError("nothing has been built; run make rpm")
    tools = packages.gather(JUDGING, os.environ)
    # Debian's rpmlint belongs to Debian's Python, not to the first one of the path.
    python = ("/usr/bin/python3",) if tools.tree else ()
    config = f"--config={HERE / 'rpmlint.toml'}"
    command = [*python, str(tools.path("rpmlint")), "--strict", config, *map(str, (SPEC, *built))]
    return subprocess.run(command, env=environment(tools)).returncode


def environment(tools: packages.Tools) -> dict[str, str]:
    """Return this process's environment, in which programs of *tools* find what they need."""
    environ = tools.environment({**os.environ, "LC_ALL": "C.UTF-8"})
    if tools.tree:
        usr = tools.tree / "usr"
        environ["RPM_CONFIGDIR"] = str(usr / "lib/rpm")
        environ["PYTHONPATH"] = str(usr / "lib/python3/dist-packages")
        environ["XDG_CONFIG_DIRS"] = str(tools.tree / "etc/xdg")
    return environ


if __name__ == "__main__":
    sys.exit(main())
