"""Stand-ins that refuse what the real thing refuses; contract tests hold them to it."""

import errno
import select
from dataclasses import replace
from ipaddress import IPv4Address

from lvs_nat.core import plan
from lvs_nat.model import (
    Counters,
    Forwarding,
    Ruleset,
    SyncRole,
    Timeouts,
    Tunnel,
    TunnelType,
    bare,
)
from lvs_nat.system.ipvs import Info, Snapshot
from lvs_nat.system.refusals import collect

WHOLE = {4: IPv4Address("255.255.255.255"), 6: 128}
# What a kernel counts in jiffies must fit an int; this is INT_MAX / HZ for the fastest clock.
LONGEST_TIMEOUT = 2**31 // 1000


class FakeIpvs:
    """An IPVS table in memory, with the methods and the refusals of the kernel's.

    counted is what a snapshot tells of destinations that have seen traffic; broken, if set, is
    raised by every call, as when the kernel's answers are lost.
    """

    def __init__(self, *services, interfaces=("lo",)):
        self.schedulers = {
            "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh",
        }  # fmt: skip
        self.engines = {"sip"}
        self.interfaces = set(interfaces)
        self.counted = {}
        self.broken = None
        self.writes = 0
        self._services = {service.name: service for service in services}
        self._timeouts = Timeouts(900, 120, 300)
        self._daemons = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Let go of the table; it stays as it is."""

    def info(self):
        return Info((1, 2, 1), 4096)

    def read(self):
        return self.snapshot().ruleset

    def snapshot(self):
        self._answer()
        ruleset = Ruleset(dict(self._services), self._timeouts, dict(self._daemons))
        counters = {
            (name, endpoint): self.counted.get((name, endpoint), Counters())
            for name, service in self._services.items()
            for endpoint in service.destinations
        }
        connections = {
            name: [
                (counters[name, endpoint].active, counters[name, endpoint].inactive)
                for endpoint in service.destinations
            ]
            for name, service in self._services.items()
        }
        return Snapshot(ruleset, counters, connections)

    def has(self, name):
        self._answer()
        return name in self._services

    def apply(self, operations):
        self._answer()
        self.writes += len(operations)
        return collect((it, ACTS[type(it)](self, it)) for it in operations)

    def flush(self):
        self._answer()
        self._services.clear()

    def _answer(self):
        if self.broken:
            raise self.broken

    def _add_service(self, it):
        if it.service.name in self._services:
            return errno.EEXIST
        refused = self._wrong(it.service)
        if not refused:
            self._services[it.service.name] = _kept(bare(it.service))
        return refused

    def _set_service(self, it):
        present = self._services.get(it.service.name)
        if present is None:
            return errno.ESRCH
        refused = self._wrong(it.service)
        if not refused:
            kept = replace(_kept(it.service), destinations=present.destinations)
            self._services[it.service.name] = kept
        return refused

    def _del_service(self, it):
        return 0 if self._services.pop(it.name, None) else errno.ESRCH

    def _wrong(self, service):
        engine = service.persistence_engine
        if service.scheduler not in self.schedulers or (engine and engine not in self.engines):
            return errno.ENOENT
        prefix = service.netmask if service.netmask is not None else 128
        return errno.EINVAL if service.name.version == 6 and not 1 <= prefix <= 128 else 0

    def _add_destination(self, it):
        service = self._services.get(it.name)
        if service is None:
            return errno.ESRCH
        destination = it.destination
        refused = self._wrong_destination(service, destination)
        if refused:
            return refused
        if destination.endpoint in service.destinations:
            return errno.EEXIST
        if not _a_hosts(destination.endpoint.address):
            return errno.EINVAL
        self._put(service, destination)
        return 0

    def _set_destination(self, it):
        service = self._services.get(it.name)
        if service is None:
            return errno.ESRCH
        refused = self._wrong_destination(service, it.destination)
        if refused:
            return refused
        if it.destination.endpoint not in service.destinations:
            return errno.ENOENT
        self._put(service, it.destination)
        return 0

    def _del_destination(self, it):
        service = self._services.get(it.name)
        if service is None:
            return errno.ESRCH
        left = dict(service.destinations)
        if left.pop(it.endpoint, None) is None:
            return errno.ENOENT
        self._services[it.name] = replace(service, destinations=left)
        return 0

    def _wrong_destination(self, service, destination):
        tunnelled = destination.forwarding is Forwarding.TUNNEL
        if destination.endpoint.address.version != service.name.version and (
            self._daemons or not tunnelled
        ):
            return errno.EINVAL
        if destination.weight < 0 or destination.lower_threshold > destination.upper_threshold:
            return errno.ERANGE
        tunnel = destination.tunnel
        return errno.EINVAL if tunnel and tunnel.kind is TunnelType.GUE and not tunnel.port else 0

    def _put(self, service, destination):
        tunnelled = destination.forwarding is Forwarding.TUNNEL
        kept = replace(destination, tunnel=(destination.tunnel or Tunnel()) if tunnelled else None)
        destinations = {**service.destinations, kept.endpoint: kept}
        self._services[service.name] = replace(service, destinations=destinations)

    def _set_timeouts(self, it):
        wanted = it.timeouts
        if max(wanted.tcp, wanted.tcp_fin, wanted.udp) > LONGEST_TIMEOUT:
            return errno.EINVAL
        self._timeouts = wanted.over(self._timeouts)
        return 0

    def _start_daemon(self, it):
        daemon = it.daemon
        if (daemon.group and not daemon.group.is_multicast) or self._mixed():
            return errno.EINVAL
        if daemon.role in self._daemons:
            return errno.EEXIST
        if daemon.interface not in self.interfaces:
            return errno.ENODEV
        self._daemons[daemon.role] = replace(
            daemon,
            group=daemon.group or IPv4Address("224.0.0.81"),
            port=daemon.port or 8848,
            ttl=daemon.ttl or 1,
            max_length=daemon.max_length or 1472,
        )
        self._daemons = {role: self._daemons[role] for role in SyncRole if role in self._daemons}
        return 0

    def _stop_daemon(self, it):
        return 0 if self._daemons.pop(it.daemon.role, None) else errno.ESRCH

    def _mixed(self):
        return any(
            endpoint.address.version != name.version
            for name, service in self._services.items()
            for endpoint in service.destinations
        )


ACTS = {
    plan.AddService: FakeIpvs._add_service,
    plan.SetService: FakeIpvs._set_service,
    plan.DelService: FakeIpvs._del_service,
    plan.AddDestination: FakeIpvs._add_destination,
    plan.SetDestination: FakeIpvs._set_destination,
    plan.DelDestination: FakeIpvs._del_destination,
    plan.SetTimeouts: FakeIpvs._set_timeouts,
    plan.StartDaemon: FakeIpvs._start_daemon,
    plan.StopDaemon: FakeIpvs._stop_daemon,
}


def _kept(service):
    """Return the service as a reading of the kernel's table shows it."""
    whole = service.netmask == WHOLE[service.name.version]
    return service if service.persistence and not whole else replace(service, netmask=None)


def _a_hosts(address):
    if address.version == 6:
        return not (address.is_multicast or address.is_unspecified or address.is_link_local)
    return not (address.is_multicast or address.is_unspecified or address == WHOLE[4])


class FakeLoop:
    """A loop that does nothing by itself, and whose time passes when a test says so."""

    def __init__(self):
        self._now = 0.0
        self._watched = {}
        self._timers = {}

    def watch(self, fd, callback):
        self._watched[fd] = callback

    def unwatch(self, fd):
        self._watched.pop(fd, None)

    def after(self, name, seconds, callback):
        self._timers[name] = (self._now + seconds, callback)

    def forget(self, name):
        self._timers.pop(name, None)

    def turn(self, seconds=0.0):
        """Call back for what can be read now, or within *seconds*."""
        for fd in select.select(list(self._watched), [], [], seconds)[0]:
            self._watched[fd]()

    def passes(self, seconds):
        """Let *seconds* pass; call back for what is due then."""
        self._now += seconds
        for name, (when, callback) in list(self._timers.items()):
            if when <= self._now:
                del self._timers[name]
                callback()
