"""The life of the daemon, with a table in memory and a prober that the test plays."""

import json
import os
import select
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from lvs_nat.core import wire
from lvs_nat.core.cluster import Cluster
from lvs_nat.core.health import Outcome, Verdict
from lvs_nat.core.orders import Hearing
from lvs_nat.core.plan import AddDestination, SetService, SetTimeouts, StartDaemon
from lvs_nat.core.setup import Setup
from lvs_nat.core.spelling import spell
from lvs_nat.daemon.director import Director
from lvs_nat.daemon.link import Link
from lvs_nat.daemon.notes import Notes
from lvs_nat.daemon.paths import Paths
from lvs_nat.daemon.saved import load
from lvs_nat.daemon.service import Service
from lvs_nat.daemon.succession import Seat
from lvs_nat.errors import KernelError, LvsNatError
from lvs_nat.lab.topology import until
from lvs_nat.model import SyncDaemon, SyncRole, Timeouts
from lvs_nat.system.control import ask
from lvs_nat.system.program import Program
from lvs_nat.system.timeouts import TimeoutRecord
from tests.builders import RS1, RS2, VIP, WEB, at, real, rules, service, tcp
from tests.fakes import FakeIpvs

WELL = Verdict(Outcome.PASS, "connected", 0.001)
WRR = service(VIP, scheduler="wrr")
EDITED = rules(service(VIP, RS1, RS2, scheduler="wrr"))
SEAT = Seat(Program("/bin/false", ("false",)), lock=-1)
UNTOUCHED = "sysctl = no\n"  # the settings of the machine that runs the tests
OTHER = service("10.9.9.9:25", RS1)


