"""python -m tests.fuzz: the tests marked fuzz, with what coverage tells of each input as a guide.

Needs atheris, which is not to be had for every Python.  What is found fails in the next run of
`pytest -m fuzz` as well, shrunk: hypothesis has kept it.  It becomes an example of its test.
"""

import argparse
import importlib
import inspect
import random
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
LONGEST = 8192  # bytes that an input is made of


def targets():
    """Give the module and the name of each test that needs nothing but what hypothesis makes."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if "mark.fuzz" not in path.read_text():
            continue
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for name, test in vars(importlib.import_module(module)).items():
            marks = getattr(test, "pytestmark", [])
            if any(it.name == "fuzz" for it in marks) and not inspect.signature(test).parameters:
                yield module, name


def fuzz(module, name, seconds):
    """Have this process try inputs of one test until the time is over, or one fails."""
    import atheris

    with atheris.instrument_imports(include=["lvs_nat"]):
        test = getattr(importlib.import_module(module), name)
    with tempfile.TemporaryDirectory() as corpus:
        # Of a few bytes hypothesis can make nothing.
        Path(corpus, "first").write_bytes(random.randbytes(LONGEST))
        options = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-len_control=0"]
        words = [sys.argv[0], *options, f"-artifact_prefix={corpus}/", corpus]
        atheris.Setup(words, test.hypothesis.fuzz_one_input)
        atheris.Fuzz()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15, help="for all together")
    parser.add_argument(
        "--one", nargs=3, metavar=("MODULE", "TEST", "SECONDS"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    if arguments.one:
        fuzz(*arguments.one)
        return 0
    every = list(targets())
    seconds = round(arguments.minutes * 60 / len(every))
    failed = []
    for module, name in every:
        print(f"fuzz: {module}::{name}, {seconds} s", flush=True)
        words = [sys.executable, "-m", "tests.fuzz", "--one", module, name, str(seconds)]
        if subprocess.run(words, cwd=ROOT).returncode:
            failed.append(f"{module}::{name}")
    print(f"fuzz: {len(every)} tests, found something: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
