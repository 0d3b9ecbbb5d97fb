"""python -m bench.watching: what it costs to watch clients' packets.

A client connects through the director to two real servers as fast as one processor can do it all,
again and again: with nobody watching, with the filter that sees SYNs unanswered (eBPF) and 10,000
real servers in its table, and with the one that sees refusals alone.  The best of many short runs
are compared: what else the machine does takes more of the others than watching does.  Exits 1 if
a promise is broken: nobody is suspected, and three quarters of the rate are left even where the
filter is interpreted, as in user-mode Linux; other kernels compile it.

Runs itself on a kernel with IPVS (lvs_nat.lab) when it is not on one.
"""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from bench import command
from bench.command import ROOT
from bench.figures import Promise, Table
from lvs_nat.lab.topology import VIRTUAL, Lab

PROMISE = 0.75  # of the rate
WAYS = ("nobody", "eBPF", "refusals")
PORT = 81
SERVER = f"""
import socket
with socket.create_server(("", {PORT}), backlog=512) as listening:
    print("ready", flush=True)
    while True:
        listening.accept()[0].close()
"""
CLIENT = """
import socket, sys, time
where, count = (sys.argv[1], int(sys.argv[2])), int(sys.argv[3])
began = time.monotonic()
for _ in range(count):
    with socket.create_connection(where) as connection:
        connection.recv(1)
print(count / (time.monotonic() - began))
"""
WATCHER = f"""
import sys, time
from lvs_nat.model import Endpoint
from lvs_nat.system.watcher import Watcher
servers = ["192.168.122.10:{PORT}", "192.168.122.20:{PORT}"]
servers += [f"10.0.{{n >> 8}}.{{n & 255}}:80" for n in range(9998)]
with Watcher.opened(extended=sys.argv[1] == "eBPF") as watcher:
    watcher.watch(list(map(Endpoint.parse, servers)))
    print("ready", flush=True)
    sys.stdin.read()
    print(len(watcher.suspicions()))
"""
GUEST = 1800  # seconds that all may take


def measure(options: Namespace) -> Iterator[Table]:
    """Measure the rates, or a few connections where it is to be quick."""
    runs, connections = (1, 50) if options.quick else (options.runs, options.connections)
    with Lab() as lab:
        rates, suspected = watched(lab, runs, connections)
    best = {way: max(found) for way, found in rates.items()}
    least = min(best.values()) / best["nobody"]
    yield Table(
        f"{connections} connections, one after another, the best of {runs} runs",
        ("watched by", "a second", "of the rate"),
        tuple((way, rate, rate / best["nobody"]) for way, rate in best.items()),
        promises=(
            Promise("of the rate is left", least, PROMISE, at_least=True),
            Promise("real servers that are suspected", suspected, 0),
        ),
        bars="a second",
    )


def watched(lab: Lab, runs: int, connections: int) -> tuple[dict[str, list[float]], int]:
    """Return the rates of the runs of each way, and how often one was suspected."""
    lab.run("director", ["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
    service = ["-t", f"{VIRTUAL}:{PORT}"]
    lab.run("director", ["ipvsadm", "-A", *service, "-s", "rr"])
    for name, address in lab.servers.items():
        begun(lab, name, SERVER)
        lab.run("director", ["ipvsadm", "-a", *service, "-r", f"{address}:{PORT}", "-m"])
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    suspected = 0
    for _ in range(runs):
        for way in WAYS:
            watcher = begun(lab, "director", WATCHER, way) if way != "nobody" else None
            program = [sys.executable, "-c", CLIENT, VIRTUAL, str(PORT), str(connections)]
            rates[way].append(float(lab.run("client", program, timeout=120).stdout))
            if watcher:
                suspected += int(watcher.communicate()[0])
    return rates, suspected


def begun(lab: Lab, host: str, program: str, *words: str) -> subprocess.Popen[str]:
    """Start a program on a host of the lab, and return it once it is ready."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": ROOT}
    process = lab.popen(host, [sys.executable, "-c", program, *words], **pipes)
    if process.stdout is None or process.stdout.readline() != "ready\n":
        raise SystemExit(f"{host}: not ready")
    return process


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--connections", type=int, default=500, help="in one run of each way")


if __name__ == "__main__":
    sys.exit(command.run("bench.watching", __doc__, measure, options, guest=GUEST))
