"""The director's own machine, heard from beside all else that the loop does."""

import sys
import threading

from lvs_nat.daemon.host import Host
from lvs_nat.daemon.loop import Loop
from lvs_nat.model import Ruleset
from lvs_nat.system.sysctl import Sysctls


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
    host = Host(Sysctls(record=tmp_path / "sysctl.json"), False, Ruleset)

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
