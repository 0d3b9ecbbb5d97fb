"""A kernel that refuses, forgets and dawdles: once it is well the table is as it was meant."""

import errno

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lvs_nat.core.cluster import Cluster
from lvs_nat.core.health import Outcome, Verdict
from lvs_nat.core.plan import DelDestination, DelService
from lvs_nat.core.setup import Check, Drift, Setup, Target
from lvs_nat.daemon.director import Director
from lvs_nat.errors import KernelError
from lvs_nat.system.refusals import collect
from tests.builders import VIP, real, rules, service
from tests.fakes import ACTS, FakeIpvs

ROWS = [real(f"192.168.122.{number}:80", number) for number in (10, 20, 30)]
RULES = rules(service(VIP, *ROWS), service("172.25.0.11:25", real("192.168.122.10:25")))
VERDICTS = {
    "pass": Verdict(Outcome.PASS, "connected"),
    "refused": Verdict(Outcome.REFUSED, "connection refused"),
    "silent": Verdict(Outcome.SILENT, "no answer"),
}
ERRORS = [
    errno.ENOBUFS, errno.EBUSY, errno.ENOENT, errno.EEXIST, errno.ENOSPC, errno.ENOMEM,
    errno.ESRCH, errno.EINTR, errno.ETIMEDOUT, errno.ENOPROTOOPT,
]  # fmt: skip
DENIALS = (errno.ENOENT, errno.ESRCH)


class Faulty(FakeIpvs):
    """A kernel that fails as it is told: refuses one operation, or loses the answer to a batch.

    The refused operation is not done, but a row to be removed that it denies is not there; of
    a batch whose answer is lost any part may be done.
    """

    def __init__(self, *services):
        super().__init__(*services)
        self.refuse = None
        self.lose = None
        self.deaf = 0

    def snapshot(self):
        if self.deaf:
            self.deaf -= 1
            raise KernelError("the kernel's answer was lost", errno.ETIMEDOUT)
        return super().snapshot()

    def apply(self, operations):
        refuse, self.refuse = self.refuse, None
        lose, self.lose = self.lose, None
        done = operations if lose is None else operations[: lose[0]]
        answers = [
            (it, self._refused(it, refuse[1]) if refuse and place == refuse[0] else self._done(it))
            for place, it in enumerate(done)
        ]
        if lose is not None:
            raise KernelError("the kernel's answer was lost", lose[1])
        return collect(answers)

    def _done(self, operation):
        return ACTS[type(operation)](self, operation)

    def _refused(self, operation, number):
        if number in DENIALS and isinstance(operation, (DelService, DelDestination)):
            self._done(operation)
        return number


class Fire:
    """A director, a kernel that may fail, and the time between."""

    def __init__(self, drift=Drift.ADOPT, lose=None):
        self.now = 0.0
        self.kernel = Faulty()
        self.kernel.lose = lose
        cluster = Cluster.of(RULES, Setup(drift=drift), {})
        self.director = Director(cluster, self.kernel, lambda: self.now)
        for who in self.director.cluster.healths:
            self.hears(who, "pass")
        self.looks(1.0)

    def hears(self, who, word):
        self.director.hear([(who, VERDICTS[word])])

    def looks(self, seconds, every=0.3):
        for _ in range(max(1, round(seconds / every))):
            self.now += every
            self.director.reconcile()

    def settles(self):
        """Let the kernel be well and every server pass: nothing may be left of what was."""
        self.kernel.refuse = self.kernel.lose = None
        self.kernel.deaf = 0
        for _ in range(12):  # more successes than any flapping asks for
            for who in self.director.cluster.healths:
                self.hears(who, "pass")
            self.looks(0.3)

    @property
    def table(self):
        return self.kernel.read().services


SOME = Target(ROWS[0].endpoint, Check())


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
def test_what_the_kernel_refuses_once_is_done_at_the_next_look(number):
    fire = Fire()
    fire.kernel.refuse = (0, number)
    fire.hears(SOME, "refused")
    fire.hears(SOME, "refused")
    said = fire.director.refusals
    fire.looks(0.3)

    assert ROWS[0].endpoint not in fire.table[service(VIP).name].destinations
    assert fire.director.refusals == ()
    assert bool(said) == (number not in DENIALS)  # then it is gone: done
    assert fire.director.meant == RULES


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("done", range(4))
def test_a_start_whose_answers_are_lost_anywhere_ends_with_the_table_that_was_meant(number, done):
    fire = Fire(lose=(done, number))

    assert fire.table == RULES.services
    assert fire.director.meant == RULES


def test_a_kernel_that_does_not_answer_at_all_is_asked_again_until_it_does():
    fire = Fire()
    fire.kernel.deaf = 20
    fire.hears(SOME, "refused")
    fire.hears(SOME, "refused")
    fire.looks(3.0)
    deaf = fire.director.refusals
    fire.looks(6.0)

    assert deaf == ("the kernel's answer was lost",)
    assert ROWS[0].endpoint not in fire.table[service(VIP).name].destinations


FAULTS = st.one_of(
    st.tuples(st.just("refuse"), st.integers(0, 3), st.sampled_from(ERRORS)),
    st.tuples(st.just("lose"), st.integers(0, 4), st.sampled_from(ERRORS)),
    st.tuples(st.just("deaf"), st.integers(1, 5), st.none()),
    st.tuples(st.just("hear"), st.integers(0, 3), st.sampled_from(sorted(VERDICTS))),
    st.tuples(st.just("look"), st.integers(1, 9), st.none()),
    st.tuples(st.just("empty"), st.none(), st.none()),
)


@pytest.mark.parametrize("drift", Drift)
@settings(max_examples=60)
@given(steps=st.lists(FAULTS, max_size=30))
@example(steps=[("hear", 0, "silent"), ("look", 2, None), ("refuse", 0, 2), ("look", 5, None)])
def test_after_any_faults_the_table_is_as_it_was_meant_and_no_fault_is_taken_for_an_edit(
    drift, steps
):
    fire = Fire(drift)
    targets = tuple(fire.director.cluster.healths)
    for what, number, more in steps:
        if what == "hear":
            fire.hears(targets[number], more)
            fire.hears(targets[number], more)  # a second one is what moves a server
        elif what == "look":
            fire.looks(0.3 * number)
        elif what == "empty":
            fire.looks(0.3)  # what was lost is found before somebody else does his
            fire.kernel.flush()
        else:
            setattr(fire.kernel, what, number if what == "deaf" else (number, more))
    fire.settles()

    assert fire.table == RULES.services
    assert fire.director.meant == RULES
    assert fire.director.refusals == ()
