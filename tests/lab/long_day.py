"""python -m lvs_nat.lab --time-travel -t 7200 -- python -m tests.lab.long_day: a whole day.

The director is the real one, in its default configuration, on the lab's network; only the clock
jumps where all wait.  Every five minutes something is done to it, its servers or its table, and
then the kernel's table must be what a model says; drains of hours end when they should.  Early
on it is re-executed once, and until eight its prober is killed once an hour; then all of it is
left alive until midnight.  Exits with 1 at the first difference from the model, or if memory or
descriptors are not flat in the end.
"""

import argparse
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import NamedTuple

from lvs_nat.errors import LvsNatError
from tests.lab import faults
from tests.lab.director import Director
from tests.lab.model import ADDRESSES, MAIL, SERVERS, WEB, Model
from tests.lab.soak import PATIENCE, QUIET, SETTINGS, Difference

HOURS = 24
HOUR = 3600.0
PAUSE = 300.0  # between two events; a drain ends in the middle of one
HALF = round(HOUR / PAUSE) // 2
LOOK = 0.5  # seconds of the guest's clock, and a look costs more of ours
LATE = 1.5  # seconds by which a drain may end too late: it is seen by looking
REQUESTS = 100
WHO = ("director", "spawner", "prober")
# Hours until a process has all the memory that it needs: all has been done some times by then,
# and a director has taken 2 MB at once, which it does once in some eight hours after a start.
# (pathlib interns every part of a path, and a table of strings that is remade larger takes such a
# step; it was not traced to that in a director.)  What comes later is a page
# now and then, up to 12 kB an hour with twelve events in each, or one step; a leak goes on.
WARM = {"director": 9, "spawner": 2, "prober": 6}
LEAST = 8  # hours after those that are needed to judge
GROWTH = 16.0  # kB an hour


class Weight(NamedTuple):
    """What one process holds: kB of memory, and descriptors."""

    resident: int
    descriptors: int

    def __str__(self):
        return f"{self.resident} kB, {self.descriptors} fd"


class DrainFor(faults.Fault):
    """The operator drains a server for some hours."""

    def __init__(self, draw):
        super().__init__(draw)
        self.server = draw.choice(SERVERS)
        self.seconds = draw.choice((1, 2, 3)) * HOUR + PAUSE / 2

    def change(self, model):
        model.wishes[self.server] = "drain"

    def possible(self, model):
        present = any(self.server in weights for _, weights in model.running.values())
        return present and self.server not in model.wishes

    def do(self, director, model):
        director.command("drain", ADDRESSES[self.server], "--for", str(self.seconds))


class KillProber(faults.Fault):
    """The prober is killed without a word."""

    def do(self, director, model):
        os.kill(director.family()[2], signal.SIGKILL)


class MendAll(faults.Fault):
    """Every broken server is whole again: for each that is not, questions are open for longer."""

    def change(self, model):
        model.broken.clear()

    def do(self, director, model):
        for name in model.broken:
            director.lab.mend(name)


class Reexec(faults.Fault):
    """The version that is installed takes over, in the same process."""

    def do(self, director, model):
        pid = director.pid()
        director.command("reexec")
        if director.pid() != pid:
            raise Difference("the director has another process after a re-execution")


# Of the soak's faults those that leave the director's processes alive, and the clock as it is.
FAULTS = (
    *(faults.Break, faults.Mend, faults.Wish, faults.Weight, faults.Edit, faults.Clear),
    *(faults.Settings, faults.Return, faults.Rewrite, faults.Save, faults.BadReload),
)
DRAWN = 200  # so many are thought of, and of those that can be done one that was done least


def kind(fault):
    """Return what is done, whichever server it is done to."""
    found = (getattr(fault, name, "") for name in ("way", "what", "word"))
    return " ".join(filter(None, (type(fault).__name__, *found)))


