"""The daemons that watch over one virtual service of the lab, at settings that are compared."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.daemons import LAUNCHER, command_line, libraries, tools
from bench.pools import KINDS
from lvs_nat.lab.topology import VIRTUAL, Lab

# All ask once a second.  At equal settings all believe two failures, the second question coming
# this much after the first has failed, and wait for this long for an answer; seconds.
FAST, TIMEOUT = 0.2, 1.0
# Nothing of what is waited for takes so long, in seconds.
PATIENCE = 60.0


@dataclass(frozen=True)
class Contender:
    """A daemon at some settings: equal, default, or more, which are lines of lvs-nat.conf."""

    daemon: str
    settings: str
    more: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.daemon}, {self.settings}"

    def start(self, lab: Lab, folder: Path, kind: str, servers: Sequence[str]) -> Watch:
        """Have it ask *servers* a question of *kind*."""
        command = STARTS[self.daemon](self, folder, kind, servers)
        ours = self.daemon == "lvs-nat"
        environ = None if ours else libraries()
        with (folder / "log").open("w") as log:
            process = lab.popen(
                "director", command, cwd=folder, env=environ, stdout=log, stderr=log
            )
        return Watch(lab, folder, process, ours)


class Watch:
    """One daemon at work in the lab; `stop` ends it, and leaves nothing behind."""

    def __init__(self, lab: Lab, folder: Path, process: subprocess.Popen[str], ours: bool) -> None:
        self._lab = lab
        self._folder = folder
        self._process = process
        self._ours = ours

    def stop(self) -> None:
        """End the daemon; empty the table."""
        if self._ours:
            self._lab.run("director", command_line(self._folder, "stop"), cwd=self._folder)
        else:
            self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._lab.run("director", ["ipvsadm", "-C"])

    def said(self) -> str:
        """Return what the daemon has written."""
        return (self._folder / "log").read_text(errors="replace")


def our_command(it: Contender, folder: Path, kind: str, servers: Sequence[str]) -> list[str]:
    """Write lvs-nat's files; return its command."""
    rules = [f"-A -t {VIRTUAL}:80 -s rr"]
    rules += [f"-a -t {VIRTUAL}:80 -r {server}:80 -m -w 1" for server in servers]
    settings = [f"{key} = {value}" for key, value in KINDS[kind].ours.items()]
    if it.settings == "equal":  # by checks alone, and whoever fails is removed at once
        settings += [f"fast = {FAST}", f"timeout = {TIMEOUT}", "fall = 2"]
        settings += ["watch = no", "on_failure = remove"]
    (folder / "rules").write_text("\n".join(rules) + "\n")
    (folder / "conf").write_text("\n".join([*settings, *it.more]) + "\n")
    (folder / "program").write_text(LAUNCHER)
    return command_line(folder, "run")


def keepalived(it: Contender, folder: Path, kind: str, servers: Sequence[str]) -> list[str]:
    """Write keepalived's configuration; return its command."""
    (folder / "keepalived.conf").write_text("\n".join(keepalived_conf(it, kind, servers)) + "\n")
    files = {"-f": "keepalived.conf", "-p": "keepalived.pid", "-c": "checkers.pid"}
    places = [word for key, name in files.items() for word in (key, str(folder / name))]
    return [str(tools().path("keepalived")), "-n", "-G", "-C", *places]


def keepalived_conf(it: Contender, kind: str, servers: Sequence[str]) -> Iterator[str]:
    """Yield its lines: as it is shipped it asks once a minute, and waits for five seconds."""
    checker = "\n".join(KINDS[kind].keepalived or ()).replace("TIMEOUT", f"{TIMEOUT:g}")
    yield f"virtual_server {VIRTUAL} 80 {{"
    yield "delay_loop 1\nlb_algo rr\nlb_kind NAT\nprotocol TCP"
    if it.settings == "equal":
        yield f"retry 1\ndelay_before_retry {FAST}"
    for server in servers:
        yield f"real_server {server} 80 {{\nweight 1\n{checker}\n}}"
    yield "}"


def ldirectord(it: Contender, folder: Path, kind: str, servers: Sequence[str]) -> list[str]:
    """Write ldirectord's configuration; return its command."""
    Path("/run/ldirectord").mkdir(exist_ok=True)
    path = folder / "ldirectord.cf"
    path.write_text("\n".join(ldirectord_cf(it, folder, kind, servers)) + "\n")
    return ["perl", str(tools().path("ldirectord")), str(path), "start"]


def ldirectord_cf(it: Contender, folder: Path, kind: str, servers: Sequence[str]) -> Iterator[str]:
    """Yield its lines; it knows whole seconds only, and cannot ask sooner a second time."""
    yield f"checktimeout={TIMEOUT:.0f}\nnegotiatetimeout={TIMEOUT:.0f}\ncheckinterval=1"
    if it.settings == "equal":
        yield "failurecount=2"
    yield f'supervised=yes\nquiescent=no\nlogfile="{folder}/ldirectord.log"'
    yield f"virtual={VIRTUAL}:80\n\tscheduler=rr\n\tprotocol=tcp"
    yield from (f"\treal={server}:80 masq" for server in servers)
    yield from (f"\t{line}" for line in KINDS[kind].ldirectord or ())


STARTS = {"lvs-nat": our_command, "keepalived": keepalived, "ldirectord": ldirectord}