class Stage:
    """What lasts from one director to the next: the files and the kernel."""

    def __init__(self, folder):
        self.paths = Paths(
            rules=folder / "ipvsadm",
            config=folder / "lvs-nat.conf",
            config_given=True,
            run_dir=folder,
            state_dir=folder,
        )
        self.kernel = FakeIpvs()
        self.save(WEB)
        self.paths.config.write_text(UNTOUCHED)
        self.announced = []
        self.mute = set()  # the servers of which the prober says nothing

    def save(self, ruleset):
        self.paths.rules.write_text(spell(ruleset))

    def play(self, script=lambda: None):
        """Run a director; once it serves, *script* is played; then SIGTERM ends the director.

        Returns what script returned, and the director's exit code.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        serving, ended = threading.Event(), threading.Event()

        def announce(code, text):
            self.announced.append((code, text))
            serving.set()

        def act():
            try:
                return script() if serving.wait(10) else None
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        before = {number: signal.getsignal(number) for number in SIGNALS}
        for number in SIGNALS:  # one that comes before or after the director is nobody's end
            signal.signal(number, lambda *_: None)
        saved = load(self.paths)
        with ThreadPoolExecutor(2) as threads:
            threads.submit(vouch, theirs, ended, self.mute)
            acted = threads.submit(act)
            link = Link(ours, 2**22 + 1)
            self.line = theirs
            try:
                code = Service(self.paths, saved, link, self.kernel, announce, SEAT).run()
            finally:
                ended.set()
                acted.exception()  # its signal is not for those who are restored
                for number, handler in before.items():
                    signal.signal(number, handler)
        return acted.result(), code

    def ask(self, verb, **more):
        return ask(self.paths.socket, verb, **more)

    def refusal(self, verb, **more):
        with pytest.raises(LvsNatError) as caught:
            self.ask(verb, **more)
        return caught.value

    def remembered(self, ruleset):
        """Return the state file once it tells that *ruleset* runs."""
        first = spell(ruleset).splitlines()[0]
        file = self.paths.memory
        until(lambda: file.exists() and first in file.read_text(), 5, "the edit in the state file")
        return file.read_bytes()

    @property
    def table(self):
        return self.kernel.read().services


SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def vouch(line, ended, mute):
    """Be a prober to whom every server is well, and which says nothing of those in *mute*."""
    hearing = Hearing()
    with line:
        line.send(wire.HELLO)
        while not ended.is_set():
            if not select.select([line], [], [], 0.01)[0]:
                continue
            record = line.recv(wire.RECORD)
            if not record:
                return
            order = hearing.take(record)
            if order is None:
                continue
            generation, targets = order
            told = [
                wire.Told(number, WELL, 1.0)
                for number, target in enumerate(targets)
                if target.endpoint not in mute
            ]
            for answer, _ in wire.pack_verdicts(generation, told):
                line.send(answer)


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


def test_a_start_fills_the_table_and_then_announces_it(stage):
    stage.play()

    assert stage.table == WEB.services
    [(code, listing)] = stage.announced
    assert code == 0
    assert "TCP  172.25.0.10:80 rr" in listing


def test_where_no_prober_can_be_raised_any_more_a_director_ends_and_leaves_the_table(stage):
    def hang_up():  # as whoever has taken a prober over may
        stage.line.shutdown(socket.SHUT_RDWR)

    with pytest.raises(LvsNatError, match="ending, and leaving the table as it is") as caught:
        stage.play(hang_up)

    assert caught.value.exit_code == 1  # upon which systemd restarts it
    assert stage.table == WEB.services


def test_an_edit_made_a_moment_ago_is_what_save_saves(stage):
    def edit():
        stage.kernel.apply([SetService(WRR)])
        return stage.ask("running")["rules"]

    assert stage.play(edit)[0] == spell(EDITED)


def test_whoever_acts_for_a_director_learns_by_which_files_it_runs(stage):
    answer, _ = stage.play(lambda: stage.ask("running"))
    folder = str(stage.paths.state_dir)

    assert (answer["path"], answer["files"]) == (
        f"{folder}/ipvsadm",
        {
            "rules": f"{folder}/ipvsadm",
            "config": f"{folder}/lvs-nat.conf",
            "config_given": True,
            "state_dir": folder,
        },
    )


LIGHTER = rules(service(VIP, RS1))


def test_a_diff_is_with_the_rule_file_as_it_is_now(stage):
    def edit_both():
        stage.kernel.apply([SetService(WRR)])
        until(lambda: stage.ask("status")["unsaved"], 5, "the edit in the status")
        stage.save(LIGHTER)
        return stage.ask("diff")

    assert stage.play(edit_both)[0] == {
        "rules": spell(EDITED),
        "saved": spell(LIGHTER),
        "kernel": [],
        "warnings": [],
    }


def test_a_diff_with_a_rule_file_that_is_none_tells_every_problem(stage):
    def spoil():
        stage.paths.rules.write_text("-A\n-E\n")
        return stage.refusal("diff")

    refusal = stage.play(spoil)[0]
    assert (refusal.exit_code, str(refusal).count("\n")) == (6, 1)


NAMED = "-A -t 172.25.0.10:80 -s rr\n-a -t 172.25.0.10:80 -r a..b:80 -m\n"  # no name: none is asked


def test_a_name_that_is_lost_goes_on_with_its_last_good_address_and_status_says_so(stage):
    found = {"a..b": ["192.168.122.10", 1e9, False]}
    stage.paths.addresses.write_text(json.dumps({"format": 1, "names": found}))
    stage.paths.rules.write_text(NAMED)
    status, _ = stage.play(lambda: stage.ask("status"))

    assert list(stage.table[tcp(VIP)].destinations) == [at("192.168.122.10:80")]
    [remark] = status["names"]
    assert remark.startswith("a..b cannot be looked up: 192.168.122.10, which it had at 2001-09-09")
    kept = json.loads(stage.paths.addresses.read_text())["names"]
    assert kept == {"a..b": ["192.168.122.10", 1e9, True]}


def test_addresses_are_kept_once_they_are_served_and_forgotten_with_their_names(stage):
    stage.paths.rules.write_text(NAMED.replace("a..b", "localhost"))

    def go_on_without():
        kept = json.loads(stage.paths.addresses.read_text())["names"]
        stage.save(WEB)
        stage.ask("reload")
        return {host: address for host, (address, *_) in kept.items()}

    assert stage.play(go_on_without)[0] == {"localhost": "127.0.0.1"}
    assert not stage.paths.addresses.exists()


def test_a_reload_tells_of_a_name_that_cannot_be_looked_up_and_changes_nothing(stage):
    def reload():
        stage.paths.rules.write_text(NAMED)
        return str(stage.refusal("reload"))

    said = stage.play(reload)[0]

    where = f"{stage.paths.rules}:2: "
    assert (
        said == f"{where}a..b has no IPv4 address (not a name that DNS can hold); write its address"
    )
    assert stage.table == WEB.services


def test_stop_leaves_nothing_in_table_or_folder_and_ends_the_director(stage):
    said, code = stage.play(lambda: stage.ask("stop"))

    assert list(said) == ["restored"]
    assert (code, stage.table) == (0, {})
    assert sorted(path.name for path in stage.paths.run_dir.iterdir()) == [
        "ipvsadm",
        "lvs-nat.conf",
    ]


def test_a_stop_that_the_kernel_does_not_answer_is_said_and_the_director_serves_on(stage):
    def stop():
        stage.kernel.broken = KernelError("the kernel's answer was lost")
        refusal = stage.refusal("stop")
        stage.kernel.broken = None
        return str(refusal), stage.ask("status")["counts"]["serving"]

    assert stage.play(stop)[0] == ("the kernel's answer was lost", 2)
    assert stage.table == WEB.services


def test_with_on_stop_keep_the_table_stays(stage):
    stage.paths.config.write_text(UNTOUCHED + "on_stop = keep\n")
    stage.play(lambda: stage.ask("stop"))

    assert stage.table == WEB.services


def test_with_own_rules_stop_leaves_what_is_not_ours(stage):
    stage.paths.config.write_text(UNTOUCHED + "own = rules\n")
    stage.kernel = FakeIpvs(OTHER)
    stage.play(lambda: stage.ask("stop"))

    assert stage.table == rules(OTHER).services


FOREIGN = service("10.7.7.7:53", RS1)


@pytest.fixture
def shared(stage):
    """A stage where the director has two services, and somebody else a third."""
    stage.paths.config.write_text(UNTOUCHED + "own = rules\n")
    stage.kernel = FakeIpvs(FOREIGN)
    stage.save(rules(*WEB.services.values(), OTHER))
    return stage


def test_with_own_rules_a_service_that_the_file_has_no_more_leaves_with_a_restart(shared):
    shared.play()
    before = set(shared.table)
    shared.save(WEB)
    shared.play()

    assert before == {tcp(VIP), OTHER.name, FOREIGN.name}
    assert set(shared.table) == {tcp(VIP), FOREIGN.name}


def test_with_own_rules_a_stop_takes_what_a_reload_has_dropped_and_still_holds(shared):
    rs3 = real("192.168.122.30:80")
    shared.mute.add(rs3.endpoint)

    def stop():
        shared.save(rules(service(VIP, RS1, rs3)))
        shared.ask("reload")
        held = set(shared.table)
        shared.ask("stop")
        return held

    assert OTHER.name in shared.play(stop)[0]
    assert set(shared.table) == {FOREIGN.name}


@pytest.mark.parametrize("how", ["restart", "crash", "reload", "reload, crash"])
def test_a_sync_daemon_that_the_file_has_no_more_ends(stage, how):
    synced = rules(*WEB.services.values(), daemons={SyncRole.MASTER: MASTER})
    stage.save(synced)
    stage.kernel.apply([StartDaemon(BACKUP)])  # that of somebody else

    def script():
        stage.remembered(synced)
        before = set(stage.kernel.read().daemons)
        stage.save(WEB)
        if "reload" in how:
            stage.ask("reload")
        return before, stage.paths.memory.read_bytes()

    before, left = stage.play(script)[0]
    if "crash" in how:
        stage.paths.memory.write_bytes(left)
    if how != "reload":
        stage.play()

    assert before == {SyncRole.MASTER, SyncRole.BACKUP}
    assert set(stage.kernel.read().daemons) == {SyncRole.BACKUP}


MASTER, BACKUP = (SyncDaemon(role, "lo", 1) for role in SyncRole)


class Attentive(FakeIpvs):
    """A table that notes whether *path* is there while its timeouts are set."""

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.seen = []

    def apply(self, operations):
        if any(isinstance(it, SetTimeouts) for it in operations):
            self.seen.append(self.path.exists())
        return super().apply(operations)


def test_what_ran_is_known_until_a_stop_has_given_everything_back(stage):
    stage.kernel = Attentive(stage.paths.memory)
    stage.save(rules(*WEB.services.values(), timeouts=Timeouts(100, 20, 300)))

    def stop():
        until(stage.paths.memory.exists, 5, "the state file")
        TimeoutRecord(stage.paths.timeouts).note(Timeouts(900, 120, 300), Timeouts(100, 20, 300))
        stage.ask("stop")

    stage.play(stop)

    assert stage.kernel.seen == [False, True]  # by the start, and by the stop
    assert stage.kernel.read().timeouts == Timeouts(900, 120, 300)
    assert not stage.paths.memory.exists()


def test_files_are_judged_where_they_lie_and_not_gone_over_to(stage):
    def judge():
        stage.save(rules(service(VIP, RS1)))
        stage.paths.config.write_text(UNTOUCHED + "[services]\n[[tcp 10.1.1.1:80]]\nfall = 3\n")
        return stage.ask("judge")["warnings"], stage.ask("running")["rules"]

    warnings, running = stage.play(judge)[0]

    assert len(warnings) == 1
    assert "10.1.1.1:80" in warnings[0]
    assert running == spell(WEB)


@pytest.mark.parametrize("verb", ["reload", "judge"])
def test_bad_files_are_refused_with_every_problem_and_change_nothing(stage, verb):
    def ask():
        stage.paths.rules.write_text("-A -t 172.25.0.10:80 -s rrr\n")
        stage.paths.config.write_text("fal = 3\n")
        return stage.refusal(verb)

    refusal = stage.play(ask)[0]

    assert refusal.exit_code == 6
    assert str(refusal).count("\n") == 1
    assert stage.table == WEB.services


def test_a_reload_returns_to_the_saved_rules(stage):
    def reload():
        stage.kernel.apply([SetService(WRR)])
        before = stage.ask("status")
        stage.ask("running")
        during = stage.ask("status")
        return before["unsaved"], during["unsaved"], stage.ask("reload"), stage.ask("status")

    _, during, answer, after = stage.play(reload)[0]

    assert during == ["-E -t 172.25.0.10:80 -s wrr"]
    assert (answer, after["unsaved"]) == ({"refusals": [], "warnings": []}, [])
    assert stage.table == WEB.services


READS, KEEPS = "the director reads {}; a restart", "the director keeps its state in {}; a restart"


@pytest.mark.parametrize(
    "named, said",
    [
        ({"rules": "/other"}, [READS.format("ipvsadm") + " goes over to /other"]),
        (
            {"rules": "ipvsadm", "config": "/other"},
            [READS.format("lvs-nat.conf") + " goes over to /other"],
        ),
        (
            {"rules": "/a", "state_dir": "/b"},
            [READS.format("ipvsadm") + " goes over to /a", KEEPS.format(".") + " goes over to /b"],
        ),
    ],
    ids=["rules", "settings", "two"],
)
def test_a_reload_of_other_files_than_the_directors_is_refused_and_none_is_read(stage, named, said):
    folder = stage.paths.state_dir

    def reload():
        stage.save(LIGHTER)
        refusal = stage.refusal("reload", **{it: str(folder / at) for it, at in named.items()})
        return refusal.exit_code, str(refusal), stage.ask("status")["problems"]

    (code, words, problems), _ = stage.play(reload)

    assert (code, problems) == (1, [])
    assert words.replace(f"{folder}/", "").replace(str(folder), ".").splitlines() == said
    assert stage.table == WEB.services


def test_the_directors_files_may_be_named_too_under_whatever_name(stage):
    link = stage.paths.state_dir / "link"
    link.symlink_to(stage.paths.rules)

    def reload():
        stage.save(LIGHTER)
        return stage.ask("reload", rules=str(link), config=str(stage.paths.config))

    assert stage.play(reload)[0]["refusals"] == []
    assert stage.table == LIGHTER.services


def test_a_reload_answers_with_what_it_warns_of(stage):
    stage.paths.config.write_text(f"{UNTOUCHED}[services]\n[[tcp 10.9.9.9:25]]\nfall = 3\n")

    [warning] = stage.play(lambda: stage.ask("reload"))[0]["warnings"]
    assert "10.9.9.9:25" in warning


def test_a_save_is_taken_note_of_whatever_has_become_of_the_settings_file(stage):
    def edit_and_save():
        stage.kernel.apply([SetService(WRR)])
        until(lambda: stage.ask("status")["unsaved"], 5, "the edit in the status")
        stage.paths.config.write_text("intervall = 1\n")
        stage.save(EDITED)
        return stage.ask("saved"), stage.ask("status")["unsaved"]

    (answer, unsaved), _ = stage.play(edit_and_save)

    assert (answer, unsaved) == ({}, [])


def test_a_save_mends_what_was_wrong_with_the_rule_file_and_nothing_else(stage):
    def save():
        stage.paths.rules.write_text("nonsense\n")
        stage.paths.config.write_text("intervall = 1\n")
        os.kill(os.getpid(), signal.SIGHUP)
        until(lambda: len(stage.ask("status")["problems"]) == 2, 5, "problems in the status")
        stage.save(WEB)
        stage.ask("saved")
        return stage.ask("status")["problems"]

    left = stage.play(save)[0]

    assert [words.partition(":")[0] for words in left] == [str(stage.paths.config)]


def test_a_restart_returns_to_the_saved_rules_and_a_crash_goes_on_with_what_ran(stage):
    def edit():
        stage.kernel.apply([SetService(WRR)])
        stage.ask("running")
        return stage.remembered(EDITED)

    left_by_a_crash = stage.play(edit)[0]
    after_sigterm = stage.table
    stage.paths.memory.write_bytes(left_by_a_crash)
    stage.play()
    after_crash = stage.table
    stage.play()

    assert after_sigterm == after_crash == EDITED.services
    assert stage.table == WEB.services


def test_a_crash_after_which_the_file_was_edited_starts_from_the_file(stage):
    def crash():
        stage.kernel.apply([SetService(WRR)])
        stage.ask("running")
        return stage.remembered(EDITED)

    left = stage.play(crash)[0]
    stage.paths.memory.write_bytes(left)
    heavier = rules(service(VIP, RS1, real("192.168.122.20:80", 30)))
    stage.save(heavier)
    stage.play()

    assert stage.table == heavier.services


@pytest.mark.parametrize("comment", ["", "# the web\n"], ids=["", "a comment was written"])
def test_a_weight_outlives_a_crash_from_the_moment_its_command_was_answered(stage, comment):
    def weigh():
        stage.remembered(WEB)
        ask(stage.paths.socket, "weigh", server=str(RS2.endpoint), weight=14)
        return stage.paths.memory.read_bytes()

    stage.paths.memory.write_bytes(stage.play(weigh)[0])
    stage.paths.rules.write_text(comment + spell(WEB))
    stage.play()

    assert stage.table == rules(service(VIP, RS1, real("192.168.122.20:80", 14))).services


def test_an_edit_outlives_a_crash_from_the_moment_it_is_said_to_be_kept(stage):
    def edit():
        stage.remembered(WEB)
        stage.kernel.apply([SetService(WRR)])
        until(lambda: stage.ask("status")["unsaved"], 5, "the edit in the status")
        return stage.paths.memory.read_bytes()

    stage.paths.memory.write_bytes(stage.play(edit)[0])
    stage.play()

    assert stage.table == EDITED.services


def test_a_weight_is_saved_without_what_was_only_reported(stage):
    stage.paths.config.write_text(UNTOUCHED + "drift = report\n")

    def weigh():
        stage.kernel.apply([SetService(WRR)])
        before = stage.ask("running")["rules"]
        ask(stage.paths.socket, "weigh", server=str(RS2.endpoint), weight=14)
        return before, stage.ask("running")["rules"]

    before, after = stage.play(weigh)[0]
    heavier = real("192.168.122.20:80", 14)

    assert before == spell(WEB)
    assert after == spell(rules(service(VIP, RS1, heavier)))
    assert stage.table == rules(service(VIP, RS1, heavier, scheduler="wrr")).services


@pytest.mark.parametrize(
    "later, left",
    [
        ("drift = report\n", EDITED),
        ("drift = adopt\n", WEB),
        ("drift = repair\n", WEB),
    ],
)
def test_what_was_only_reported_is_left_by_the_next_director_after_a_crash(stage, later, left):
    stage.paths.config.write_text(UNTOUCHED + "drift = report\n")

    def edit():
        stage.remembered(WEB)
        stage.kernel.apply([SetService(WRR)])
        stage.ask("running")  # by now it is told
        return stage.paths.memory.read_bytes()

    stage.paths.memory.write_bytes(stage.play(edit)[0])
    stage.paths.config.write_text(UNTOUCHED + later)
    running = stage.play(lambda: stage.ask("running")["rules"])[0]

    assert running == spell(WEB)
    assert stage.table == left.services


def test_what_was_only_reported_ends_with_a_restart(stage):
    stage.paths.config.write_text(UNTOUCHED + "drift = report\n")

    def edit():
        stage.kernel.apply([SetService(WRR)])
        stage.ask("running")

    stage.play(edit)
    before = stage.table
    stage.play()

    assert (before, stage.table) == (EDITED.services, WEB.services)


def block(path):
    """Let no file be written at *path*."""
    while not path.is_dir():
        path.unlink(missing_ok=True)
        with suppress(FileExistsError):  # just written again
            path.mkdir()


@pytest.mark.parametrize(
    "verb, request_, name, loss",
    [
        ("wish", {"wish": "drain"}, "wishes", "a restart"),
        ("weigh", {"weight": 14}, "memory", "a crash now"),
    ],
)
def test_what_is_done_but_cannot_be_written_down_is_answered_with_a_warning(
    stage, verb, request_, name, loss, caplog
):
    path = getattr(stage.paths, name)

    def act():
        stage.remembered(WEB)
        request = {"server": str(RS2.endpoint), "force": True, **request_}
        before = ask(stage.paths.socket, verb, **request)
        ask(stage.paths.socket, "wish", wish="enable", server=str(RS2.endpoint))
        block(path)
        return before, ask(stage.paths.socket, verb, **{**request, "weight": 15})

    before, after = stage.play(act)[0]

    words = f"cannot write {path}: Is a directory; {loss} would forget this"
    assert (before["warnings"], after["warnings"]) == ([], [words])
    assert caplog.messages.count(words) == 1


def test_a_reload_that_drops_edits_and_cannot_write_that_down_warns_of_it(stage):
    def reload():
        stage.kernel.apply([SetService(WRR)])
        stage.ask("running")
        stage.remembered(EDITED)
        block(stage.paths.memory)
        return stage.ask("reload")

    answer = stage.play(reload)[0]

    words = f"cannot write {stage.paths.memory}: Is a directory; a crash now would forget this"
    assert answer == {"refusals": [], "warnings": [words]}


@pytest.mark.parametrize("name", ["wishes", "memory"])
def test_no_successor_is_made_that_would_not_know_what_holds(stage, name):
    path = getattr(stage.paths, name)

    def renew():
        block(path)
        ask(stage.paths.socket, "wish", wish="drain", server=str(RS2.endpoint))
        return str(stage.refusal("reexec"))

    said = stage.play(renew)[0]

    assert said.endswith(
        f"goes on: what it knows cannot be written down: [Errno 21] Is a directory: '{path}'"
    )


def test_edits_that_a_reload_has_dropped_do_not_return_with_a_crash(stage):
    def reload():
        stage.kernel.apply([SetService(WRR)])
        stage.ask("running")
        stage.remembered(EDITED)
        stage.ask("reload")
        return stage.paths.memory.read_bytes()

    stage.paths.memory.write_bytes(stage.play(reload)[0])
    stage.play()

    assert stage.table == WEB.services


@pytest.mark.parametrize("text", ["", "nonsense", "{}", "[" * 100_000])
def test_a_state_file_that_is_none_is_said_and_done_without(stage, text, caplog):
    stage.paths.memory.write_text(text)
    stage.play()

    assert "starting without what the last director knew" in caplog.text
    assert stage.table == WEB.services


def test_a_refused_start_puts_back_what_was_there(stage):
    stage.kernel = FakeIpvs(OTHER)
    stage.save(rules(service(VIP, RS1), service("172.25.0.11:80", RS2, scheduler="mh")))
    stage.kernel.schedulers.discard("mh")
    code = stage.play()[1]

    assert (code, stage.table) == (1, rules(OTHER).services)
    [(announced, words)] = stage.announced
    assert announced == 1
    assert "modprobe ip_vs_mh failed" in words


class Large(FakeIpvs):
    """A table that takes 60 ms of the processor to read."""

    def snapshot(self):
        began = time.thread_time()
        while time.thread_time() - began < 0.06:
            pass
        return super().snapshot()


def test_what_the_kernel_refuses_is_tried_again_soon_however_long_its_table_takes_to_read(stage):
    stage.kernel = Large()

    def script():
        stage.kernel.schedulers.discard("wrr")
        stage.save(EDITED)
        refusals = stage.ask("reload")["refusals"]
        stage.kernel.schedulers.add("wrr")
        until(lambda: stage.table == EDITED.services, 3, "the scheduler in the table")
        return refusals

    [refusal] = stage.play(script)[0]

    assert "modprobe ip_vs_wrr failed" in refusal


def test_a_server_added_by_hand_is_asked_like_the_others(stage):
    rs3 = real("192.168.122.30:80", 3)

    def add():
        stage.kernel.apply([AddDestination(tcp(VIP), rs3)])
        stage.ask("running")

        def words():
            return stage.ask("status")["services"][0]["servers"][2]["words"]

        until(lambda: words() == "connected", 5, "a verdict")

    stage.play(add)

    assert stage.table == rules(service(VIP, RS1, RS2, rs3)).services


def test_the_state_file_is_written_for_news_alone(stage, tmp_path):
    cluster = Cluster.of(WEB, Setup(), {})
    director = Director(cluster, stage.kernel)
    notes, saved = Notes(tmp_path / "state.json"), load(stage.paths)
    first, second = cluster.healths
    seen = []
    for who, verdicts in ((first, 1), (first, 1), (second, 1), (first, 0)):
        director.hear([(who, WELL)] * verdicts)
        notes.write(director, saved, 0.0)
        seen.append(notes.read())
        (tmp_path / "state.json").unlink(missing_ok=True)

    assert [it and sorted(address for address, _ in it.healths) for it in seen] == [
        ["192.168.122.10:80"], None, ["192.168.122.10:80", "192.168.122.20:80"], None,
    ]  # fmt: skip


def test_systemd_is_told_how_it_stands_for_news_alone(stage, tmp_path, monkeypatch):
    place = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(place))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(place))
        systemd.setblocking(False)
        stage.play(lambda: [stage.ask("running") for _ in range(5)])
        told = []
        with suppress(BlockingIOError):
            while True:
                told.append(systemd.recv(4096).decode())

    status = "STATUS=1 virtual service, 2 of 2 real servers serving"
    assert told == [f"READY=1\n{status}", status, "STOPPING=1"]
