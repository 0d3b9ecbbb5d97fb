"""What ldirectord needs of ipvsadm, over a file: for kernels without IPVS.

python ipvsadm.py FOLDER ARGUMENTS...; knows -A -E -D -a -e -d, -L -n and -L -n --thresholds.
The table is FOLDER/table; changes of destinations are appended to FOLDER/changes in the form
that bench/ipvs_shim.c gives them.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

HEAD = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn"""
WORDS = {"-a": "add", "-e": "edit", "-d": "del"}


def main(folder: Path, command: str, *words: str) -> int:
    """Do one command of ipvsadm."""
    path = folder / "table"
    table = json.loads(path.read_text()) if path.exists() else {}
    if command.startswith("-L"):
        listing(table, "--thresholds" in words)
        return 0
    service = f"{'UDP' if words[0] == '-u' else 'TCP'}  {words[1]}"
    given = dict(zip(words[2:], words[3:]))  # each word, and the one behind it
    if command in ("-A", "-E"):
        table.setdefault(service, {})
    elif command == "-D":
        table.pop(service, None)
    else:
        server, weight = given["-r"], int(given.get("-w", 1))
        rows = table.setdefault(service, {})
        if command == "-d":
            rows.pop(server, None)
        else:
            rows[server] = weight
        with (folder / "changes").open("a") as file:
            file.write(f"{WORDS[command]} {server} {weight} {time.monotonic():.6f}\n")
    path.write_text(json.dumps(table))
    return 0


def listing(table: dict[str, dict[str, int]], thresholds: bool) -> None:
    """Print the table as ipvsadm does."""
    print(HEAD)
    for service, rows in table.items():
        print(f"{service} rr")
        for server, weight in rows.items():
            print(f"  -> {server} {'0 0' if thresholds else 'Masq'} {weight} 0 0")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
