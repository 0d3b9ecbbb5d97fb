"""The prober as the director meets it: real processes, real sockets on loopback."""

import gc
import os
import resource
import select
import signal
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from lvs_nat.checks import kinds
from lvs_nat.core import orders, wire
from lvs_nat.core.health import Outcome
from lvs_nat.core.questions import CheckKind, Http, Script, Syn
from lvs_nat.core.setup import Check, Target
from lvs_nat.daemon import prober
from lvs_nat.daemon.link import Link, Probed, ProberLost, ProberTrouble
from lvs_nat.daemon.spawner import spawn
from tests.builders import at

CHECK = Check(interval=0.1, timeout=0.3, fast=0.05)


@contextmanager
def spawned(*args, **more):
    link = spawn(*args, **more)
    try:
        yield link
    finally:
        link.close()


@pytest.fixture
def link():
    with spawned() as link:
        yield link


@contextmanager
def serving(host="127.0.0.1", port=0, check=CHECK):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=4096) as server:
        host = f"[{host}]" if ":" in host else host
        yield server, Target(at(f"{host}:{server.getsockname()[1]}"), check)


@pytest.fixture
def well():
    with serving() as (_, target):
        yield target


@pytest.fixture
def refusing():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield Target(at(f"127.0.0.1:{reserved.getsockname()[1]}"), CHECK)


@pytest.fixture
def silent():
    """A port that answers nothing: its queue of connections is full."""
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    with full, socket.create_connection(full.getsockname()):
        yield Target(at(f"127.0.0.1:{full.getsockname()[1]}"), CHECK)


def until(link, enough, seconds=10.0):
    """Return the events up to those after which *enough* holds of all."""
    seen = []
    deadline = time.monotonic() + seconds
    while not enough(seen):
        left = deadline - time.monotonic()
        assert left > 0, seen[-20:]
        select.select([link], [], [], left)
        seen.extend(link.events())
    return seen


def outcomes(seen, target):
    return [e.verdict.outcome for e in seen if isinstance(e, Probed) and e.target == target]


def lost(seen):
    return [event for event in seen if isinstance(event, ProberLost)]


def child_of(pid):
    """Return the pid of the one child of *pid*."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    assert holds(lambda: children.read_text())
    return int(children.read_text())


def holds(condition, seconds=5.0):
    """Say whether *condition* comes true within *seconds*."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_each_server_gets_the_verdict_it_deserves(link, well, refusing, silent):
    targets = [well, refusing, silent]
    link.ask(targets)
    seen = until(link, lambda seen: all(outcomes(seen, target) for target in targets))
    first = {event.target: event.verdict for event in reversed(seen)}

    assert [(first[target].outcome, first[target].words) for target in targets] == [
        (Outcome.PASS, "connected"),
        (Outcome.REFUSED, "connection refused"),
        (Outcome.SILENT, "no answer within 0.3 s"),
    ]
    assert first[well].latency < 0.3 <= first[silent].latency


def test_a_server_that_ends_and_comes_back_is_noticed_both_times(link):
    with serving() as (_, target):
        link.ask([target])
        until(link, lambda seen: Outcome.PASS in outcomes(seen, target))
    until(link, lambda seen: outcomes(seen, target)[-2:] == [Outcome.REFUSED] * 2)
    with serving(port=target.endpoint.port):
        until(link, lambda seen: outcomes(seen, target)[-2:] == [Outcome.PASS] * 2)


def test_a_server_of_ipv6_is_asked_too(link):
    with serving("::1") as (_, target):
        link.ask([target])
        seen = until(link, lambda seen: outcomes(seen, target))

    assert outcomes(seen, target)[0] is Outcome.PASS


def test_what_is_no_news_is_told_now_and_then_only(well):
    with spawned(hurried) as link:
        link.ask([well])
        seen = until(link, lambda seen: len(seen) == 4)

    # The second confirms the first; from then on there is no news.
    assert [(event.verdict.outcome, event.times > 1) for event in seen] == [
        (Outcome.PASS, False),
        (Outcome.PASS, False),
        (Outcome.PASS, True),
        (Outcome.PASS, True),
    ]


def hurried(line, beat, lent):
    prober.REFRESH, prober.BEAT = 0.3, 0.2
    prober.run(line, beat, lent)