class Day:
    """One day of *hours*; *seed* decides what happens between the things that always do."""

    def __init__(self, seed, hours=HOURS, say=print):
        self.draw = random.Random(seed)
        self.model = Model()
        self.done = Counter()
        self.latest = 0.0
        self.answered = 0
        self.lives = {}
        self._hours, self._say = hours, say
        self._ends = {}  # server: when its drain ends
        self._image = 0  # grows as the director is re-executed
        self._history = []

    def run(self):
        """Live through the day; Difference at the first."""
        with Director(self.model.text(), "", SERVERS) as director:
            self.director = director
            director.service("start")
            self._began = time.monotonic()
            try:
                self._agree("the start")
                for hour in range(self._hours):
                    self._hour(hour)
                director.service("stop")
                if director.table():
                    raise Difference(f"stop left {director.table()}")
            except (AssertionError, LvsNatError) as error:
                raise Difference(f"{error}\n{self._evidence()}") from error

    # An hour

    def _hour(self, hour):
        seen = {}
        for slot in range(2 * HALF):
            begins = self._began + hour * HOUR + slot * PAUSE
            _sleep_until(begins)
            fault = self._choose(hour, slot)
            self._history.append(f"{time.monotonic() - self._began:.1f} {fault}")
            fault.do(self.director, self.model)
            self._note(fault)
            self._agree(fault)
            if time.monotonic() > begins + PAUSE / 2 - 10:
                raise Difference(f"{fault} took {time.monotonic() - begins:.0f} s")
            self._end_drains(begins + PAUSE / 2)
            if slot == 0:
                self._clients()
            _sleep_until(begins + PAUSE - QUIET / 2)  # nobody is asked anew for what was done
            self._weigh(seen)
        held = {process: least(weights) for process, weights in seen.items()}
        for process, weights in seen.items():
            if len(weights) > HALF:  # else too little is seen: it came late, or went early
                self.lives.setdefault(process, []).append((hour, held[process]))
        self._tell(hour, held)

    def _choose(self, hour, slot):
        """Return what is done now: one of what always is, or what leaves somebody to answer."""
        if (hour, slot) == (self._hours // 12, 0):
            return Reexec(self.draw)
        if slot == HALF and hour < self._hours // 3:
            return KillProber(self.draw)
        if slot == 2 * HALF - 1:
            return MendAll(self.draw)
        for kinds in [(DrainFor,)] * (slot == 3) + [FAULTS]:
            thought = [self.draw.choice(kinds)(self.draw) for _ in range(DRAWN)]
            for fault in sorted(thought, key=lambda it: self.done[kind(it)]):
                if self._fits(fault):
                    return fault
        raise Difference(f"nothing can be done to {self.model}")

    def _fits(self, fault):
        if not (fault.possible(self.model) and self.model.after(fault.change).sound):
            return False
        if isinstance(fault, faults.Break):  # half-open checks do not see how late a page comes
            return fault.way != "answer_slowly"
        if isinstance(fault, faults.Wish):
            return fault.server not in self._ends
        return not (type(fault) is faults.Return and fault.word == "restart")

    def _note(self, fault):
        self.model = self.model.after(fault.change)
        self.done[kind(fault)] += 1
        if isinstance(fault, DrainFor):
            self._ends[fault.server] = time.monotonic() + fault.seconds
        self._image += isinstance(fault, Reexec)

    def _end_drains(self, middle):
        """Sleep through the *middle* of a pause; see that the drains that are due end then."""
        due = [server for server, end in self._ends.items() if end < middle + PAUSE / 4]
        for server in sorted(due, key=self._ends.get):
            end = self._ends.pop(server)
            _sleep_until(end - 5)
            before = self.model.rows()
            if self._table() != before:
                raise Difference(f"the drain of {server} ended too early, or something moved")
            self.model.wishes.pop(server)
            while self._table() != self.model.rows():
                if time.monotonic() > end + QUIET:
                    raise Difference(f"the drain of {server} does not end")
                time.sleep(LOOK)
            late = time.monotonic() - end
            if self.model.rows() != before:  # else it is broken, or not in the rules
                self.done["drains ended"] += 1
                self.latest = max(self.latest, late)
                if late > LATE:
                    raise Difference(f"the drain of {server} ended {late:.1f} s too late")

    # What ought to be

    def _agree(self, what):
        """Wait until table and settings are the model's."""
        wanted = self.model.rows()
        deadline = time.monotonic() + QUIET
        while (seen := (self._table(), self._settings())) != (wanted, SETTINGS):
            if time.monotonic() > deadline:
                raise Difference(
                    f"not within {QUIET:g} s: {what}\nmissing: {sorted(wanted - seen[0])}\n"
                    f"too much: {sorted(seen[0] - wanted)}\nsettings: {seen[1]}"
                )
            time.sleep(LOOK)

    def _table(self):
        return set(self.director.table().splitlines())

    def _settings(self):
        paths = [f"/proc/sys/{name}" for name in SETTINGS]
        lines = self.director.lab.run("director", ["cat", *paths]).stdout.split()
        return dict(zip(SETTINGS, lines))

    def _clients(self):
        for service, url in ((WEB, "http://172.25.0.10/"), (MAIL, "http://172.25.0.10:81/")):
            records = self.director.lab.requests(20, REQUESTS / 20, url=url, timeout=PATIENCE)
            self.answered += sum(it.ok for it in records)
            seen = {it.body.split()[0] if it.ok else it.error for it in records}
            if not seen <= self.model.serving(service):
                raise Difference(f"clients of {service} see {seen}")

    # What it weighs

    def _weigh(self, seen):
        status = self.director.status()
        if status["refusals"]:
            raise Difference(f"the kernel refuses: {status['refusals']}")
        for who, pid in zip(WHO, self.director.family()):
            seen.setdefault((who, pid, self._image), []).append(weight(pid))

    def _tell(self, hour, held):
        last = {who: weight for (who, _, _), weight in held.items()}  # of two probers, the later
        processes = "; ".join(f"{who} {weight}" for who, weight in last.items())
        self._say(
            f"{hour + 1:2}:00  {sum(self.done.values())} events, {self.checks():,} checks; "
            f"{processes}",
            flush=True,
        )

    def checks(self):
        """Return how many half-open connections the servers have seen: each is a check."""
        return sum(self._resets(name) for name in SERVERS)

    def _resets(self, name):
        text = self.director.lab.run(name, ["cat", "/proc/net/netstat"]).stdout
        names, values = [it.split() for it in text.splitlines() if it.startswith("TcpExt:")]
        return int(dict(zip(names, values))["EmbryonicRsts"])

    def _evidence(self):
        shown = self.director.command("status", check=False)
        recent = "\n  ".join(self._history[-12:])
        lines = "\n  ".join(self.director.log().splitlines()[-100:])
        return f"the last events:\n  {recent}\nthe log:\n  {lines}\n{shown.stdout}{shown.stderr}"


def weight(pid):
    """Return what process *pid* holds now, of memory what is its own: no page of a file."""
    place = Path(f"/proc/{pid}")
    resident = (place / "status").read_text().partition("RssAnon:")[2].split()[0]
    return Weight(int(resident), len(list((place / "fd").iterdir())))


def least(weights):
    """Return the least of all: what is only lent for a while is not in it."""
    return Weight(*map(min, zip(*weights)))


def slope(points):
    """Return by how much *points* rise: the median of all pairs."""
    return median((w - v) / (b - a) for a, v in points for b, w in points if a < b)


def growth(points):
    """Return by how much *points* go on rising: of three stretches, a step is in one alone."""
    last = len(points) - 1
    cuts = (0, last // 3, last * 2 // 3, last)
    return median(slope(points[a : b + 1]) for a, b in zip(cuts, cuts[1:]))


def judge(lives):
    """Return a line for each process that lived long enough, and whether all are flat."""
    lines, flat = [], True
    for (who, pid, _), life in lives.items():
        settled = life[WARM[who] :]
        if len(settled) < LEAST:
            continue
        rise = growth([(hour, it.resident) for hour, it in settled])
        open_ = [it.descriptors for _, it in settled]
        half = len(open_) // 2
        more = min(open_[half:]) - min(open_[:half])
        fine = rise <= GROWTH and more <= 0
        flat = flat and fine
        lines.append(
            f"{who} {pid}, {settled[0][0]}:00 to {settled[-1][0] + 1}:00: "
            f"{settled[0][1]}, then {settled[-1][1]}; {rise:+.1f} kB an hour, {more:+} fd: "
            f"{'flat' if fine else 'NOT flat'}"
        )
    judged = {line.split()[0] for line in lines}
    lines += [f"no {who} has lived long enough to be judged" for who in WHO if who not in judged]
    return lines, flat and judged == set(WHO)


def _sleep_until(moment):
    time.sleep(max(0.0, moment - time.monotonic()))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=HOURS)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    day = Day(arguments.seed, arguments.hours)
    try:
        day.run()
    except Difference as difference:
        print(f"after {sum(day.done.values())} events, seed {arguments.seed}: {difference}")
        return 1
    lines, flat = judge(day.lives)
    print("\n".join(lines))
    print(", ".join(f"{number} {name}" for name, number in sorted(day.done.items())))
    print(f"0 differences, {day.answered} requests answered, drains ended "
          f"{day.latest:.1f} s late at most: {'flat' if flat else 'NOT flat'}")  # fmt: skip
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
