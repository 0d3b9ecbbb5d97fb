from lvs_nat.core.setup import Check, Target
from lvs_nat.daemon.agenda import Agenda
from lvs_nat.daemon.mishaps import Mishaps
from lvs_nat.daemon.probe import Probe
from tests.builders import at


def probe(address="127.1.2.3:80"):
    return Probe(Target(at(address), Check()), lambda kind: None, Mishaps())


def test_what_is_put_off_and_put_back_is_looked_at_once():
    agenda, moved, other = Agenda(), probe(), probe("127.1.2.4:80")
    agenda.look_at(moved, 1.0)
    agenda.look_at(other, 1.0)
    agenda.look_at(moved, 3.0)
    agenda.look_at(moved, 1.0)

    assert list(agenda.due(0.99)) == []
    assert list(agenda.due(5.0)) == [moved, other]
