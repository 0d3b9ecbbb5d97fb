"""The tutorial's day, played on a real kernel: start, edit, failure, return, save, stop."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TextIO

import lvs_nat
from lvs_nat.errors import NotInstalled
from lvs_nat.lab.load import Request
from lvs_nat.lab.stage import Stage
from lvs_nat.lab.topology import PRIVATE, URL, Lab, until

RULES = """\
-A -t 172.25.0.10:80 -s rr
-a -t 172.25.0.10:80 -r 192.168.122.10:80 -m -w 5
-a -t 172.25.0.10:80 -r 192.168.122.20:80 -m -w 10
"""
RULE_FILE = "/etc/sysconfig/ipvsadm"
SCRIPT = "/etc/init.d/lvs-nat"
PROGRAM = "/usr/sbin/lvs-nat"
# Without the machine's own init functions the script looks the same on every machine.
FOLDERS = (*PRIVATE, "/etc/init.d", "/lib/lsb", "/var/lock/subsys")
LVS01 = "192.168.122.10:80"
SETTINGS = ("ip_forward", "conf/all", "conf/default", "conf/eth0", "conf/eth1", "vs")
SWITCHES = (
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/conf/eth0/send_redirects",
    "/proc/sys/net/ipv4/conf/eth1/send_redirects",
)
# Promised at the default settings, in seconds after a real server's death or return.
LAST_FAILURE, OUT, BACK = 1.5, 3.5, 3.0
# Nothing that is waited for takes this long, in seconds, however slow the machine.
PATIENCE = 20.0
RATE = 50  # requests a second


def play(out: TextIO, colour: bool, keep: bool = False) -> list[str]:
    """Show it all on *out*; return the promises that were broken.

    With *keep* a shell on the director comes before the end.  Runs in the lab's kernel only,
    whose files are a copy.
    """
    Path("/var/lock").resolve().mkdir(exist_ok=True)  # it may lead into an empty /run
    with Lab(private=FOLDERS) as lab:
        install()
        stage = Stage(lab, out, colour)
        stage.scene("Before: the director is a router with an empty table.")
        stage.type("ipvsadm -Ln")
        before = _settings(lab)
        start(stage)
        edit(stage)
        fail(stage)
        save(stage)
        if keep:
            _shell(stage)
        stop(stage, before)
    return stage.broken


def install() -> None:
    """Put rules, init script and program where an administrator would."""
    Path(RULE_FILE).write_text(RULES)
    shutil.copy(init_script(), SCRIPT)
    tree = str(Path(lvs_nat.__file__).parent.parent)
    code = (
        f"import sys; sys.path.insert(0, {tree!r}); from lvs_nat.cli.main import command; command()"
    )
    Path(PROGRAM).unlink(missing_ok=True)
    # A #! line would end at the first blank of a path.
    Path(PROGRAM).write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-c", code])} "$@"\n')
    for program in (SCRIPT, PROGRAM):
        Path(program).chmod(0o755)


def init_script() -> Path:
    """Return where the init script lies: beside the source, or where packages put it."""
    source = Path(lvs_nat.__file__).parent.parent / "packaging"
    for folder in (source, Path(sys.prefix, "share/lvs-nat"), Path("/usr/share/lvs-nat")):
        if (folder / "lvs-nat.init").exists():
            return folder / "lvs-nat.init"
    raise NotInstalled(f"the init script is missing; put it into {folder}")


def start(stage: Stage) -> None:
    """The service starts, and clients are served in turn."""
    stage.scene("Start: forwarding on, redirects off, both servers asked, the table filled.")
    stage.type(f"cat {RULE_FILE}")
    shown = stage.type(f"{SCRIPT} start")
    stage.promise(shown.endswith(_listing(stage.lab)), "the table is shown as ipvsadm -Ln shows it")
    seen = stage.type(f"cat {' '.join(SWITCHES)}").split()
    stage.promise(seen == ["1", "0", "0"], "forwarding is on, redirects are off")
    stage.scene("Round robin: a client is answered by one server, then by the other.")
    answers = [stage.type(f"curl -s {URL}", "client") for _ in range(8)]
    alternating = all(one != other for one, other in zip(answers, answers[1:]))
    stage.promise(alternating and len(set(answers)) == 2, "lvs01 and lvs02 alternate")


def edit(stage: Stage) -> None:
    """The scheduler is changed by hand, and stays changed."""
    stage.scene("An edit by hand: by weight from now on, 5 to 10.")
    command = "ipvsadm -E -t 172.25.0.10:80 -s wrr"
    stage.type(command)
    answers = [stage.type(f"curl -s {URL}", "client") for _ in range(9)]
    stage.promise(answers.count("lvs02 host!\n") == 6, "two of three answers are lvs02's")
    until(lambda: command in _status(stage.lab), PATIENCE, "the director notices the edit")
    stage.type("ipvsadm -Ln")
    stage.promise(
        "172.25.0.10:80 wrr\n" in _listing(stage.lab), "the edit is noticed, and not reverted"
    )


def fail(stage: Stage) -> None:
    """A web server is killed under load, and started again."""
    lab = stage.lab
    stage.scene(f"Failure: lvs01's web server is killed under {RATE} requests a second.")
    load = lab.load(RATE, 600)
    until(lambda: len(load.records()) > RATE, PATIENCE, "the load is under way")
    lab.kill_server("lvs01")
    killed = time.monotonic()
    until(lambda: LVS01 not in _listing(lab), PATIENCE, "lvs01 leaves the table")
    gone = time.monotonic() - killed
    stage.promise(gone <= OUT, f"lvs01 had left the table after {gone:.1f} s")
    stage.type("lvs-nat status")
    until(lambda: load.records()[-1].start > killed + OUT, PATIENCE, "the load goes on")
    _account(stage, load.records(), killed)

    stage.scene("Return: lvs01's web server is started again.")
    lab.start_server("lvs01")
    back = until(lambda: LVS01 in _listing(lab), PATIENCE, "lvs01 returns to the table")
    returned = time.monotonic()
    stage.promise(back <= BACK, f"lvs01 was back in the table after {back:.1f} s")
    until(lambda: load.records()[-1].start > returned + 1, PATIENCE, "the load goes on")
    later = [one for one in load.stop() if one.start > killed + LAST_FAILURE]
    stage.promise(all(one.ok for one in later), f"none of {len(later)} requests since failed")
    answers = {one.body for one in later if one.start > returned}
    stage.promise(len(answers) == 2, "both servers answer again")
    stage.type("ipvsadm -Ln")


def _account(stage: Stage, records: list[Request], killed: float) -> None:
    """Tell what the death of a server cost its clients."""
    since = [one for one in records if one.start > killed]
    failed = [one for one in since if not one.ok]
    stage.tell(f"of {len(since)} requests since the kill, {len(failed)} failed")
    last = max((one.start - killed for one in failed), default=0.0)
    stage.promise(
        last <= LAST_FAILURE,
        f"the last that failed began {last:.2f} s after the kill" if failed else "no client saw it",
    )


def save(stage: Stage) -> None:
    """The running rules become the saved ones."""
    stage.scene("Save: what runs is what the next start will load.")
    stage.type(f"{SCRIPT} save")
    stage.type(f"cat {RULE_FILE}")
    meant = RULES.replace("-s rr", "-s wrr")
    stage.promise(Path(RULE_FILE).read_text() == meant, "the file holds the edit and both servers")


def stop(stage: Stage, before: str) -> None:
    """The machine is left as it was found."""
    stage.scene("Stop: the director leaves the machine as it found it.")
    stage.type(f"{SCRIPT} stop")
    empty = len(stage.type("ipvsadm -Ln").splitlines()) == 3
    stage.promise(empty, "the table is empty")
    stage.promise(_settings(stage.lab) == before, "every kernel setting is what it was before")


def _listing(lab: Lab) -> str:
    return lab.run("director", ["ipvsadm", "-Ln"]).stdout


def _status(lab: Lab) -> str:
    return lab.run("director", [PROGRAM, "status"]).stdout


def _settings(lab: Lab) -> str:
    """Return the kernel settings of the director that concern LVS, one a line."""
    paths = [f"/proc/sys/net/ipv4/{name}" for name in SETTINGS]
    return lab.run("director", ["grep", "-rs", "", *paths]).stdout


def _shell(stage: Stage) -> None:
    """Lend the reader a shell on the director until it is left."""
    stage.scene("The lab is yours. This is the director; leave the shell to go on.")
    stage.tell("Other hosts: `ip netns exec client curl http://172.25.0.10/`; also lvs01, lvs02.")
    shell = ["bash", "--norc"] if shutil.which("bash") else ["sh"]
    environment = {**os.environ, "PS1": "[root@director ~]# "}
    subprocess.run(["ip", "netns", "exec", "director", *shell], env=environment, check=False)
