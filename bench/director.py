"""python -m bench.director FOLDER: the whole daemon of lvs-nat, but with its table in memory.

So it runs where the kernel has no IPVS, and touches none where it has.  FOLDER holds its rules
and lvs-nat.conf; changes of destinations are appended to FOLDER/changes in the form that
bench/ipvs_shim.c gives them.  Standard output has a line of JSON for each report of the
prober: its seconds of the monotonic clock, probes so far, and since the last report the worst
lag, how long the slowest verdict took, and by how much the latest one of silence was too late.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from lvs_nat.daemon import serve
from lvs_nat.daemon.paths import Paths
from lvs_nat.daemon.spawner import spawn
from lvs_nat.system.pidfile import PidFile
from lvs_nat.system.program import Program


def main(folder: Path) -> int:
    """Run until SIGTERM, as the daemon does but for what it would do to this machine."""
    paths = Paths(folder / "rules", folder / "lvs-nat.conf", True, folder / "run", folder / "state")

    def spawned(**more: Any) -> Any:
        link = spawn(**more)
        # Only now, as the daemon itself does: the prober stays small.
        from bench import pretence

        pretence.begin(folder / "changes")
        return pretence.Listener(link)

    serve.spawn = spawned

    def announce(code: int, text: str, warnings: tuple[str, ...]) -> None:
        if code:
            print(text, file=sys.stderr, flush=True)

    program = Program.of_this_process()
    return serve.serve(paths, PidFile(paths.pid_file), announce, program)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
