"""A director on the lab's network, run by its init script alone."""

import json
import sys
from contextlib import suppress
from pathlib import Path
from shlex import quote

from lvs_nat.lab.topology import PRIVATE, Lab, until
from tests.lab.syslog import SystemLog

TREE = Path(__file__).parent.parent.parent
RULES = Path("/etc/sysconfig/ipvsadm")
TUTORIAL = """\
-A -t 172.25.0.10:80 -s rr
-a -t 172.25.0.10:80 -r 192.168.122.10:80 -m -w 5
-a -t 172.25.0.10:80 -r 192.168.122.20:80 -m -w 10
"""
VIP = "172.25.0.10:80"
LVS01, LVS02 = "192.168.122.10:80", "192.168.122.20:80"


class Director:
    """The words of a test about a running director; used with `with`, it is stopped at the end."""

    def __init__(self, rules=TUTORIAL, config="", servers=("lvs01", "lvs02")):
        self.lab = Lab(servers, private=(*PRIVATE, "/run/lock"))
        self._rules, self._config = rules, config

    def __enter__(self):
        self.lab.__enter__()
        self._log = SystemLog()
        Path("/run/lock/subsys").mkdir()
        RULES.write_text(self._rules)
        Path("/etc/lvs-nat/lvs-nat.conf").write_text(self._config)
        self.program = Path("/run/lvs-nat-program")
        self.program.write_text(
            f"#!/bin/sh\ncd {quote(str(TREE))} && "
            f'exec {quote(sys.executable)} -m lvs_nat.cli.main "$@"\n'
        )
        self.program.chmod(0o755)
        self._script = Path("/run/lvs-nat-init")
        self._script.write_bytes((TREE / "packaging" / "lvs-nat.init").read_bytes())
        return self

    def __exit__(self, *error):
        if error[0]:
            print("--- the director's log\n" + self.log())
        self._log.close()
        self.lab.__exit__(*error)

    def service(self, action, check=True, limits=()):
        """Run the init script as service(8) does, with the *limits* that prlimit(1) is told."""
        environ = {"LVS_NAT": str(self.program), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        script = [*(["prlimit", *limits] if limits else []), "sh", self._script, action]
        return self.lab.run("director", script, check=check, env=environ)

    def command(self, *words, check=True):
        return self.lab.run("director", [self.program, *words], check=check)

    def status(self):
        return json.loads(self.command("status", "--json").stdout)

    def server(self, address):
        rows = [row for service in self.status()["services"] for row in service["servers"]]
        return next(row for row in rows if row["address"] == address)

    def pid(self):
        return int(Path("/run/lvs-nat/lvs-nat.pid").read_text())

    def family(self):
        """Return the pids of director, spawner and prober, once all are there."""
        found = []

        def there():
            found[:] = [self.pid()]
            with suppress(OSError, IndexError):  # one is being replaced
                for _ in range(2):
                    pid = found[-1]
                    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
                    found.append(int(children.split()[0]))
            return len(found) == 3

        until(there, 20, "director, spawner and prober")
        return tuple(found)

    def ipvsadm(self, *words):
        return self.lab.run("director", ["ipvsadm", *words]).stdout

    def table(self):
        return self.ipvsadm("-S", "-n")

    def saved(self):
        return RULES.read_text()

    def sysctl(self, name, value=None):
        """Return a setting of the director, after writing *value* if one is given."""
        path = f"/proc/sys/{name}"
        if value is not None:
            self.lab.run("director", ["sh", "-c", f"echo {value} >{path}"])
        return self.lab.run("director", ["cat", path]).stdout.strip()

    def until_table(self, part, seconds, present=True):
        """Wait until *part* is in the kernel's table, or is not; return how long it took."""
        words = f"{part} {'in' if present else 'out of'} the table"
        return until(lambda: (part in self.table()) is present, seconds, words)

    def log(self):
        """Return what has been sent to the system's log since the lab was set up."""
        return self._log.text()