def test_new_orders_keep_the_schedule_of_targets_that_stay(link, refusing):
    with serving(check=Check(interval=3600)) as (_, slow):
        link.ask([slow])
        until(link, lambda seen: outcomes(seen, slow))
        link.ask([refusing, slow])
        seen = until(link, lambda seen: outcomes(seen, refusing))

    assert outcomes(seen, slow) == []


def test_whoever_is_suspected_is_asked_long_before_its_time(link):
    with serving(check=Check(interval=3600, fall=1)) as (_, slow):
        link.ask([slow])
        until(link, lambda seen: outcomes(seen, slow))
    link.hasten([slow])
    seen = until(link, lambda seen: outcomes(seen, slow))

    assert outcomes(seen, slow) == [Outcome.REFUSED]


def test_a_haste_that_means_another_order_or_nobody_does_nothing():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, open(os.devnull, "wb") as beat:
        asking = prober.Prober(theirs, beat.fileno())
        with serving(check=Check(interval=3600, fall=1)) as (_, slow):
            for record in orders.pack(2, [slow]):
                ours.send(record)
            assert told_in(asking, ours, 10) == [Outcome.PASS]
        ours.send(orders.pack_haste(1, [0]))
        ours.send(orders.pack_haste(2, [1]))
        assert told_in(asking, ours, 0.3) == []
        ours.send(orders.pack_haste(2, [0]))
        assert told_in(asking, ours, 10) == [Outcome.REFUSED]


