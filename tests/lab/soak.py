"""python -m lvs_nat.lab -t 3000 -- python -m tests.lab.soak: a director under random faults.

After each few faults it is let alone until the kernel's table is what a model says; then the
settings, the processes and what clients see are compared too.  Says its seed, which makes the
same faults again, and exits with 1 at the first difference.
"""

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path

from lvs_nat.errors import LvsNatError
from lvs_nat.lab.topology import until
from tests.lab import faults
from tests.lab.director import Director
from tests.lab.model import ADDRESSES, MAIL, SERVERS, WEB, Model

# A guest that is short of processor answers its own checks late.
CONFIG = """\
check = http
timeout = 3
interval = 0.5
fast = 0.1
rise = 1
remove_after = 1
"""
SETTINGS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/eth0/send_redirects": "0",
    "net/ipv4/conf/eth1/send_redirects": "0",
    "net/ipv4/vs/expire_nodest_conn": "1",
}
# A silent server whose packets were seen goes after half a minute, whoever flaps returns late.
QUIET = 45.0
RATE = 20
PATIENCE = 8.0  # what a client has; where a guest gets no processor all are slow
# More descriptors than at the first quiet moment are those of clients who ask just now.
DESCRIPTORS = 8


class Difference(AssertionError):
    """The director and the model disagree."""


