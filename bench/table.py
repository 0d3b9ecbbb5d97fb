"""python bench/table.py: how fast 10,000 real servers are loaded, against ipvsadm -R.

Both load the same file into the same kernel as whole processes, one after the other, several
times; the medians are compared.  Then the file is loaded again over itself, and its weights are
changed in one row of a hundred.  Exits 1 if a promise is broken: at most a quarter of ipvsadm's
time, and nothing written where nothing has changed.

Runs itself on a kernel with IPVS (lvs_nat.lab) when it is not on one.
"""

from __future__ import annotations

import argparse
import compileall
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

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
        columns = [one_run(rules, edited) for _ in range(runs)]
    theirs, ours, again, edits = (median(column) for column in zip(*(it[:4] for it in columns)))
    written = max(it[4] for it in columns)
    print(f"{servers} real servers in {services} services, medians of {runs} runs:")
    print(f"  ipvsadm -R            {theirs:8.3f} s")
    print(f"  lvs-nat               {ours:8.3f} s   {ours / theirs:.3f} of ipvsadm's time")
    print(f"  again, nothing new    {again:8.3f} s   {again / theirs:.3f}, {written} writes")
    print(f"  again, 1 % new weight {edits:8.3f} s   {edits / theirs:.3f}")
    kept = ours / theirs <= PROMISE and written == 0
    print("kept" if kept else f"BROKEN: the promise is {PROMISE} of ipvsadm's time and 0 changes")
    return 0 if kept else 1


def one_run(rules: Path, edited: Path) -> tuple[float, float, float, float, int]:
    """Return the seconds of ipvsadm, of ours, of a second and of an edited load, and its writes."""
    clear()
    started = time.perf_counter()
    subprocess.run(["ipvsadm", "-R"], input=rules.read_bytes(), check=True)
    theirs = time.perf_counter() - started
    table = listing()
    clear()
    ours, _ = load(rules)
    if listing() != table:
        raise SystemExit("the two tables differ")
    again, written = load(rules)
    edits, _ = load(edited)
    return theirs, ours, again, edits, written


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
