"""The daemons on the lab's director, each started, reloaded and upgraded as its package does it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench import daemons, machine
from lvs_nat.lab.topology import VIRTUAL, Lab, until

SERVERS = {"192.168.122.10:80": 5, "192.168.122.20:80": 10}
RULES = Path("/etc/sysconfig/ipvsadm")
PID_FILE = Path("/run/lvs-nat/lvs-nat.pid")
# A hung daemon is ended, and started again, after so long: WatchdogSec of our unit.  Those of
# the others have none: they are given the same.
WATCHDOG = 2.0
WAIT = 60.0  # seconds for anything


class Operated:
    """A daemon on the director of *lab*; what it keeps lies in *folder*."""

    name = ""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder

    @property
    def pid(self) -> int:
        raise NotImplementedError

    def configure(self, weights: dict[str, int], *, broken: bool = False) -> None:
        """Write its files; *broken* is a server of which the port was forgotten."""
        raise NotImplementedError

    def begin(self) -> None:
        """Start it, and wait no longer than its package does."""
        raise NotImplementedError

    def finish(self) -> None:
        """Have it end, and wait for that, as its package does."""
        raise NotImplementedError

    # What is done to it

    def start(self) -> None:
        self.configure(SERVERS)
        self.begin()
        until(lambda: self.table() == SERVERS, WAIT, f"{self.name}'s table")

    def stop(self) -> None:
        self.finish()
        self.lab.run("director", ["ipvsadm", "-C"])

    def restart(self) -> None:
        self.finish()
        self.begin()

    def upgrade(self) -> None:
        """Do what the package does once its files are replaced."""
        self.restart()

    def reread(self) -> None:
        """Have it read its files again."""
        os.kill(self.pid, signal.SIGHUP)

    def reload(self) -> None:
        heavier = {server: weight + 1 for server, weight in SERVERS.items()}
        self.configure(heavier)
        self.reread()
        until(lambda: self.table() == heavier, WAIT, f"the new weights of {self.name}")

    def reload_broken(self) -> None:
        self.configure(SERVERS, broken=True)
        self.reread()
        time.sleep(2.0)  # nothing tells when it has made up its mind
        self.configure(SERVERS)
        self.reread()

    def kill(self) -> None:
        self._kill(machine.family(self.pid))
        self.begin()

    def hang(self) -> None:
        family = machine.family(self.pid)
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(WATCHDOG)
        self._kill(family)
        self.begin()

    def _kill(self, pids: Sequence[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._gone(pids[0])

    def _gone(self, pid: int) -> None:
        until(lambda: not alive(pid), WAIT, f"the end of {self.name}")

    def table(self) -> dict[str, int]:
        """Return the weights of the real servers in the kernel's table."""
        words = self.lab.run("director", ["ipvsadm", "-S", "-n"]).stdout.split()
        servers = [words[place + 1] for place, word in enumerate(words) if word == "-r"]
        weights = [int(words[place + 1]) for place, word in enumerate(words) if word == "-w"]
        return dict(zip(servers, weights))


class Ours(Operated):
    """lvs-nat, by its commands."""

    name = "lvs-nat"

    def __init__(self, lab: Lab, folder: Path) -> None:
        super().__init__(lab, folder)
        self._launcher = folder / "lvs-nat"
        self._launcher.write_text(daemons.LAUNCHER)
        folder.chmod(0o755)  # for whoever a prober becomes

    @property
    def pid(self) -> int:
        return int(PID_FILE.read_text())

    def configure(self, weights: dict[str, int], *, broken: bool = False) -> None:
        lines = [f"-A -t {VIRTUAL}:80 -s wrr"]
        lines += [f"-a -t {VIRTUAL}:80 -r {it} -m -w {weight}" for it, weight in weights.items()]
        text = "\n".join(lines) + "\n"
        RULES.write_text(text.replace(".20:80", ".20:") if broken else text)

    def command(self, word: str, check: bool = True) -> None:
        self.lab.run("director", [sys.executable, "-IB", self._launcher, word], check=check)

    def begin(self) -> None:
        self.command("start")

    def finish(self) -> None:
        self.command("stop")

    def restart(self) -> None:
        self.command("restart")

    def upgrade(self) -> None:
        self.command("reexec")

    def reread(self) -> None:
        self.command("reload", check=False)


class Theirs(Operated):
    """A daemon in the foreground, as systemd runs it."""

    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def program(self) -> list[str | Path]:
        raise NotImplementedError

    def begin(self) -> None:
        with (self.folder / f"{self.name}.log").open("a") as log:
            options: dict[str, Any] = {"stdout": log, "stderr": log, "cwd": self.folder}
            environ = {**daemons.libraries(), "PERLIO": "perlio"}
            self.process = self.lab.popen("director", self.program, env=environ, **options)

    def finish(self) -> None:
        self.process.terminate()
        self.process.wait(WAIT)

    def reread(self) -> None:
        if self.process.poll() is None:
            super().reread()
        else:  # it has given up at the last reading, and somebody has to start it
            self.begin()

    def _gone(self, pid: int) -> None:
        self.process.wait(WAIT)


class Keepalived(Theirs):
    """keepalived, its checkers alone."""

    name = "keepalived"

    @property
    def program(self) -> list[str | Path]:
        files = [f"--{it}={self.folder / it}" for it in ("use-file", "pid", "checkers_pid")]
        words = ["--dont-fork", "--check", "--log-console"]
        return [daemons.tools().path("keepalived"), *words, *files]

    def configure(self, weights: dict[str, int], *, broken: bool = False) -> None:
        lines = [f"virtual_server {VIRTUAL} 80 {{", "lb_algo wrr\nlb_kind NAT\nprotocol TCP"]
        lines += ["delay_loop 1\nretry 1\ndelay_before_retry 1"]
        for server, weight in weights.items():
            host, _, port = server.partition(":")
            named = host if broken and host.endswith(".20") else f"{host} {port}"
            lines.append(f"real_server {named} {{\nweight {weight}")
            lines.append("TCP_CHECK {\nconnect_timeout 1\n}\n}")
        (self.folder / "use-file").write_text("\n".join([*lines, "}", ""]))


class Ldirectord(Theirs):
    """ldirectord, supervised."""

    name = "ldirectord"

    @property
    def program(self) -> list[str | Path]:
        script = daemons.tools().path("ldirectord").read_text()
        (self.folder / "run").mkdir(exist_ok=True)
        # The only way to other folders than the machine's.
        script = script.replace('"/var/run/ldirectord', f'"{self.folder / "run"}')
        (self.folder / "ldirectord").write_text(script)
        return ["perl", self.folder / "ldirectord", self.folder / "ldirectord.cf", "start"]

    def configure(self, weights: dict[str, int], *, broken: bool = False) -> None:
        lines = ["checktimeout=1\ncheckinterval=1\nsupervised=yes\nquiescent=no\nautoreload=no"]
        lines += [f'logfile="{self.folder}/ldirectord.lines"', f"virtual={VIRTUAL}:80"]
        lines += ["\tscheduler=wrr\n\tprotocol=tcp\n\tchecktype=connect"]
        for server, weight in weights.items():
            named = server[:-3] if broken and ".20:" in server else server
            lines.append(f"\treal={named} masq {weight}")
        (self.folder / "ldirectord.cf").write_text("\n".join(lines) + "\n")


ALL: Sequence[Callable[[Lab, Path], Operated]] = (Ours, Keepalived, Ldirectord)


def alive(pid: int) -> bool:
    """Whether process *pid* runs; one that only waits to be reaped does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
