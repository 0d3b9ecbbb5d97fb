"""lvs-nat.conf becomes a Setup, or every problem in it with its line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lvs_nat.core.asking import Checks, Given
from lvs_nat.core.configfile import Place, Reading
from lvs_nat.core.counts import number
from lvs_nat.core.settings import DIRECTOR, POOL, SERVER_FORMS, SERVICE_FORMS, WORDS, service_name
from lvs_nat.core.setup import Check, ServiceSetup, Setup, WhenEmpty
from lvs_nat.core.values import near
from lvs_nat.errors import ConfigError, Problem
from lvs_nat.model import Endpoint, Listener, Ruleset, ServiceName, Transport


def parse(text: str, path: str) -> Setup:
    """Return what *text* asks for; raise ConfigError with every problem in it.

    A check is inherited setting by setting: the top of the file, the service, the real server.
    """
    reading = Reading(text)
    setup = _setup(reading)
    if reading.problems:
        raise ConfigError([Problem(path, *found) for found in reading.sound_problems()])
    return setup


def doubts(text: str, path: str, rules: Ruleset) -> tuple[Problem, ...]:
    """Return what *text* asks for that *rules* cannot give: names no rule has, a quorum too high.

    *text* is one that `parse` takes.  They are worth a warning, not an error: rules change
    while the director runs, and settings may wait for them.
    """
    reading = Reading(text)
    setup = _setup(reading)
    found = (*_strangers(reading, setup, rules), *_unreachable(reading, setup, rules))
    return tuple(Problem(path, *it) for it in found)


def _setup(reading: Reading) -> Setup:
    top = reading.config
    checks = Checks(reading)
    above = checks.given((), top)
    default = replace(_service(reading, (), top, ServiceSetup()), checks=checks.of((), above))
    services: dict[ServiceName, ServiceSetup] = {}
    for place, section in reading.sections(("services",)):
        try:
            name = service_name(place[-1])
        except ValueError as error:
            reading.say(place, f"{error}; write {SERVICE_FORMS}")
            continue
        if name in services:
            reading.say(
                place, f"the virtual service {name} has a section above this one; join them"
            )
        stream = isinstance(name, Listener) and name.transport is Transport.TCP
        given = checks.given(place, section, above)
        servers = _servers(reading, checks, place, given, stream)
        services[name] = replace(
            _service(reading, place, section, default),
            checks=checks.of(place, given, stream),
            servers=servers,
        )
    checks.complain_of_unused()
    return replace(Setup(default, services), **_given(top, DIRECTOR))


def _servers(
    reading: Reading, checks: Checks, place: Place, above: Given, stream: bool
) -> dict[Endpoint, tuple[Check, ...]]:
    servers: dict[Endpoint, tuple[Check, ...]] = {}
    for spot, section in reading.sections(place):
        try:
            endpoint = Endpoint.parse(spot[-1])
        except ValueError:
            reading.say(spot, f"{spot[-1]!r} is not a real server; write {SERVER_FORMS}")
            continue
        if endpoint in servers:
            reading.say(spot, f"the real server {endpoint} has a section above this one; join them")
        servers[endpoint] = checks.of(spot, checks.given(spot, section, above), stream)
    return servers


def _service(reading: Reading, place: Place, section: Any, above: ServiceSetup) -> ServiceSetup:
    given = _given(section, POOL)
    if given.get("sorry") and "when_empty" not in given:
        given["when_empty"] = WhenEmpty.SORRY
    found = replace(above, **given)
    if found.when_empty is not WhenEmpty.SORRY and found.sorry:
        if "sorry" in given:
            reading.say(
                (*place, "sorry"), "sorry is of no use here: it belongs to when_empty = sorry"
            )
        found = replace(found, sorry=())  # who stands in for nobody is not asked
    if found.hysteresis >= found.quorum and {"hysteresis", "quorum"} & given.keys():
        key = "hysteresis" if "hysteresis" in given else "quorum"
        what = f"hysteresis = {found.hysteresis} is not less than quorum = {found.quorum}"
        reading.say((*place, key), what)
    if found.when_empty is WhenEmpty.SORRY and not found.sorry:
        reading.say((*place, "when_empty"), "when_empty = sorry needs sorry, the servers to use")
    return found


def _given(section: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    """Return what the section itself sets, by the names of the fields."""
    found = {key: section.get(key) for key in keys}
    return {
        key: WORDS[key](value) if key in WORDS else value
        for key, value in found.items()
        if value is not None
    }


def _strangers(reading: Reading, setup: Setup, rules: Ruleset) -> Iterator[tuple[int, str]]:
    for place, _ in reading.sections(("services",)):
        name = service_name(place[-1])
        service = rules.services.get(name)
        if service is None:
            known = near(str(name), map(str, rules.services))
            yield (
                reading.line(place),
                f"no rule has the virtual service {name}: its settings do nothing{known}",
            )
            continue
        for spot, _ in reading.sections(place):
            endpoint = Endpoint.parse(spot[-1])
            servers = (*service.destinations, *setup.service(name).sorry)
            if endpoint not in servers:
                known = near(str(endpoint), map(str, servers))
                yield (
                    reading.line(spot),
                    f"no rule has the real server {endpoint} under {name}{known}",
                )


def _unreachable(reading: Reading, setup: Setup, rules: Ruleset) -> Iterator[tuple[int, str]]:
    """Yield each quorum that the weights of the rules do not come to."""
    places = {service_name(place[-1]): place for place, _ in reading.sections(("services",))}
    lacking: dict[int, list[tuple[ServiceName, int]]] = {}
    for name, service in rules.services.items():
        pool, whole = setup.service(name), sum(it.weight for it in service.destinations.values())
        if (pool.quorum, pool.hysteresis) != (1, 0) and pool.quorum + pool.hysteresis > whole:
            keys = ("quorum", "hysteresis") if pool.quorum > whole else ("hysteresis", "quorum")
            line = reading.set_at(places.get(name, ()), keys)
            lacking.setdefault(line, []).append((name, whole))
    for line, ((name, whole), *others) in lacking.items():
        pool = setup.service(name)
        also = f" with hysteresis = {pool.hysteresis}" if pool.hysteresis else ""
        more = f"; so it is with {number(len(others), 'more service')}" if others else ""
        yield (
            line,
            f"quorum = {pool.quorum}{also} cannot be had: the real servers of {name} have a weight "
            f"of {whole} in all{more}",
        )