def told_in(asking, line, seconds):
    """Let a prober turn until it tells of verdicts, at most *seconds*; return them."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        asking.turn()
        while select.select([line], [], [], 0)[0]:
            report = wire.unpack_report(line.recv(wire.RECORD))
            if isinstance(report, wire.Verdicts):
                return [it.verdict.outcome for it in report.told]
    return []


def test_a_prober_collects_garbage_though_it_was_forked_in_the_midst_of_a_start(well):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    gc.disable()
    with ours, theirs, open(os.devnull, "wb") as beat:
        asking = prober.Prober(theirs, beat.fileno())
        for record in orders.pack(1, [well]):
            ours.send(record)
        told_in(asking, ours, 10)
    enabled = gc.isenabled()
    gc.enable()

    assert enabled


def test_want_of_descriptors_is_not_the_servers_fault(well):
    with spawned(starved) as link:
        link.ask([well])
        seen = until(link, lambda seen: outcomes(seen, well))

    assert seen[0].verdict.outcome is Outcome.UNKNOWN
    assert seen[0].verdict.words == "this director could not ask: too many open files"


def starved(line, beat, lent):
    kinds.load(CheckKind.TCP)  # as by a prober that has asked before
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    hoard = [os.dup(0) for _ in range(64 - len(os.listdir("/proc/self/fd")) + 1)]
    os.close(hoard.pop())  # for the poll
    prober.run(line, beat, lent)


def test_a_thousand_servers_make_do_with_few_descriptors():
    with serving("0.0.0.0", check=Check(interval=0.5)) as (_, everywhere), spawned(poor) as link:
        port, check = everywhere.endpoint.port, everywhere.check
        targets = [Target(at(f"127.1.{n >> 8}.{n & 255}:{port}"), check) for n in range(1000)]
        link.ask(targets)
        seen = until(link, lambda seen: len({event.target for event in seen}) == 1000)

    assert {event.verdict.outcome for event in seen} == {Outcome.PASS}


def poor(line, beat, lent):
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    prober.run(line, beat, lent)


def test_a_killed_prober_is_replaced_at_once_and_the_director_told(well):
    with spawned() as link:
        link.ask([well])
        until(link, lambda seen: outcomes(seen, well))
        os.kill(child_of(link.spawner), signal.SIGKILL)
        seen = until(link, lambda seen: lost(seen) and outcomes(seen, well))

    assert lost(seen) == [ProberLost("killed by signal 9")]


def answering_at_once(server, number, said):
    """Answer *number* questions at a time with what is *said*, until the server is shut."""
    clients = []
    with suppress(OSError):
        while True:
            clients.append(server.accept()[0])
            if len(clients) == number:
                for client in clients:
                    with client, suppress(ConnectionError):
                        client.recv(65536)
                        client.sendall(said)
                clients.clear()
    for client in clients:
        client.close()


def test_fifty_servers_whose_answers_take_long_to_search_hang_no_prober(well):
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n" + b"a" * 40
    check = Check(Http(regex="(a+)+b"), interval=1.0, timeout=5.0, fast=1.0)
    with serving("0.0.0.0") as (server, target), spawned(look=0.5) as link:
        port = target.endpoint.port
        ill = [Target(at(f"127.9.0.{n}:{port}"), check) for n in range(50)]
        thread = threading.Thread(target=answering_at_once, args=(server, len(ill), said))
        thread.start()
        link.ask([well, *ill])
        seen = until(
            link, lambda seen: lost(seen) or sum(bool(outcomes(seen, it)) for it in ill) >= 15, 30.0
        )
        server.shutdown(socket.SHUT_RDWR)
        thread.join()

    assert lost(seen) == []
    assert set(outcomes(seen, well)) == {Outcome.PASS}
    assert {it for target in ill for it in outcomes(seen, target)} == {Outcome.FAIL}


def test_a_hung_prober_is_replaced(well):
    with spawned(look=0.3) as link:
        link.ask([well])
        until(link, lambda seen: outcomes(seen, well))
        os.kill(child_of(link.spawner), signal.SIGSTOP)
        stopped = time.monotonic()
        seen = until(link, lambda seen: lost(seen) and outcomes(seen, well))

    assert lost(seen) == [ProberLost("it hung: no sign of life for 1.5 s")]
    assert time.monotonic() - stopped < 3.0


def test_a_faulty_prober_says_what_is_wrong_and_is_not_raised_in_a_busy_loop(well, capfd):
    with spawned(look=0.1) as link:
        began = time.monotonic()
        link.ask([Target(well.endpoint, Check(interval=0.0))])  # no configuration allows it
        seen = until(link, lambda seen: len(lost(seen)) == 3)

    trouble, *_ = (event for event in seen if isinstance(event, ProberTrouble))
    assert trouble.words.startswith("ZeroDivisionError in moment, line ")
    assert lost(seen)[0] == ProberLost("it ended with status 1")
    assert time.monotonic() - began >= 0.2
    assert "Traceback" in capfd.readouterr().err


def forging(line, beat, lent):
    raise ValueError("\x1b[2J\nlvs-nat: all is well")


def test_no_line_of_a_traceback_in_a_prober_can_pass_for_one_of_ours(capfd):
    with spawned(forging) as link:
        until(link, lost)
    said = capfd.readouterr().err.splitlines()

    assert r"| ValueError: \x1b[2J" in said
    assert [line for line in said if not line.startswith("| ")] == []


def test_a_prober_that_was_stopped_blames_no_server_for_it(well):
    with spawned() as link:
        check = Check(interval=0.05, timeout=0.1, fall=1)
        target = Target(well.endpoint, check)
        link.ask([target])
        until(link, lambda seen: outcomes(seen, target))
        stopped = child_of(link.spawner)
        os.kill(stopped, signal.SIGSTOP)
        threading.Timer(1.0, os.kill, (stopped, signal.SIGCONT)).start()
        last = Target(at("127.0.0.1:1"), CHECK)
        link.ask([target, last])  # heard only after the stop
        seen = until(link, lambda seen: outcomes(seen, last))

    assert set(outcomes(seen, target)) <= {Outcome.PASS}


@pytest.fixture
def started_by_one_that_ignores_the_end_of_children():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.mark.usefixtures("started_by_one_that_ignores_the_end_of_children")
@pytest.mark.parametrize("program", ["/bin/true", "/bin/false", "/bin/sleep"])
def test_whoever_started_us_may_ignore_the_end_of_children(program):
    command = (program, "0.1") if program.endswith("sleep") else (program,)
    outcome = Outcome.FAIL if program.endswith("false") else Outcome.PASS
    check = replace(CHECK, question=Script(command), timeout=5.0)
    with spawned() as link:
        target = Target(at("127.0.0.1:80"), check)
        link.ask([target])
        seen = until(link, lambda seen: len(outcomes(seen, target)) >= 2)

    assert set(outcomes(seen, target)) == {outcome}
    assert not any("no child" in event.verdict.words for event in seen if isinstance(event, Probed))
    assert lost(seen) == []


def test_when_the_director_hangs_up_nobody_is_left(well):
    link = spawn()
    link.ask([well])
    until(link, bool)
    family = [link.spawner, child_of(link.spawner)]
    link.close()

    assert holds(lambda: not any(map(running, family)))


def test_when_the_director_dies_nobody_is_left():
    reading, writing = os.pipe()
    director = os.fork()
    if director == 0:
        link = spawn()
        until(link, lambda _: link.load)
        os.write(writing, struct.pack("=ii", link.spawner, child_of(link.spawner)))
        signal.pause()
    family = struct.unpack("=ii", os.read(reading, 8))
    for pid in family:
        os.kill(pid, signal.SIGSTOP)  # not even if they cannot notice
    os.kill(director, signal.SIGKILL)
    os.waitpid(director, 0)

    assert holds(lambda: not any(map(running, family)))
    os.close(reading)
    os.close(writing)


LINGERING = ("/bin/sh", "-c", "setsid sleep 60 & sleep 60; :")


def started_by(prober):
    """Return the pids of LINGERING and of what it has started, once all of it runs."""
    children = "/proc/{0}/task/{0}/children"
    (shell,) = waited_for(lambda: words_of(children.format(prober)))
    return [shell, *waited_for(lambda: two(words_of(children.format(shell))))]


def words_of(path):
    return [int(word) for word in Path(path).read_text().split()]


def two(found):
    # Before it is sleep a child is the shell once more.
    names = [Path(f"/proc/{pid}/comm").read_text() for pid in found]
    return found if names == ["sleep\n"] * 2 else []


def waited_for(found):
    assert holds(found)
    return found()


def hung_up(link):
    link.close()


def killed(link):
    os.kill(child_of(link.spawner), signal.SIGKILL)


def stopped(link):
    os.kill(child_of(link.spawner), signal.SIGSTOP)


def stopped_and_hung_up(link):
    stopped(link)
    link.close()


@pytest.mark.parametrize("ends", [hung_up, killed, stopped, stopped_and_hung_up])
def test_no_program_of_a_check_outlives_its_prober(ends):
    check = replace(CHECK, question=Script(LINGERING), interval=60.0, timeout=60.0)
    with spawned(look=0.3) as link:
        link.ask([Target(at("127.0.0.1:80"), check)])
        until(link, lambda _: link.load)
        programs = started_by(child_of(link.spawner))
        ends(link)
        gone = holds(lambda: not any(map(running, programs)))

    assert gone


def test_no_program_of_a_check_outlives_a_prober_that_fails():
    check = replace(CHECK, question=Script(LINGERING), interval=60.0, timeout=60.0)
    with spawned() as link:
        target = Target(at("127.0.0.1:80"), check)
        link.ask([target])
        until(link, lambda _: link.load)
        programs = started_by(child_of(link.spawner))
        link.ask([target, Target(at("127.0.0.1:1"), Check(interval=0.0))])  # as no file allows
        gone = holds(lambda: not any(map(running, programs)))

    assert gone


def test_no_program_of_a_check_outlives_a_director_that_is_killed():
    reading, writing = os.pipe()
    director = os.fork()
    if director == 0:
        link = spawn()
        check = replace(CHECK, question=Script(LINGERING), interval=60.0, timeout=60.0)
        link.ask([Target(at("127.0.0.1:80"), check)])
        until(link, lambda _: link.load)
        programs = started_by(child_of(link.spawner))
        os.write(writing, struct.pack("=3i", *programs))
        signal.pause()
    programs = struct.unpack("=3i", os.read(reading, 12))
    os.kill(director, signal.SIGKILL)
    os.waitpid(director, 0)

    assert holds(lambda: not any(map(running, programs)))
    os.close(reading)
    os.close(writing)


def test_what_a_program_leaves_running_is_buried_when_it_ends():
    leaving = ("/bin/sh", "-c", "setsid sleep 0.2 & :")
    check = replace(CHECK, question=Script(leaving), interval=60.0, timeout=60.0)
    with spawned(look=0.3) as link:
        link.ask([Target(at("127.0.0.1:80"), check)])
        until(link, lambda seen: any(isinstance(it, Probed) for it in seen))
        children = f"/proc/{link.spawner}/task/{link.spawner}/children"
        seen_both = holds(lambda: len(words_of(children)) == 2)
        buried = holds(lambda: len(words_of(children)) == 1)

    assert (seen_both, buried) == (True, True)


def test_signals_for_the_director_do_not_end_its_prober(link, well):
    link.ask([well])
    until(link, bool)
    child = child_of(link.spawner)
    for pid in (link.spawner, child):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(pid, number)
    link.ask([])
    link.ask([well])
    until(link, bool)

    assert child_of(link.spawner) == child


@pytest.mark.kernel  # where we are root: nobody else may look into a prober
def test_a_prober_holds_nothing_that_was_the_directors(well, tmp_path):
    secret = os.open(tmp_path / "secret", os.O_CREAT)
    with spawned() as link:
        link.ask([well])
        until(link, bool)
        child = child_of(link.spawner)
        family = (link.spawner, child)
        held = {os.readlink(it) for pid in family for it in Path(f"/proc/{pid}/fd").iterdir()}
        status = Path(f"/proc/{child}/status").read_text()
    os.close(secret)

    assert os.path.realpath(tmp_path / "secret") not in held
    assert "CapEff:\t0000000000000000" in status
    assert "CapPrm:\t0000000000000000" in status


@pytest.mark.kernel  # where raw sockets may be opened
def test_raw_sockets_that_were_opened_before_serve_a_prober_that_may_open_none():
    with serving() as (server, target), spawned() as link:
        server.setblocking(False)
        link.ask([Target(target.endpoint, replace(CHECK, question=Syn()))])
        seen = until(link, lambda seen: len(seen) >= 2)
        status = Path(f"/proc/{child_of(link.spawner)}/status").read_text()
        with pytest.raises(BlockingIOError):
            server.accept()

    assert {event.verdict.outcome for event in seen} == {Outcome.PASS}
    assert "CapPrm:\t0000000000000000" in status


def test_what_a_director_has_no_time_to_read_is_told_later_and_the_latest_of_it():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link = Link(ours, 2**22 + 1)  # above the highest pid: nobody's child
    with theirs, open(os.devnull, "wb") as beat:
        asking = prober.Prober(theirs, beat.fileno())
        asking.greet()
        link.events()
        while asking.say(wire.pack_load(wire.Load(1, 1, 1, 1, 1.0))):
            pass
        with serving("0.0.0.0") as (_, everywhere):
            port = everywhere.endpoint.port
            targets = [Target(at(f"127.1.0.{n}:{port}"), CHECK) for n in range(1, 200)]
            link.ask(targets)
            while not asking.blocked:
                asking.turn()
            turn(asking, 0.5)
        turn(asking, 0.5)
        latest = {}
        deadline = time.monotonic() + 10
        while latest != dict.fromkeys(targets, Outcome.REFUSED) and time.monotonic() < deadline:
            latest.update((event.target, event.verdict.outcome) for event in link.events())
            asking.turn()
    link.close()

    assert latest == dict.fromkeys(targets, Outcome.REFUSED)


def test_a_prober_that_greets_while_the_line_is_full_is_told_whom_to_ask(well):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link = Link(ours, 2**22 + 1)  # above the highest pid: nobody's child
    with theirs, open(os.devnull, "wb") as beat:
        former = prober.Prober(theirs, beat.fileno())
        former.greet()
        link.ask([well])
        seen = list(link.events())
        while not outcomes(seen, well):
            former.turn()
            seen += link.events()
        while former.say(wire.pack_load(wire.Load(1, 1, 1, 1, 1.0))):
            pass  # the director stands still, and meanwhile this one ends
        newcomer = prober.Prober(theirs, beat.fileno())
        newcomer.greet()
        asked = told_by(newcomer, link, 5.0)
    link.close()

    assert Outcome.PASS in outcomes(asked, well)


def told_by(asking, link, seconds):
    """Return the events until verdicts come, with both ends of the line at work again."""
    seen = []
    deadline = time.monotonic() + seconds
    while not any(isinstance(event, Probed) for event in seen) and time.monotonic() < deadline:
        while select.select([link], [], [], 0)[0]:
            seen += link.events()
        asking.turn()
    return seen


def turn(asking, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        asking.turn()
