"""The director's own machine, heard from beside all else that the loop does."""

import os
import sys
import threading
import types

from lvs_nat.core.cluster import Cluster
from lvs_nat.core.setup import Setup
from lvs_nat.daemon.host import Host
from lvs_nat.daemon.loop import Loop
from lvs_nat.model import Mark, Ruleset
from lvs_nat.system.sysctl import Sysctls
from tests.builders import rules, service

UNTOUCHED = Cluster.of(Ruleset(), Setup(sysctl=False), {})


class NoLibrary:
    """Finds modules as ever, but says that links cannot be heard, once the loop has turned."""

    def __init__(self):
        self.turned = threading.Event()
        self.waited = []

    def find_spec(self, name, path=None, target=None):
        if name == "lvs_nat.system.links":
            self.waited.append(self.turned.wait(10))
            raise ImportError("there is no pyroute2")


def test_the_loop_goes_on_while_the_library_for_links_is_loaded_or_missing(
    tmp_path, monkeypatch, caplog
):
    imports = NoLibrary()
    monkeypatch.delitem(sys.modules, "lvs_nat.system.links", raising=False)
    monkeypatch.setattr(sys, "meta_path", [imports, *sys.meta_path])
    loop = Loop()
    host = Host(Sysctls(record=tmp_path / "sysctl.json"), lambda: UNTOUCHED)

    def turn():
        imports.turned.set()
        loop.after("turn", 0.01, turn if loop.pending("links") else loop.stop)

    loop.after("turn", 0.0, turn)
    host.listen(loop)
    loop.run()
    loop.close()

    assert imports.waited == [True, True]
    assert caplog.messages == [
        "no events of links, looking every 10 s instead: there is no pyroute2"
    ]


def test_a_reload_may_end_and_begin_the_care_for_kernel_settings(tmp_path):
    forward = tmp_path / "sys/net/ipv4/ip_forward"
    (tmp_path / "sys/net/ipv4/conf").mkdir(parents=True)
    forward.write_text("0\n")
    running = [Cluster.of(Ruleset(), Setup(), {})]
    host = Host(Sysctls(tmp_path / "sys", tmp_path / "record"), lambda: running[-1])
    seen = []
    for cluster in (running[0], UNTOUCHED, running[0]):
        running.append(cluster)
        host.set()
        seen.append(forward.read_text())
        forward.write_text("0\n")

    assert seen == ["1\n", "0\n", "1\n"]
    forward.write_text("1\n")
    assert host.restore() == ["net.ipv4.ip_forward is restored to 0"]


class DeafLinks:
    """Links whose events cannot be read any more."""

    def __init__(self, fd):
        self.fd = fd
        self.closed = False

    def fileno(self):
        return self.fd

    def events(self):
        raise OSError(5, "Input/output error")

    def close(self):
        self.closed = True


def test_events_that_cannot_be_read_any_more_end_no_director(tmp_path, monkeypatch, caplog):
    reading, writing = os.pipe()
    os.write(writing, b"x")
    links = DeafLinks(reading)
    module = types.ModuleType("lvs_nat.system.links")
    module.Links = lambda: links
    monkeypatch.setitem(sys.modules, "lvs_nat.system.links", module)
    loop = Loop()

    def turn():
        loop.after("turn", 0.01, loop.stop if links.closed else turn)

    turn()
    Host(Sysctls(record=tmp_path / "record"), lambda: UNTOUCHED).listen(loop)
    loop.run()
    loop.close()
    os.close(reading)
    os.close(writing)

    assert "no more events of links" in caplog.text


def test_a_virtual_address_that_is_not_on_this_machine_is_named_once_and_when_it_comes(
    tmp_path, caplog
):
    gone, mark = service("192.0.2.77:80"), service(Mark(7))
    running = [rules(service("127.0.0.1:80"), gone, mark)]
    host = Host(
        Sysctls(record=tmp_path / "sysctl.json"),
        lambda: Cluster.of(running[-1], Setup(sysctl=False), {}),
    )
    host.look_around()
    host.look_around()

    assert caplog.messages == [
        "the virtual address 192.0.2.77 is on no interface of this machine, so no client reaches "
        "it: `ip address add 192.0.2.77 dev ...` adds it"
    ]
    running.append(rules(service("127.0.0.1:80")))  # nobody wants it any more
    host.look_around()
    assert len(caplog.messages) == 1
