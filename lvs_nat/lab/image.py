"""Disks of whole machines: Debian with the init system that is asked for, made without privilege.

What needs root, dpkg above all, is done by user-mode Linux, on the disk itself.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from lvs_nat.errors import NotInstalled
from lvs_nat.lab import packages
from lvs_nat.lab.uml import MODULES, kept, memory_folder

PROGRAMS = {
    "linux.uml": ("user-mode-linux", ""),
    "mke2fs": ("e2fsprogs", "e2fsprogs"),
}
ESSENTIAL = ("?essential", "mount")
COMMON = (
    *("iproute2", "ipvsadm", "kmod", "netbase", "passwd", "procps", "python3", "rpm"),
    "iputils-ping",
)
SIZE = 1 << 30  # bytes, of which a quarter is written
PATIENCE = 600  # seconds for dpkg, which needs 60 on an idle machine
HERE = Path(__file__).parent


class Init(Enum):
    """The first process of a machine, and the packages that it takes."""

    SYSTEMD = ("systemd-sysv", "dbus")
    SYSV = ("sysvinit-core", "insserv", "inetutils-syslogd")


# The same for every machine: no manuals, and no waiting for the disk, which may be lost.
FILES = {
    "etc/dpkg/dpkg.cfg.d/lab": "force-unsafe-io\n"
    + "".join(f"path-exclude=/usr/share/{name}/*\n" for name in ("doc", "man", "locale", "info")),
    "etc/hostname": "lab\n",
    "etc/hosts": "127.0.0.1 localhost lab\n",
}
SYSTEMD_FILES = {
    "etc/systemd/system/boot-agent.service": """\
[Unit]
Description=Runs what the lab asks for
After=basic.target

[Service]
ExecStart=/usr/local/sbin/boot-agent /dev/tty1
KillMode=process

[Install]
WantedBy=multi-user.target
""",
    # Packages from Fedora come with everything off.
    "usr/lib/systemd/system-preset/00-lab.preset": "enable boot-agent.service\ndisable *\n",
}
FINISH = {
    Init.SYSTEMD: """\
systemctl enable boot-agent.service
systemctl mask ipvsadm.service getty@tty1.service getty.target apt-daily.timer \\
    apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer \\
    e2scrub_reap.service systemd-firstboot.service
systemd-machine-id-setup
""",
    # Red Hat's places; links made without insserv are heeded; no terminal is there to log in at.
    Init.SYSV: """\
update-rc.d -f ipvsadm remove
sed -i /getty/d /etc/inittab
echo 'ag:2345:respawn:/usr/local/sbin/boot-agent /dev/tty1' >>/etc/inittab
touch /etc/init.d/.legacy-bootordering
""",
}


def image(init: Init, environ: Mapping[str, str]) -> Path:
    """Return a disk that boots with *init*, made if it is not there yet (a minute or two)."""
    tools = packages.gather(PROGRAMS, environ)
    modules = tools.folder(MODULES)
    scripts = [(HERE / name).read_text() for name in ("image-init", "boot-agent")]
    words = (ESSENTIAL, COMMON, init.value, _files(init, modules), _finish(init), scripts)
    key = hashlib.sha256(repr((words, packages.release())).encode()).hexdigest()[:12]
    folder = packages.cache(environ) / "images"
    folder.mkdir(parents=True, exist_ok=True)
    disk = folder / f"{init.name.lower()}-{key}.img"
    with packages.locked(disk.with_suffix(".lock")):
        if not disk.exists():
            for old in folder.glob(f"{init.name.lower()}-*.img"):
                old.unlink()
            _make(disk, init, tools, modules)
    return disk


def _make(disk: Path, init: Init, tools: packages.Tools, modules: Path) -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lvs-nat-image.", dir=disk.parent) as name:
        place = Path(name)
        packages.say(f"making a machine with {init.name.lower()} (once)")
        packages.download(ESSENTIAL, place / "essential")
        packages.download((*ESSENTIAL, *COMMON, *init.value), place / "others")
        for archive in (place / "essential").iterdir():
            (place / "others" / archive.name).unlink()
        _unpack(place / "essential", place / "root")
        _add(place, init, modules)
        new = place / "disk"
        new.touch()
        os.truncate(new, SIZE)
        command = (tools.path("mke2fs"), "-q", "-t", "ext4", "-O", "^has_journal", "-L", "root")
        subprocess.run((*command, "-d", place / "root", new), check=True)
        _install(new, place, tools)
        new.rename(disk)
    packages.say(f"made in {time.monotonic() - began:.0f} s: {disk}")


def _unpack(archives: Path, root: Path) -> None:
    """Unpack *archives* as far as is needed to run dpkg there."""
    for folder in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / folder).mkdir(parents=True)
        (root / folder).symlink_to(f"usr/{folder}")
    for folder in ("proc", "sys", "dev", "run", "mnt", "tmp"):
        (root / folder).mkdir()
    for archive in sorted(archives.glob("*.deb")):
        with subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE
        ) as reading:
            unpack = ("tar", "-x", "--keep-directory-symlink", "-C", root)
            subprocess.run(unpack, stdin=reading.stdout, check=True)
    shutil.copy(HERE / "image-init", root / "image-init")
    (root / "image-init").chmod(0o755)


def _files(init: Init, modules: Path) -> dict[str, str]:
    """Return the files that are added to the packages, by their paths."""
    table = f"/dev/ubda / ext4 defaults 0 0\nnone /lib/modules hostfs {modules},ro 0 0\n"
    return {**FILES, "etc/fstab": table, **(SYSTEMD_FILES if init is Init.SYSTEMD else {})}


def _finish(init: Init) -> str:
    """Return the script that is run in the machine when all is there."""
    common = "mkdir -p /lib/modules /etc/rc.d\nln -s ../init.d /etc/rc.d/init.d\n"
    return f"{common}{FINISH[init]}rm /image-init\n"


def _add(place: Path, init: Init, modules: Path) -> None:
    for name, text in _files(init, modules).items():
        path = place / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    agent = place / "files/usr/local/sbin/boot-agent"
    agent.parent.mkdir(parents=True)
    shutil.copy(HERE / "boot-agent", agent)
    agent.chmod(0o755)
    (place / "finish").write_text(_finish(init))


def _install(disk: Path, place: Path, tools: packages.Tools) -> None:
    """Boot *disk* with image-init, which has dpkg do its work there."""
    guest = Path(tempfile.mkdtemp(prefix="lvs-nat-image."))
    with kept(guest) as keep, (guest / "console").open("wb") as console:
        process = subprocess.Popen(
            [
                *(str(tools.path("linux.uml")), f"ubd0={disk}", "root=/dev/ubda"),
                *("rw", "init=/image-init", f"ORDERS={place}", "mem=512M", "umid=guest"),
                *(f"uml_dir={guest}", "noreboot", "panic=-1", "selinux=0", "apparmor=0"),
                *("con=null", "ssl=null", "con0=null,fd:1"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            env={"PATH": os.defpath, "TMPDIR": str(memory_folder("512M", guest))},
            start_new_session=True,
        )
        keep(process)
        deadline = time.monotonic() + PATIENCE
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while time.monotonic() < deadline and not os.waitid(os.P_PID, process.pid, look):
            time.sleep(0.1)
        status = place / "status"
        if not status.exists() or status.read_text() != "0\n":
            said = place / "output" if (place / "output").exists() else guest / "console"
            text = said.read_text(errors="replace")
            raise NotInstalled(f"the machine's disk could not be made:\n{text[-3000:]}")
