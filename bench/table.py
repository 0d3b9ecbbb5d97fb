"""python bench/table.py: how fast 10,000 real servers are loaded, against ipvsadm -R.

All load the same file into the same kernel as whole processes, one after the other, several
times; the medians are compared.  `load` is the director's own way from file to kernel without
its daemon (bench/loader.py); `start` and `reload` are the commands that an operator types, with
checks off.  Then both go over the same file again, and load changes one weight in a hundred.
Exits 1 if a promise is broken: load takes at most a quarter of ipvsadm's time, start less than
ipvsadm, and nothing is written where nothing has changed.

Runs itself on a kernel with IPVS (lvs_nat.lab) when it is not on one.
"""

from __future__ import annotations

import argparse
import compileall
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from lvs_nat.lab import kernel  # noqa: E402 - found beside us, installed or not

LOADER = [sys.executable, "-I", str(ROOT / "bench" / "loader.py")]
PROMISE = 0.25  # of ipvsadm's time


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--servers", type=int, default=10_000, help="in all services together")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    if kernel.inside():
        return measure(arguments.services, arguments.servers, arguments.runs)
    # What a guest compiles is lost with it.
    compileall.compile_dir(ROOT / "lvs_nat", quiet=2)
    command = [sys.executable, __file__, *sys.argv[1:]]
    return kernel.run(command, timeout=60 + arguments.runs * 60, cwd=ROOT)


def measure(services: int, servers: int, runs: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        rules, edited = Path(folder, "rules"), Path(folder, "edited")
        rules.write_text(rule_file(services, servers // services, edited=False))
        edited.write_text(rule_file(services, servers // services, edited=True))
        results = [one_run(rules, edited, Path(folder)) for _ in range(runs)]
    medians = {name: median(run[name] for run in results) for name in results[0]}
    theirs = medians["ipvsadm -R"]
    print(f"{servers} real servers in {services} services, medians of {runs} runs:")
    for name, value in medians.items():
        if name.endswith("writes"):
            print(f"  {name:24} {value:8.0f}")
        else:
            print(f"  {name:24} {value:8.3f} s   {value / theirs:.3f} of ipvsadm's time")
    kept = (
        medians["load"] <= PROMISE * theirs
        and medians["lvs-nat start"] < theirs
        and not any(run[name] for run in results for name in run if name.endswith("writes"))
    )
    print("kept" if kept else "BROKEN: see the promises in bench/table.py")
    return 0 if kept else 1


def one_run(rules: Path, edited: Path, folder: Path) -> dict[str, float]:
    """Return seconds, and writes where nothing was to be written, by name."""
    found = {}
    clear()
    with rules.open() as stdin:
        found["ipvsadm -R"] = timed(["ipvsadm", "-R"], stdin=stdin)
    table = listing()
    clear()
    found["load"], _ = load(rules)
    if listing() != table:
        raise SystemExit("the two tables differ")
    found["load, nothing new"], found["load, nothing new, writes"] = load(rules)
    found["load, 1 % new weights"], _ = load(edited)
    clear()
    return {**found, **operated(rules, folder, table)}


def operated(rules: Path, folder: Path, table: list[str]) -> dict[str, float]:
    """Do what an operator does."""
    config = folder / "lvs-nat.conf"
    config.write_text("check = none\n")
    places = ["--rules", rules, "--config", config, "--run-dir", folder, "--state-dir", folder]

    def command(word: str) -> list[str]:
        return [sys.executable, "-m", "lvs_nat.cli.main", word, *map(str, places)]

    def writes() -> int:
        done = subprocess.run([*command("status"), "--json"], check=True, capture_output=True)
        return int(json.loads(done.stdout)["writes"])

    found: dict[str, float] = {"lvs-nat start": timed(command("start"))}
    if listing() != table:
        raise SystemExit("the director's table differs")
    before = writes()
    found["lvs-nat reload"] = timed(command("reload"))
    found["lvs-nat reload, writes"] = writes() - before
    subprocess.run(command("stop"), check=True, stdout=subprocess.DEVNULL)
    return found


def timed(command: list[str], **options: Any) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, **options)
    return time.perf_counter() - started


def load(rules: Path) -> tuple[float, int]:
    started = time.perf_counter()
    done = subprocess.run([*LOADER, str(rules)], check=True, capture_output=True, text=True)
    return time.perf_counter() - started, int(done.stdout)


def clear() -> None:
    subprocess.run(["ipvsadm", "-C"], check=True)


def listing() -> list[str]:
    done = subprocess.run(["ipvsadm", "-Sn"], check=True, capture_output=True, text=True)
    return sorted(done.stdout.splitlines())


def rule_file(services: int, servers: int, *, edited: bool) -> str:
    """Return rules as ipvsadm -S writes them; *edited* gives each hundredth server weight 7."""
    lines = []
    for i in range(services):
        name = f"-t 172.25.{i // 250}.{i % 250 + 1}:80"
        lines.append(f"-A {name} -s wlc")
        for j in range(servers):
            weight = 7 if edited and (i * servers + j) % 100 == 0 else 1 + j % 5
            address = f"10.{i % 250}.{j // 250}.{j % 250 + 1}"
            lines.append(f"-a {name} -r {address}:80 -m -w {weight}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
