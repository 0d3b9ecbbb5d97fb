"""The tutorial's network: a client, a director, the real servers behind it, ways to break them.

      client                director               real servers
    172.25.0.2 ── 172.25.0.10 eth0   eth1 192.168.122.100 ── 192.168.122.10, .20, ... :80
    fd00:25::2 ── fd00:25::10             fd00:122::100   ── fd00:122::10, ::20, ...

Every machine is a network namespace of the kernel that kernel.run gives.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvs_nat.errors import LvsNatError, UsageError
from lvs_nat.lab import kernel
from lvs_nat.lab.load import Request

VIRTUAL = "172.25.0.10"
URL = f"http://{VIRTUAL}/"
CLIENT = "172.25.0.2"
GATEWAYS = ("192.168.122.100", "fd00:122::100")
PRIVATE = ("/etc/sysconfig", "/etc/lvs-nat", "/run/lvs-nat", "/var/lib/lvs-nat")
HERE = Path(__file__).parent
PYTHON = (sys.executable, "-IS")  # the two programs need nothing but the standard library


@dataclass(frozen=True)
class Load:
    """Requests that a host is sending in the background."""

    process: subprocess.Popen[str]
    file: Path

    def records(self) -> list[Request]:
        """Return the requests that have ended so far, in the order of their ends."""
        *lines, _ = self.file.read_text().split("\n")
        return [Request(**json.loads(line)) for line in lines]

    def finished(self, seconds: float = 60) -> list[Request]:
        """Return all requests once the last has ended; TimeoutExpired if it does not."""
        if self.process.wait(seconds):
            raise LvsNatError(f"the load client ended with {self.process.returncode}")
        return self.records()

    def stop(self) -> list[Request]:
        """Send no more requests; return all once those under way have ended."""
        self.process.send_signal(signal.SIGTERM)
        return self.finished()


class Lab:
    """The network while it stands; `with Lab() as lab:` takes it down with all that runs in it.

    *servers* name the real servers; the n-th has the address 192.168.122.(n * 10).  The folders
    *private* are empty in the lab, for every host and for this process.  The director is bare:
    forwarding, sysctls and IPVS are for the test or the daemon to set.
    """

    def __init__(
        self, servers: Sequence[str] = ("lvs01", "lvs02"), private: Sequence[str] = PRIVATE
    ) -> None:
        self.servers = {name: f"192.168.122.{n}0" for n, name in enumerate(servers, 1)}
        self.hosts = ("client", "director", *servers)
        self._private = private
        self._webs: dict[str, subprocess.Popen[str]] = {}
        self._started: list[subprocess.Popen[str]] = []
        self._folder = Path()

    # Its life

    def __enter__(self) -> Lab:
        if not kernel.inside():
            raise UsageError("a lab stands only in the kernel of: python -m lvs_nat.lab -- ...")
        self._folder = Path(tempfile.mkdtemp(prefix="lvs-nat-lab."))
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill what runs on the hosts; take them and the private folders away."""
        for host in (*self.hosts, "switch"):
            for pid in _output("ip", "netns", "pids", host, check=False).split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "delete", host], capture_output=True)
        for process in self._started:
            process.kill()
            process.wait()
            for stream in filter(None, (process.stdin, process.stdout, process.stderr)):
                stream.close()
        for folder in reversed(self._private):
            subprocess.run(["umount", "-l", folder], capture_output=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _build(self) -> None:
        for folder in self._private:
            Path(folder).mkdir(parents=True, exist_ok=True)
            _output("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)
        _batch("", *(f"netns add {host}" for host in (*self.hosts, "switch")))
        wires = ("front", "back")
        _batch("switch", *(f"link add {w} type bridge\nlink set {w} up" for w in wires))
        self._plug("client", "eth0", "front", 25, 2, CLIENT)
        self._plug("director", "eth0", "front", 25, 10, VIRTUAL)
        self._plug("director", "eth1", "back", 122, 100, GATEWAYS[0])
        for name, address in self.servers.items():
            self._plug(name, "eth0", "back", 122, int(address.rpartition(".")[2]), address)
            self.give_default_route(name)
        for name in self.servers:
            (self._folder / f"{name}.mood").write_text("0")
            self._launch(name)
        for name in self.servers:
            self._await(name)

    def _plug(
        self, host: str, interface: str, wire: str, network: int, number: int, address: str
    ) -> None:
        port = f"{host}-{interface}"
        _batch("switch", f"link add {port} type veth peer name {interface} netns {host}")
        _batch("switch", f"link set {port} master {wire}\nlink set {port} up")
        _batch(
            host,
            "link set lo up",
            f"link set {interface} up",
            f"address add {address}/24 dev {interface}",
            f"address add fd00:{network}::{number}/64 dev {interface} nodad",
        )

    # What hosts do

    def run(
        self,
        host: str,
        command: Sequence[str | Path],
        *,
        check: bool = True,
        timeout: float = 30,
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run *command* on *host* to its end; return it with its output as text.

        Raises LvsNatError with that output if it fails, unless *check* is false;
        subprocess.TimeoutExpired if it does not end.  *options* are subprocess.run's.
        """
        words = ["ip", "netns", "exec", host, *map(str, command)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, **options)
        if check and done.returncode:
            raise LvsNatError(
                f"{host}: {' '.join(words[4:])}: exit status {done.returncode}\n"
                f"{done.stdout}{done.stderr}"
            )
        return done

    def popen(
        self, host: str, command: Sequence[str | Path], **options: Any
    ) -> subprocess.Popen[str]:
        """Start *command* on *host*; it is killed at the latest with the lab."""
        words = ["ip", "netns", "exec", host, *map(str, command)]
        process = subprocess.Popen(words, text=True, **options)
        self._started.append(process)
        return process

    def curl(self, host: str = "client", url: str = URL, seconds: float = 5) -> str:
        """Return what *host* is answered at *url*; LvsNatError if nothing in *seconds*."""
        return self.run(host, ["curl", "-sSg", "-m", str(seconds), url]).stdout

    def load(
        self,
        rate: float,
        seconds: float,
        *,
        host: str = "client",
        url: str = URL,
        timeout: float = 3,
    ) -> Load:
        """Send *rate* requests a second from *host* for *seconds*, each given *timeout* seconds."""
        file = self._folder / f"{len(self._started)}.load"
        program = [*PYTHON, str(HERE / "load.py"), url, str(rate), str(round(rate * seconds))]
        with file.open("w") as stdout:
            process = self.popen(host, [*program, str(timeout)], stdout=stdout)
        return Load(process, file)

    def requests(self, rate: float, seconds: float, **options: Any) -> list[Request]:
        """Return the requests of a load, all ended; *options* as for load()."""
        return self.load(rate, seconds, **options).finished(seconds + 60)

    # What breaks

    def start_server(self, name: str) -> None:
        """Start the HTTP server of *name*; it listens when this returns."""
        self._launch(name)
        self._await(name)

    def kill_server(self, name: str) -> None:
        """Kill the HTTP server of *name*: its port refuses at once, open transfers are reset."""
        server = self._webs.pop(name)
        server.kill()
        server.wait()

    def drop_packets(self, name: str) -> None:
        """Let *name* drop every packet in silence, as a firewall or a dead machine does."""
        for chain, way in (("INPUT", "-i"), ("OUTPUT", "-o")):
            self.run(name, [_iptables(), "-w", "-A", chain, way, "eth0", "-j", "DROP"])

    def cut_link(self, *names: str) -> None:
        """Pull the cables of *names* at the switch, all at once; the director's own stays up."""
        _batch("switch", *(f"link set {name}-eth0 down" for name in names))

    def take_away_default_route(self, name: str) -> None:
        """Leave *name* without a gateway: the director reaches it, clients get no answer."""
        _batch(name, *(f"route del default via {gateway}" for gateway in GATEWAYS))

    def give_default_route(self, name: str) -> None:
        """Make the director the gateway of *name*, as NAT needs it."""
        _batch(name, *(f"route replace default via {gateway}" for gateway in GATEWAYS))

    def answer_slowly(self, name: str, seconds: float) -> None:
        """Let *name* accept connections as ever, but be *seconds* late with every answer."""
        self._set_mood(name, str(seconds))

    def answer_with_errors(self, name: str) -> None:
        """Let *name* answer every request at once, with the status 500."""
        self._set_mood(name, "0 500")

    def hang_server(self, name: str) -> None:
        """Let *name* accept connections, as its kernel does, and answer nothing any more."""
        self._webs[name].send_signal(signal.SIGSTOP)

    def mend(self, name: str) -> None:
        """Undo all that was broken at *name*."""
        self.run(name, [_iptables(), "-w", "-F"])
        _batch("switch", f"link set {name}-eth0 up")
        self.give_default_route(name)
        self._set_mood(name, "0")
        if name in self._webs:
            self._webs[name].send_signal(signal.SIGCONT)
        else:
            self.start_server(name)

    def _set_mood(self, name: str, words: str) -> None:
        temporary = self._folder / f"{name}.mood.new"
        temporary.write_text(words)
        temporary.rename(self._folder / f"{name}.mood")

    def _launch(self, name: str) -> None:
        program = [*PYTHON, str(HERE / "web.py"), name, "80", str(self._folder / f"{name}.mood")]
        self._webs[name] = self.popen(name, program, stdout=subprocess.PIPE)

    def _await(self, name: str) -> None:
        stdout = self._webs[name].stdout
        if stdout is None or stdout.readline() != "ready\n":
            raise LvsNatError(f"{name}: the HTTP server did not start")


def until(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Wait until *condition* holds; return the seconds that took; LvsNatError if over *seconds*."""
    begun = time.monotonic()
    late = False  # who stands still between a look and the clock looks once more
    while not condition():
        if late:
            raise LvsNatError(f"not within {seconds:g} s: {what}")
        late = time.monotonic() - begun > seconds
        time.sleep(0.02)
    return time.monotonic() - begun


def _iptables() -> str:
    """Return the iptables that the kernel can serve: user-mode Linux has no nftables."""
    return "iptables-legacy" if shutil.which("iptables-legacy") else "iptables"


def _batch(host: str, *commands: str) -> None:
    """Give ip(8) several commands in one process: starting one takes 20 ms in user-mode Linux."""
    place = ["-n", host] if host else []
    _output("ip", *place, "-batch", "-", text="\n".join(commands) + "\n")


def _output(*command: str, check: bool = True, text: str = "") -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if check and done.returncode:
        raise LvsNatError(f"{' '.join(command)}: {done.stderr.strip()} {text}")
    return done.stdout
