"""Where the lab's programs come from: this machine, or Debian packages unpacked beside it.

Nothing is installed and no privilege is needed: apt works in folders of its own and dpkg-deb
unpacks.  What a package needs of shared libraries is fetched too, where the machine lacks it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvs_nat.errors import NotInstalled

# Program: (Debian package, Red Hat package).
PROGRAMS = {
    "ip": ("iproute2", "iproute"),
    "tc": ("iproute2", "iproute-tc"),
    "ipset": ("ipset", "ipset"),
    "ipvsadm": ("ipvsadm", "ipvsadm"),
    "curl": ("curl", "curl"),
    "modprobe": ("kmod", "kmod"),
    "iptables": ("iptables", "iptables-nft"),
    "nft": ("nftables", "nftables"),
}
GUEST_PROGRAMS = {
    "linux.uml": ("user-mode-linux", ""),
    "busybox": ("busybox-static", ""),
    # User-mode Linux has no nftables; a package only unpacked has no plain `iptables`.
    "iptables-legacy": ("iptables", "iptables-nft"),
    **{name: it for name, it in PROGRAMS.items() if name != "iptables"},
}
# What the host's own Python runs on is never shadowed by a download.
HOST_ONLY = frozenset({"libc6", "libgcc-s1", "gcc-12-base", "gcc-14-base"})
SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Tools:
    """The programs at hand; *tree* is the root of unpacked packages, if any were needed."""

    tree: Path | None = None

    def path(self, program: str) -> Path:
        """Return where *program* lies, unpacked packages first; raise NotInstalled if nowhere."""
        places = [str(self.tree) + folder for folder in SEARCH.split(":")] if self.tree else []
        found = shutil.which(program, path=":".join([*places, SEARCH]))
        if found is None:
            raise NotInstalled(f"{program} is not there; install {GUEST_PROGRAMS[program][0]}")
        return Path(found)

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return *environ* so that unpacked programs and their libraries are found on this machine.

        Within the lab that is not needed: there they lie where they belong.
        """
        if not self.tree:
            return dict(environ)
        usr = self.tree / "usr"
        libraries = sorted((usr / "lib").glob("*-linux-gnu*"))
        # systemd has a library of its own, which its programs look for at its place.
        libraries += [folder for folder in sorted(usr.glob("lib/**/systemd")) if folder.is_dir()]
        found = [*map(str, libraries), *filter(None, [environ.get("LD_LIBRARY_PATH")])]
        path = f"{usr / 'bin'}:{usr / 'sbin'}:{environ.get('PATH', SEARCH)}"
        return {**environ, "PATH": path, "LD_LIBRARY_PATH": ":".join(found)}

    def folder(self, path: str) -> Path:
        """Return where the folder *path* of some package lies."""
        unpacked = Path(f"{self.tree}{path}")
        return unpacked if self.tree and unpacked.is_dir() else Path(path)


def gather(programs: Mapping[str, tuple[str, str]], environ: Mapping[str, str]) -> Tools:
    """Return *programs*, downloading what this machine lacks; NotInstalled if that cannot be.

    LVS_NAT_LAB_PACKAGES=download takes all of them from packages, as on a bare machine.
    """
    forced = environ.get("LVS_NAT_LAB_PACKAGES") == "download"
    missing = [name for name in programs if forced or not shutil.which(name, path=SEARCH)]
    if not missing:
        return Tools()
    packages = sorted({programs[name][0] for name in missing})
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise NotInstalled(advice([programs[name] for name in missing]))
    return Tools(unpacked(packages, cache(environ), forced))


def advice(packages: Iterable[tuple[str, str]]) -> str:
    """Return the sentence for a machine whose packages we cannot fetch."""
    red_hat = sorted({name for _, name in packages if name})
    if all(name for _, name in packages):
        return f"the lab needs programs that are not here: dnf install {' '.join(red_hat)}"
    return (
        "this kernel has no IPVS that we may use and there is no apt to fetch user-mode Linux with:"
        " on Fedora, EL and their like run this as root where `modprobe ip_vs` works"
        f" (kernel-modules-core, kernel-modules) after dnf install {' '.join(red_hat)};"
        " elsewhere install user-mode Linux (linux.uml), busybox and those"
    )


