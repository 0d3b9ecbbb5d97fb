"""The ipvsadm rule language: a rule file becomes the table that it means.

The rules are obeyed in order, as ipvsadm -R would obey them on an empty table, in memory.
What ipvsadm would skip, cut or reinterpret in silence is a problem, or a warning where there
is no doubt what it would make of it; docs/rules.md lists the differences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from lvs_nat.core import rows
from lvs_nat.core.canonical import Canonical, Row
from lvs_nat.core.commands import FORWARDING
from lvs_nat.core.literals import NO_NAMES, Names, Places
from lvs_nat.core.options import Line, read
from lvs_nat.core.spelling import (
    destination_options,
    service_options,
    spell_endpoint,
    spell_name,
)
from lvs_nat.core.words import words_of
from lvs_nat.errors import ConfigError, Problem
from lvs_nat.model import (
    Destination,
    Endpoint,
    Ruleset,
    Service,
    ServiceName,
    SyncDaemon,
    SyncRole,
    Timeouts,
)

__all__ = ["NO_NAMES", "Names", "Parsed", "parse"]

# Past this many, a file is not a rule file, and nobody reads on.
PROBLEMS_MAX = 100
# Nobody reads more warnings than this; the others are counted.
WARNINGS_MAX = 100
TORN = "the last line has no end, so the file may be cut short: see that it is whole, end the line"


@dataclass(frozen=True)
class Parsed:
    """What a rule file means, and what its writer should know before it is used.

    rows are its canonical lines as they were read, for whoever reads it again once it was edited.
    """

    ruleset: Ruleset
    warnings: tuple[Problem, ...] = ()
    rows: Mapping[str, Row] = field(default_factory=dict, compare=False, repr=False)


def parse(
    text: str, path: str, names: Names = NO_NAMES, before: Mapping[str, Row] | None = None
) -> Parsed:
    """Return the table that *text* means; *path* is for the messages only.

    names looks up the hosts and ports that the rules name, each once.  before are the rows of
    another text, of which most lines may be the same.  Raises ConfigError with all problems
    (the first PROBLEMS_MAX of them).
    """
    reading = _Reading(path, names, before or {})
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        reading.read(number, line)
        if len(reading.problems) > PROBLEMS_MAX:
            reading.problems[PROBLEMS_MAX:] = [
                Problem(path, number, "too many problems: the rest of the file was not read")
            ]
            break
    else:
        if lines[-1].strip(" \t\r"):
            reading.say(TORN)
    if reading.problems:
        torn = [warning for warning in reading.warnings if warning.message == TORN]
        raise ConfigError([*reading.problems, *torn])
    return reading.parsed()


@dataclass
class _Draft:
    """A service while its rows are being gathered."""

    service: Service
    destinations: dict[Endpoint, Destination] = field(default_factory=dict)


class _Reading:
    """The table as it stands after the lines read so far, and what is to be said of them."""

    def __init__(self, path: str, names: Names, before: Mapping[str, Row]) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._path = path
        self._number = self._said = 0
        self._places = Places(names, self.say)
        self._canonical = Canonical()
        self._before = before
        self._rows: dict[str, Row] = {}
        self._drafts: dict[ServiceName, _Draft] = {}
        # Whose rows come one after the other: its draft need not be looked up for each.
        self._latest: ServiceName | None = None
        self._gathered: _Draft | None = None
        # Services whose own rule is wrong: what else is said about them proves nothing.
        self._doubtful: set[ServiceName] = set()
        self._timeouts: Timeouts | None = None
        self._daemons: dict[SyncRole, SyncDaemon] = {}

    def ruleset(self) -> Ruleset:
        services = {
            name: _filled(draft.service, draft.destinations) for name, draft in self._drafts.items()
        }
        return Ruleset(services, self._timeouts, self._daemons)

    def say(self, message: str) -> None:
        self._said += 1
        if self._said <= WARNINGS_MAX or message == TORN:
            self.warnings.append(Problem(self._path, self._number, message))

    def parsed(self) -> Parsed:
        left = self._said - len(self.warnings)
        if left:
            self.warnings.append(Problem(self._path, 0, f"{left} more warnings, not shown"))
        return Parsed(self.ruleset(), tuple(self.warnings), self._rows)

    def read(self, number: int, text: str) -> None:
        self._number = number
        try:
            row = self._before.get(text) or self._canonical.row(text)
            if row and self._added(*row):
                self._rows[text] = row
                return
            self._latest = None
            words = words_of(text, self.say)
            if not words:
                return
            line = read(words)
            if line.problems:
                self._complain(line.problems)
                self._doubt(line)
            else:
                _OBEY[line.command](self, line)
        except ValueError as error:
            self._complain([str(error)])

    def _complain(self, messages: Iterable[str]) -> None:
        self.problems += [Problem(self._path, self._number, message) for message in messages]

    def _added(self, name: ServiceName, row: Destination) -> bool:
        """Obey the usual -a, of *row*, if nothing speaks against it."""
        if name is not self._latest:
            self._latest, self._gathered = name, self._drafts.get(name)
        draft = self._gathered
        if draft is None or row.endpoint in draft.destinations:
            return False
        draft.destinations[row.endpoint] = row
        return True

    def _doubt(self, line: Line) -> None:
        if line.command != "-A":
            return
        try:
            self._doubtful.add(rows.service_name(line, self._places, lambda message: None))
        except ValueError:
            return

    def _name(self, line: Line) -> ServiceName:
        return rows.service_name(line, self._places, self.say)

    def _draft(self, name: ServiceName) -> _Draft | None:
        """Return the draft of a service that should be there, None for a doubtful one."""
        draft = self._drafts.get(name)
        if draft is None and name not in self._doubtful:
            raise ValueError(
                f"there is no service {spell_name(name)} at this line:"
                f" write -A {spell_name(name)} -s SCHEDULER above it"
            )
        return draft

    def add_service(self, line: Line) -> None:
        name = self._name(line)
        try:
            service = rows.service(line, name, self.say)
        except ValueError:
            self._doubtful.add(name)
            raise
        if name in self._drafts:
            raise ValueError(
                f"the service {spell_name(name)} is there already: leave one -A, or write -E"
            )
        self._drafts[name] = _Draft(service)

    def edit_service(self, line: Line) -> None:
        name = self._name(line)
        service = rows.service(line, name, self.say)
        draft = self._draft(name)
        if draft:
            before = service_options(draft.service)
            self._say_lost(line, before, service_options(service))
            draft.service = service

    def delete_service(self, line: Line) -> None:
        name = self._name(line)
        self._draft(name)
        self._drafts.pop(name, None)

    def clear(self, line: Line) -> None:
        self._drafts.clear()
        self._doubtful.clear()

    def add_server(self, line: Line) -> None:
        name = self._name(line)
        destination = rows.destination(line, name, self._places, self.say)
        draft = self._draft(name)
        if not any(option in line.options for option in FORWARDING):
            self.say(
                "no forwarding method, so this is direct routing (-g) as with ipvsadm:"
                " write -m for NAT, or -g to say so"
            )
        if not draft:
            return
        if destination.endpoint in draft.destinations:
            raise ValueError(
                f"{spell_endpoint(destination.endpoint)} is under {spell_name(name)} already:"
                " leave one -a, or write -e"
            )
        draft.destinations[destination.endpoint] = destination

    def edit_server(self, line: Line) -> None:
        name = self._name(line)
        destination = rows.destination(line, name, self._places, self.say)
        draft = self._draft(name)
        if draft:
            written = rows.real_server(line, name, self._places)
            if destination.endpoint not in draft.destinations and written in draft.destinations:
                raise ValueError(
                    f"without -m this rule means {spell_endpoint(destination.endpoint)}, and"
                    f" only {spell_endpoint(written)} is there: write -m"
                )
            before = self._server(draft, destination.endpoint)
            self._say_lost(line, destination_options(before), destination_options(destination))
            draft.destinations[destination.endpoint] = destination

    def delete_server(self, line: Line) -> None:
        name = self._name(line)
        endpoint = rows.real_server(line, name, self._places)
        draft = self._draft(name)
        if draft:
            self._server(draft, endpoint)
            del draft.destinations[endpoint]

    def _server(self, draft: _Draft, endpoint: Endpoint) -> Destination:
        if endpoint not in draft.destinations:
            there = [other for other in draft.destinations if other.address == endpoint.address]
            hint = f"did you mean {spell_endpoint(there[0])}?" if there else "add it with -a first"
            name = spell_name(draft.service.name)
            raise ValueError(
                f"there is no real server {spell_endpoint(endpoint)} under {name}: {hint}"
            )
        return draft.destinations[endpoint]

    def _say_lost(self, line: Line, before: list[str], after: list[str]) -> None:
        given = set(line.options)
        if given & set(FORWARDING):
            given |= {*FORWARDING, "--tun-type"}
        lost = [
            option for option in before if option not in after and option.split()[0] not in given
        ]
        if lost:
            self.say(
                f"{line.command} keeps nothing that it does not repeat, so {' '.join(lost)} is"
                f" lost and the row is now {' '.join(after)}: write all that should stay"
            )

    def set_timeouts(self, line: Line) -> None:
        timeouts = rows.timeouts(line)
        if timeouts == Timeouts():
            self.say("--set 0 0 0 changes nothing: write seconds where a 0 stands, or remove it")
            return
        self._timeouts = timeouts.over(self._timeouts or Timeouts())

    def start_daemon(self, line: Line) -> None:
        daemon = rows.sync_daemon(line)
        role = daemon.role.name.lower()
        if daemon.role in self._daemons:
            raise ValueError(f"a {role} sync daemon is started above already: leave one")
        self._daemons[daemon.role] = daemon

    def stop_daemon(self, line: Line) -> None:
        role = rows.sync_role(line)
        if role not in self._daemons:
            word = role.name.lower()
            raise ValueError(f"no {word} sync daemon is started above: take the line away")
        del self._daemons[role]

    def show(self, line: Line) -> None:
        if any(option in line.options for option in rows.TRANSPORTS) or "-f" in line.options:
            self._draft(self._name(line))
        act = "sets counters to zero" if line.command == "-Z" else "prints the table"
        self.say(f"{line.command} only {act}, and is passed over in a rule file: take it away")

    def refuse(self, line: Line) -> None:
        act = "reads rules from its input" if line.command == "-R" else "ends the reading of rules"
        raise ValueError(f"{line.command} {act}, and cannot stand in a rule file: take it away")


def _filled(service: Service, destinations: Mapping[Endpoint, Destination]) -> Service:
    return Service(
        service.name,
        service.scheduler,
        service.persistence,
        service.netmask,
        service.flags,
        service.one_packet,
        service.persistence_engine,
        destinations,
    )


_OBEY: Mapping[str, Callable[[_Reading, Line], None]] = {
    "-A": _Reading.add_service,
    "-E": _Reading.edit_service,
    "-D": _Reading.delete_service,
    "-C": _Reading.clear,
    "-a": _Reading.add_server,
    "-e": _Reading.edit_server,
    "-d": _Reading.delete_server,
    "--set": _Reading.set_timeouts,
    "--start-daemon": _Reading.start_daemon,
    "--stop-daemon": _Reading.stop_daemon,
    "-L": _Reading.show,
    "-S": _Reading.show,
    "-Z": _Reading.show,
    "-R": _Reading.refuse,
    "-h": _Reading.refuse,
    "-v": _Reading.refuse,
}
