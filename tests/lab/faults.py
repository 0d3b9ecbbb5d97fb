"""What a soak does to a director, its servers and its table; each says what ought to come of it."""

import json
import os
import signal
import time
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

from lvs_nat.lab.topology import until
from tests.lab.director import RULES
from tests.lab.model import ADDRESSES, MAIL, SERVERS, WEB

PATIENCE = 20.0


class Fault:
    """One kind of fault.  alone says that it comes first after a quiet moment: it is typed by
    somebody who has looked at the table.
    """

    alone = False

    def __init__(self, draw):
        self.draw = draw

    def change(self, model):
        """Make *model* what it ought to be afterwards."""

    def possible(self, model):
        """Whether it can be done now."""
        return True

    def harmless(self, model):
        """Whether no client may notice it."""
        return True

    def do(self, director, model):
        """Do it; *model* is what ought to be before."""
        raise NotImplementedError

    def __str__(self):
        return type(self).__name__


class _OfServer(Fault):
    def __init__(self, draw):
        super().__init__(draw)
        self.server = draw.choice(SERVERS)

    def __str__(self):
        return f"{type(self).__name__} {self.server}"


class Break(_OfServer):
    """A server dies, falls silent, loses its cable or its gateway, or is late with answers."""

    WAYS = ("kill_server", "drop_packets", "cut_link", "take_away_default_route", "answer_slowly")

    def __init__(self, draw):
        super().__init__(draw)
        self.way = draw.choice(self.WAYS)

    def possible(self, model):
        return self.server not in model.broken

    def change(self, model):
        model.broken[self.server] = self.way

    def harmless(self, model):
        return False

    def do(self, director, model):
        more = (6,) if self.way == "answer_slowly" else ()
        getattr(director.lab, self.way)(self.server, *more)

    def __str__(self):
        return f"{self.way} {self.server}"


class Mend(_OfServer):
    """A broken server is whole again."""

    def possible(self, model):
        return self.server in model.broken

    def change(self, model):
        del model.broken[self.server]

    def do(self, director, model):
        director.lab.mend(self.server)


class Wish(_OfServer):
    """The operator drains, disables or enables a server."""

    def __init__(self, draw):
        super().__init__(draw)
        self.word = draw.choice(("drain", "disable", "enable", "enable"))

    def change(self, model):
        if self.word == "enable":
            model.wishes.pop(self.server, None)
        else:
            model.wishes[self.server] = self.word

    def possible(self, model):
        return any(self.server in weights for _, weights in model.running.values())

    def harmless(self, model):
        return self.word != "disable"

    def do(self, director, model):
        director.command(self.word, ADDRESSES[self.server])

    def __str__(self):
        return f"{self.word} {self.server}"


class Weight(_OfServer):
    """The operator gives a server another weight, by our command."""

    def __init__(self, draw):
        super().__init__(draw)
        self.weight = draw.randint(1, 20)

    def possible(self, model):
        return self.server in model.running[WEB][1]

    def change(self, model):
        model.running[WEB][1][self.server] = self.weight

    def do(self, director, model):
        words = ("weight", ADDRESSES[self.server], str(self.weight), "--service", f"tcp {WEB}")
        director.command(*words)


class Edit(_OfServer):
    """Somebody types an ipvsadm command, which is taken into the rules that run."""

    alone = True

    def __init__(self, draw):
        super().__init__(draw)
        self.what = draw.choice(("weight", "scheduler", "delete", "add"))
        self.service = draw.choice((WEB, MAIL))
        self.scheduler = draw.choice(("rr", "wrr", "wlc"))
        self.weight = draw.randint(1, 9)

    def possible(self, model):
        present = self.server in model.running[self.service][1]
        if self.what == "add":
            return not present and self.server not in (*model.broken, *model.wishes)
        # Who looks at the table sees no others to edit.
        return self.what == "scheduler" or self.server in model.serving(self.service)

    def change(self, model):
        weights = model.running[self.service][1]
        if self.what == "scheduler":
            model.running[self.service][0] = self.scheduler
        elif self.what == "delete":
            del weights[self.server]
        else:
            weights[self.server] = self.weight

    def harmless(self, model):
        return self.what != "delete"

    def do(self, director, model):
        where = ("-t", self.service)
        row = (*where, "-r", ADDRESSES[self.server])
        words = {
            "weight": ("-e", *row, "-m", "-w", str(self.weight)),
            "scheduler": ("-E", *where, "-s", self.scheduler),
            "delete": ("-d", *row),
            "add": ("-a", *row, "-m", "-w", str(self.weight)),
        }
        director.ipvsadm(*words[self.what])
        # What is typed while no director looks is nobody's but the next start's.
        wanted = set(running(model.after(self.change)))
        until(lambda: remembered(wanted), PATIENCE, f"{self} in the state file")

    def __str__(self):
        return f"by hand {self.what} {self.server} of {self.service}"


def running(model):
    """Return the lines of the rules that run."""
    other = deepcopy(model)
    other.broken, other.wishes = {}, {}
    return other.rows()