def cache(environ: Mapping[str, str]) -> Path:
    """Return the folder for downloads: $LVS_NAT_LAB_CACHE, the source tree's, or the user's."""
    if environ.get("LVS_NAT_LAB_CACHE"):
        return Path(environ["LVS_NAT_LAB_CACHE"]).absolute()
    source = Path(__file__).resolve().parents[2]
    if (source / "setup.cfg").exists():
        return source / ".cache" / "lab"
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lvs-nat"


def unpacked(packages: list[str], folder: Path, forced: bool) -> Path:
    """Return the tree of *packages* below *folder*, made if it is not there yet.

    It is keyed by what was asked and of which release, so that an upgrade of the machine
    fetches anew.  Several processes may ask at once; one fetches, the others wait.
    """
    key = hashlib.sha256(repr((packages, forced, release())).encode()).hexdigest()[:12]
    tree = folder / key / "tree"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f"{key}.lock"):
        if not tree.exists():
            shutil.rmtree(folder / key, ignore_errors=True)
            _fetch(packages, folder / key, forced)
    return tree


def _fetch(packages: list[str], place: Path, forced: bool) -> None:
    say(f"downloading {' '.join(packages)} (once; into {place})")
    here = HOST_ONLY if forced else HOST_ONLY | _installed()
    archives = download(packages, place / "debs", here)
    (place / "new").mkdir()
    for archive in archives:
        subprocess.run(["dpkg-deb", "-x", archive, place / "new"], check=True)
    _merge_usr(place / "new")
    shutil.rmtree(place / "debs")
    (place / "new").rename(place / "tree")
    say(f"{len(archives)} packages unpacked")


def download(
    packages: Sequence[str], folder: Path, here: Collection[str] = frozenset()
) -> list[Path]:
    """Download *packages* into the new *folder*, and all they need but is not *here*.

    A package is named as for apt-get install, patterns included.  Raises NotInstalled.
    """
    with tempfile.TemporaryDirectory(prefix="lvs-nat-apt.") as name:
        place = Path(name)
        for part in ("lists/partial", "archives/partial"):
            (place / part).mkdir(parents=True)
        folder.mkdir(parents=True)
        _download(packages, place, folder, here)
    return sorted(folder.glob("*.deb"))


def _download(packages: Sequence[str], place: Path, folder: Path, here: Collection[str]) -> None:
    # An update fails as a whole if one foreign archive does; the download tells if it matters.
    update = _apt(place, folder, "update")
    # Asked of an empty machine, apt names all that is needed, whatever state this one is in.
    plan = _apt(place, folder, "--simulate", "--no-install-recommends", "install", *packages)
    if plan.returncode:
        raise NotInstalled(
            f"apt-get cannot find {' '.join(packages)}:"
            f" {plan.stderr.strip() or update.stderr.strip()}"
        )
    needed = [line.split()[1] for line in plan.stdout.splitlines() if line.startswith("Inst ")]
    wanted = [name for name in needed if name in packages or name not in here]
    done = _apt(place, folder, "download", *wanted)
    if done.returncode:
        raise NotInstalled(f"apt-get download failed: {done.stderr.strip()}")


def _apt(place: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "Dir::State::lists": place / "lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": place,
        "Debug::NoLocking": "true",
        "Acquire::Retries": "3",
        "APT::Sandbox::User": "",  # root would become _apt, who cannot write here
        "APT::Get::Show-User-Simulation-Note": "false",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    return subprocess.run(
        ["apt-get", "-qq", *options, *arguments],
        cwd=folder,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def _installed() -> frozenset[str]:
    query = ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package}\n"]
    lines = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    return frozenset(name for state, name in map(str.split, lines) if state == "installed")


def _merge_usr(tree: Path) -> None:
    """Put /bin, /sbin and /lib below /usr where the machine has links there.

    As folders of an overlay's upper layer they would hide the machine's links.
    """
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        folder = tree / name
        if folder.is_dir() and Path("/", name).is_symlink():
            shutil.copytree(folder, tree / "usr" / name, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(folder)


def release() -> str:
    """Return what tells one release of this machine's system from another."""
    try:
        return Path("/etc/os-release").read_text()
    except FileNotFoundError:
        return ""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time go on, of all that name *path*."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    """Tell whoever waits what takes so long."""
    print(f"lab: {text}", file=sys.stderr, flush=True)
