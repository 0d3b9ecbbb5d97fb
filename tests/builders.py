"""Short ways to say what a test is about."""

from lvs_nat.model import Destination, Endpoint, Listener, Ruleset, Service, Transport


def at(text):
    """Return the endpoint that *text* names, 192.168.122.10:80 or [fd00::10]:80."""
    return Endpoint.parse(text)


def tcp(text):
    return Listener(Transport.TCP, at(text))


def udp(text):
    return Listener(Transport.UDP, at(text))


def real(text, weight=1, **more):
    return Destination(at(text), weight, **more)


def service(name, *rows, scheduler="rr", **more):
    name = tcp(name) if isinstance(name, str) else name
    return Service(name, scheduler, destinations={row.endpoint: row for row in rows}, **more)


def rules(*services, **more):
    return Ruleset({one.name: one for one in services}, **more)


VIP = "172.25.0.10:80"
RS1 = real("192.168.122.10:80", 5)
RS2 = real("192.168.122.20:80", 10)
WEB = rules(service(VIP, RS1, RS2))