def remembered(wanted):
    """Whether the state file has these rules."""
    with suppress(OSError, ValueError):
        text = json.loads(Path("/run/lvs-nat/state.json").read_text())["running"]
        return set(text.splitlines()) == wanted
    return False


class Clear(Fault):
    """Somebody empties the table."""

    def harmless(self, model):
        return False

    def do(self, director, model):
        director.ipvsadm("-C")


class Settings(Fault):
    """Somebody undoes a setting that NAT needs."""

    def __init__(self, draw):
        super().__init__(draw)
        self.name, self.value = draw.choice(
            (
                ("net/ipv4/ip_forward", "0"),
                ("net/ipv4/conf/eth1/send_redirects", "1"),
                ("net/ipv4/vs/expire_nodest_conn", "0"),
            )
        )

    def harmless(self, model):
        return "forward" not in self.name

    def do(self, director, model):
        director.sysctl(self.name, self.value)

    def __str__(self):
        return f"{self.name} = {self.value}"


class Kill(Fault):
    """The director, its spawner or its prober is killed without a word."""

    def __init__(self, draw):
        super().__init__(draw)
        self.who = draw.choice((0, 0, 1, 2))

    def do(self, director, model):
        family = director.family()
        os.kill(family[self.who], signal.SIGKILL)
        if self.who < 2:
            until(lambda: not alive(family[0]), PATIENCE, "the director's end")
            director.service("start")

    def __str__(self):
        return f"kill the {('director', 'spawner', 'prober')[self.who]}"


class Freeze(Kill):
    """The director or its prober stands still for a while."""

    def __init__(self, draw):
        super().__init__(draw)
        self.who, self.seconds = draw.choice((0, 2)), draw.uniform(0.2, 3.0)

    def do(self, director, model):
        pid = director.family()[self.who]
        os.kill(pid, signal.SIGSTOP)
        time.sleep(self.seconds)
        with suppress(ProcessLookupError):  # a prober that hangs is replaced
            os.kill(pid, signal.SIGCONT)

    def __str__(self):
        return f"freeze the {('director', '', 'prober')[self.who]} for {self.seconds:.1f} s"


class Return(Fault):
    """A reload or a restart: the saved rules run."""

    def __init__(self, draw):
        super().__init__(draw)
        self.word = draw.choice(("reload", "restart", "force-reload"))

    def change(self, model):
        model.running = deepcopy(model.saved)

    def harmless(self, model):
        return model.running == model.saved  # a row that goes may have clients

    def do(self, director, model):
        director.service(self.word)

    def __str__(self):
        return self.word


# By sh alone, the clients of a server that is drained or quiesced are refused: rightly so.
HOWS = ("rr", "wrr", "wlc", "sh -b sh-fallback")


class Rewrite(Return):
    """The administrator writes another rule file and reloads it."""

    def __init__(self, draw):
        super().__init__(draw)
        self.word = "reload"
        self.saved = {
            WEB: [draw.choice(HOWS), self._weights(draw, SERVERS, 2)],
            MAIL: [draw.choice(("rr", "wlc")), self._weights(draw, SERVERS, 1)],
        }

    @staticmethod
    def _weights(draw, servers, least):
        chosen = draw.sample(servers, draw.randint(least, len(servers)))
        return {server: draw.randint(1, 9) for server in chosen}

    def change(self, model):
        model.saved = deepcopy(self.saved)
        model.running = deepcopy(self.saved)
        # A wish is about a server that is there; what it leaves returns as it was.

    def harmless(self, model):
        return False

    def do(self, director, model):
        RULES.write_text(model.after(self.change).text())
        director.service("reload")

    def __str__(self):
        return "rewrite the rules"


class Save(Fault):
    """What runs is saved."""

    def change(self, model):
        model.saved = deepcopy(model.running)

    def do(self, director, model):
        director.service("save")


class BadReload(Fault):
    """A reload of a file with a fault in it, which is mended afterwards."""

    def do(self, director, model):
        good = RULES.read_text()
        cut = self.draw.randrange(len(good))
        RULES.write_text(good[:cut] + "-w x\n" + good[cut:])
        refused = director.service("reload", check=False).returncode
        RULES.write_text(good)
        if not refused:
            raise AssertionError(f"a broken rule file was taken, cut at {cut}")


class Clock(Fault):
    """The wall clock jumps."""

    def possible(self, model):
        return os.environ.get("LVS_NAT_LAB") == "uml"  # elsewhere it is the machine's

    def do(self, director, model):
        time.clock_settime(time.CLOCK_REALTIME, time.time() + self.draw.choice((-3600, 60, 86400)))


def alive(pid):
    """Whether process *pid* runs; one that only waits to be reaped does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


ALL = (
    *(Break, Break, Break, Mend, Mend, Mend, Mend, Wish, Wish, Weight, Edit, Edit, Clear, Settings),
    *(Kill, Kill, Freeze, Return, Rewrite, Save, BadReload, Clock),
)
