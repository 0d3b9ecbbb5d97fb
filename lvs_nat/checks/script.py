"""What does a program say of the real server?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lvs_nat.checks.kind import (
    NOTHING_LENT,
    Answer,
    Kind,
    Lent,
    filled,
    first_line,
    unknowable,
)
from lvs_nat.checks.programs import Programs, Running
from lvs_nat.core.health import Outcome, Weight
from lvs_nat.core.questions import Script, Style
from lvs_nat.core.setup import Target

# What an exit status means; one that is not here fails.
MEANINGS: Mapping[Style, Mapping[int, Outcome]] = {
    Style.PLAIN: {0: Outcome.PASS},
    # OK and WARNING; UNKNOWN is the plugin's own trouble (Monitoring Plugins guidelines, 3).
    Style.NAGIOS: {0: Outcome.PASS, 1: Outcome.PASS, 3: Outcome.UNKNOWN},
    # keepalived.conf(5), MISC_CHECK with misc_dynamic.
    Style.KEEPALIVED: {0: Outcome.PASS, **dict.fromkeys(range(2, 256), Outcome.PASS)},
    Style.LDIRECTORD: {0: Outcome.PASS},
}


class Plan(NamedTuple):
    """What to run."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    style: Style


def prepare(target: Target) -> Plan:
    """Return what to run for *target*."""
    question = target.check.question
    assert isinstance(question, Script)
    address, port = str(target.endpoint.address), str(target.endpoint.port)
    virtual, virtual_port = question.virtual
    known = {"h": address, "p": port, "v": virtual, "V": virtual_port, "%": "%"}
    program, *arguments = question.command
    command = [program, *(filled(argument, known) for argument in arguments)]
    if question.style is Style.LDIRECTORD:
        command += [virtual, virtual_port, address, port]
    names = {"VIRTUAL_ADDRESS": virtual, "VIRTUAL_PORT": virtual_port}
    if virtual and not virtual_port:
        names = {"MARK": virtual}
    names.update(ADDRESS=address, PORT=port, TIMEOUT=f"{target.check.timeout:g}")
    environment = {f"LVS_NAT_{name}": value for name, value in names.items()}
    return Plan(tuple(command), environment, question.style)


def judged(style: Style, status: int, output: bytes) -> Answer:
    """Return what the exit status and the output of a program mean."""
    outcome = MEANINGS[style].get(status, Outcome.FAIL)
    said = first_line(output)
    if style is Style.NAGIOS:  # what a plugin writes behind a bar are figures for its monitor
        said = said.partition("|")[0].rstrip()
    if style is Style.KEEPALIVED and status > 1:
        return Answer(outcome, said or f"status {status}", Weight(status - 2, share=False))
    if status == 0 and said:
        return Answer(outcome, said)
    return Answer(outcome, f"status {status}: {said}" if said else f"status {status}")


class Scripts:
    """The programs of this kind of check."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    def start(self, plan: Plan) -> Running | Answer:
        """Start the program."""

        def judge(status: int, output: bytes) -> Answer:
            return judged(plan.style, status, output)

        return self._programs.run(plan, plan.command, plan.environment, judge)


def kind(_: Lent = NOTHING_LENT, programs: Programs | None = None) -> Kind:
    """Return how programs are asked, by *programs* or by new ones."""
    scripts = Scripts(programs or Programs())
    return Kind(prepare, scripts.start, Running.proceed, steps=True, reached=unknowable)