class Soak:
    """One soak: *seed* decides every fault and every pause."""

    def __init__(self, seed, say=print):
        self.draw = random.Random(seed)
        self.model = Model()
        self.done = Counter()
        self.history = []
        self.slowest = 0.0
        self.grown = 0
        self._say = say
        self._descriptors = 0
        self._resident = {}

    def run(self, seconds, least=0):
        """Do faults for *seconds*, and until there were *least*; Difference at the first."""
        with Director(self.model.text(), CONFIG, SERVERS) as director:
            self.director = director
            director.service("start")
            try:
                return self._rounds(seconds, least)
            except (AssertionError, LvsNatError) as error:
                raise Difference(f"{error}\n{self._evidence()}") from error

    def _rounds(self, seconds, least):
        self._agree("the start")
        began, rounds = time.monotonic(), 0
        while time.monotonic() - began < seconds or sum(self.done.values()) < least:
            self._round()
            rounds += 1
            if not rounds % 20:
                self._say(f"{sum(self.done.values())} faults in {rounds} rounds", flush=True)
        self._end()
        return rounds

    # One round: some faults, a quiet moment, a comparison

    def _round(self):
        chosen = self._choose()
        load = self.director.lab.load(RATE, 600, timeout=PATIENCE)
        until(load.records, 10, "the first answer to a client")
        harmless = True
        sure = self.model.serving(WEB)  # whoever returns may take its time
        for fault in chosen:
            harmless = harmless and fault.harmless(self.model)
            self.history.append(f"{time.monotonic():.2f} {fault}")
            fault.do(self.director, self.model)
            self.model = self.model.after(fault.change)
            sure &= self.model.serving(WEB)
            self.done[type(fault).__name__] += 1
            time.sleep(self.draw.choice((0.0, 0.0, 0.1, 0.5)))
        agreed = self._agree(", ".join(map(str, chosen)))
        until(lambda: time.monotonic() > agreed + 0.5, 5, "some requests more")
        self._clients(load.stop(), agreed, harmless and bool(sure))
        self._processes()

    def _choose(self):
        """Return faults that leave somebody to answer, each fit for what those before it leave."""
        chosen, model = [], self.model
        wanted = self.draw.choice((1, 1, 2, 3, 5))
        while len(chosen) < wanted:
            fault = self.draw.choice(faults.ALL)(self.draw)
            if (fault.alone and chosen) or not fault.possible(model):
                continue
            after = model.after(fault.change)
            if after.sound:
                chosen.append(fault)
                model = after
        return chosen

    def _agree(self, what):
        """Wait until table and settings are the model's; return when they were."""
        wanted = self.model.rows()
        began = time.monotonic()
        try:
            until(lambda: self._table() == wanted, QUIET, what)
            until(lambda: self._settings() == SETTINGS, 15, "the settings")
            until(self._believed, QUIET, "every server that is whole believed to be up")
        except LvsNatError as error:
            raise Difference(
                f"{error}\nmissing: {sorted(wanted - self._table())}\n"
                f"too much: {sorted(self._table() - wanted)}\nsettings: {self._settings()}"
            ) from error
        self.slowest = max(self.slowest, time.monotonic() - began)
        return time.monotonic()

    def _table(self):
        return set(self.director.table().splitlines())

    def _believed(self):
        """Whether the director knows who is whole: also of those who are out by a wish."""
        rows = [row for service in self.director.status()["services"] for row in service["servers"]]
        broken = {ADDRESSES[name] for name in self.model.broken}
        return all((row["state"] == "up") is (row["address"] not in broken) for row in rows)

    def _settings(self):
        return {name: self.director.sysctl(name) for name in SETTINGS}

    def _clients(self, records, agreed, harmless):
        failed = [it for it in records if not it.ok and (harmless or it.start > agreed)]
        if failed:
            when = "although nothing harmful was done" if harmless else "after all was well again"
            some = [(round(it.start, 2), it.error) for it in (*failed[:5], failed[-1])]
            raise Difference(
                f"{len(failed)} of {len(records)} requests failed {when} at {agreed:.2f}: {some}"
            )
        for service, url in ((WEB, "http://172.25.0.10/"), (MAIL, "http://172.25.0.10:81/")):
            answers = self.director.lab.requests(40, 0.3, url=url, timeout=PATIENCE)
            seen = {it.body.split()[0] if it.ok else it.error for it in answers}
            if not seen <= self.model.serving(service):
                raise Difference(f"clients of {service} see {seen}")
        if self._table() != self.model.rows():
            raise Difference(f"the table has moved by itself: {self._table()}")

    def _processes(self):
        family = self.director.family()
        open_ = len(list(Path(f"/proc/{family[0]}/fd").iterdir()))
        self._descriptors = self._descriptors or open_
        if open_ > self._descriptors + DESCRIPTORS:
            raise Difference(f"the director holds {open_} descriptors, {self._descriptors} before")
        status = self.director.status()
        if status["refusals"]:
            raise Difference(f"the kernel refuses: {status['refusals']}")
        text = Path(f"/proc/{family[0]}/status").read_text()
        known = self._resident.setdefault(family[0], [])
        known.append(int(text.partition("VmRSS:")[2].split()[0]))
        if len(known) > 1:  # libraries that come after a start are there now
            self.grown = max(self.grown, known[-1] - known[1])

    def _end(self):
        for name in self.model.broken:
            self.director.lab.mend(name)
        self.director.service("stop")
        if self._table():
            raise Difference(f"stop left {self._table()}")

    def _evidence(self):
        shown = self.director.command("status", check=False)
        recent = "\n  ".join(self.history[-12:])
        lines = "\n  ".join(self.director.log().splitlines()[-150:])
        words = f"the last faults:\n  {recent}\nthe log:\n  {lines}\n"
        return f"{words}{shown.stdout}{shown.stderr}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--faults", type=int, default=1000, help="at least so many")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    soak = Soak(arguments.seed)
    try:
        rounds = soak.run(arguments.minutes * 60, arguments.faults)
    except Difference as difference:
        print(f"after {sum(soak.done.values())} faults, seed {arguments.seed}: {difference}")
        return 1
    kinds = ", ".join(f"{number} {name}" for name, number in sorted(soak.done.items()))
    print(
        f"{sum(soak.done.values())} faults in {rounds} rounds ({kinds}): 0 differences; "
        f"the slowest agreement took {soak.slowest:.1f} s; "
        f"no director has grown by more than {soak.grown} kB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
