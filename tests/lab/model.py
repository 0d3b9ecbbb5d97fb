"""What a director ought to make of all that is done to it, thought out without it."""

from copy import deepcopy
from dataclasses import dataclass, field

SERVERS = ("lvs01", "lvs02", "lvs03", "lvs04")
ADDRESSES = {name: f"192.168.122.{number}0:80" for number, name in enumerate(SERVERS, 1)}
WEB, MAIL = "172.25.0.10:80", "172.25.0.10:81"


def tables():
    """Return the schedulers and weights that the soak begins with."""
    return {
        WEB: ["wrr", dict(zip(SERVERS, (5, 10, 3, 4)))],
        MAIL: ["rr", {"lvs03": 1, "lvs04": 2}],
    }


@dataclass
class Model:
    """The rules that are saved and that run, the operator's wishes, the servers that are broken.

    A table is a scheduler and the configured weights of its servers, by virtual service.
    """

    saved: dict = field(default_factory=tables)
    running: dict = field(default_factory=tables)
    wishes: dict = field(default_factory=dict)
    broken: dict = field(default_factory=dict)

    def rows(self):
        """Return the lines that `ipvsadm -S -n` should print, in any order."""
        lines = set()
        for service, (scheduler, weights) in self.running.items():
            lines.add(f"-A -t {service} -s {scheduler}")
            for server, weight in weights.items():
                if server in self.broken or self.wishes.get(server) == "disable":
                    continue
                shown = 0 if self.wishes.get(server) == "drain" else weight
                lines.add(f"-a -t {service} -r {ADDRESSES[server]} -m -w {shown}")
        return lines

    def serving(self, service):
        """Return the servers that may answer clients of *service*."""
        return {
            server
            for server, weight in self.running[service][1].items()
            if weight and server not in self.broken and server not in self.wishes
        }

    @property
    def sound(self):
        """Whether somebody answers everywhere, and too few are broken to suspect the director."""
        return len(self.broken) <= 2 and all(map(self.serving, self.running))

    def after(self, change):
        """Return another model, once *change* was done to it."""
        other = deepcopy(self)
        change(other)
        return other

    def text(self):
        """Return the saved rules as the file that an administrator would write."""
        return "".join(
            f"-A -t {service} -s {scheduler}\n"
            + "".join(
                f"-a -t {service} -r {ADDRESSES[server]} -m -w {weight}\n"
                for server, weight in weights.items()
            )
            for service, (scheduler, weights) in self.saved.items()
        )
