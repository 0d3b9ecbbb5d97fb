"""Check scripts as they are run: what they are told, what they may do, and what ends them."""

import gc
import os
import resource
import subprocess
import time
from pathlib import Path

import pytest

from lvs_nat.checks import programs, script
from lvs_nat.checks.kind import LINE, Answer
from lvs_nat.checks.programs import Programs, no_pidfd
from lvs_nat.core.health import Outcome, Weight
from lvs_nat.core.questions import Script, Style
from lvs_nat.core.setup import Check, Target
from tests.builders import at
from tests.checks.asking import LATE, ask

RS = at("192.0.2.10:8080")
OURS = frozenset({0, os.getuid()})


@pytest.fixture(params=["pidfd", "ticks"])
def watched(request):
    return Programs(OURS) if request.param == "pidfd" else Programs(OURS, no_pidfd)


@pytest.fixture
def folder(tmp_path):
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.fixture
def run(folder):
    """Return what runs the lines of a shell script once, as a check."""

    def run(*lines, seconds=5.0, endpoint=RS, by=None, **question):
        program = written(folder / "check", "#!/bin/sh", *lines)
        arguments = question.pop("arguments", ())
        asked = Script((str(program), *arguments), **question)
        return ask(asked, endpoint, seconds, kind=script.kind(programs=by or Programs(OURS)))

    return run


def written(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o755)
    return path


def holds(condition, seconds=5.0):
    """Say whether *condition* comes true within *seconds*."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def gone(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # before it is opened, or as it is read
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize(
    "style, status, outcome, words, weight",
    [
        (Style.PLAIN, 0, Outcome.PASS, "said", None),
        (Style.PLAIN, 1, Outcome.FAIL, "status 1: said", None),
        (Style.PLAIN, 255, Outcome.FAIL, "status 255: said", None),
        (Style.NAGIOS, 0, Outcome.PASS, "said", None),
        (Style.NAGIOS, 1, Outcome.PASS, "status 1: said", None),
        (Style.NAGIOS, 2, Outcome.FAIL, "status 2: said", None),
        (Style.NAGIOS, 3, Outcome.UNKNOWN, "status 3: said", None),
        (Style.NAGIOS, 127, Outcome.FAIL, "status 127: said", None),
        (Style.KEEPALIVED, 0, Outcome.PASS, "said", None),
        (Style.KEEPALIVED, 1, Outcome.FAIL, "status 1: said", None),
        (Style.KEEPALIVED, 2, Outcome.PASS, "said", Weight(0, share=False)),
        (Style.KEEPALIVED, 3, Outcome.PASS, "said", Weight(1, share=False)),
        (Style.KEEPALIVED, 255, Outcome.PASS, "said", Weight(253, share=False)),
        (Style.LDIRECTORD, 0, Outcome.PASS, "said", None),
        (Style.LDIRECTORD, 7, Outcome.FAIL, "status 7: said", None),
    ],
)
def test_what_an_exit_status_means(run, style, status, outcome, words, weight):
    assert run("echo said", f"exit {status}", style=style) == (outcome, words, weight)


@pytest.mark.parametrize(
    "lines, words",
    [
        (["true"], "status 0"),
        (["echo", "echo '  second line  '; echo third"], "second line"),
        (["echo on stderr >&2"], "on stderr"),
        (["echo reopened >/dev/stderr"], "reopened"),
        (["printf 'no end of line'"], "no end of line"),
        ([r"printf 'a\033[31m\0red\r\n'"], "a?[31m?red"),
        ([r"printf '\377\376bytes'"], "��bytes"),
        (["printf %0300d 7"], "0" * LINE),
    ],
)
def test_the_first_line_becomes_the_words(run, lines, words):
    assert run(*lines) == (Outcome.PASS, words, None)


def test_figures_for_a_monitor_are_left_out(run):
    answer = run("echo 'HTTP OK - 0.1 s | time=0.1s;1;2'", style=Style.NAGIOS)
    assert answer.words == "HTTP OK - 0.1 s"


ARGUMENTS = ("-H", "%h", "%p", "%v:%V", "100%%", "%x", "$(id); echo", "`id`", "a b", "*")


def test_arguments_are_filled_in_and_never_seen_by_a_shell(run):
    answer = run("""printf '<%s>' "$@" """, arguments=ARGUMENTS, virtual=("198.51.100.1", "80"))
    assert answer.words == (
        "<-H><192.0.2.10><8080><198.51.100.1:80><100%><%x><$(id); echo><`id`><a b><*>"
    )


@pytest.mark.parametrize(
    "virtual, endpoint, words",
    [
        (("198.51.100.1", "80"), RS, "<-c><198.51.100.1><80><192.0.2.10><8080>"),
        (("7", ""), RS, "<-c><7><><192.0.2.10><8080>"),
        (("2001:db8::1", "80"), at("[2001:db8::2]:81"), "<-c><2001:db8::1><80><2001:db8::2><81>"),
    ],
)
def test_ldirectords_scripts_get_the_arguments_they_know(run, virtual, endpoint, words):
    asked = {"arguments": ("-c",), "virtual": virtual, "style": Style.LDIRECTORD}
    assert run("""printf '<%s>' "$@" """, endpoint=endpoint, **asked).words == words


@pytest.mark.parametrize(
    "virtual, names",
    [
        (("198.51.100.1", "80"), "VIRTUAL_ADDRESS=198.51.100.1 VIRTUAL_PORT=80"),
        (("7", ""), "MARK=7"),
    ],
)
def test_the_environment_is_small_and_fixed(folder, monkeypatch, virtual, names):
    monkeypatch.setenv("LD_PRELOAD", "")
    question = Script((os.path.realpath("/usr/bin/env"), "-0"), virtual=virtual)
    answer = ask(question, RS, 5.0, kind=script.kind(programs=Programs(OURS)))
    told = [f"LVS_NAT_{name}" for name in names.split()]
    told += ["LVS_NAT_ADDRESS=192.0.2.10", "LVS_NAT_PORT=8080", "LVS_NAT_TIMEOUT=5"]

    words = "?".join([f"PATH={programs.PATH}", "LC_ALL=C", *told, ""])
    assert sorted(answer.words.split("?")) == sorted(words[:LINE].split("?"))


def test_nothing_of_the_prober_is_inherited(run, folder):
    with open(os.devnull) as ours:
        fd = str(ours.fileno())
        listing = ask(
            Script((os.path.realpath("/bin/ls"), "-m", "/proc/self/fd")),
            RS, kind=script.kind(programs=Programs(OURS)),
        ).words.split(", ")  # fmt: skip
    answer = run(
        "set -- $(cat /proc/$$/stat); [ $6 = $$ ] && own=session",
        'echo "$own;$(readlink /proc/$$/fd/0)'
        '$(sed -n "s/^SigIgn:.//p; s/^SigBlk:.//p" /proc/$$/status | sed "s/^/;/" | tr -d "\\n")"',
    )
    session, stdin, blocked, ignored = answer.words.split(";")

    assert fd not in listing[:-1]  # the last is the folder that is listed
    assert {"0", "1", "2"} <= set(listing)
    assert (session, stdin) == ("session", "/dev/null")
    assert int(blocked, 16) == 0
    assert int(ignored, 16) & ~sum(1 << number - 1 for number in (32, 33)) == 0  # glibc's own


def test_limits_are_the_programs_not_the_probers(run):
    before = [resource.getrlimit(limit) for limit, _ in programs.LIMITS]
    answer = run('echo "$(ulimit -n) $(ulimit -c) $(ulimit -f)"')

    assert answer.words == "1024 0 524288"
    assert [resource.getrlimit(limit) for limit, _ in programs.LIMITS] == before


def test_a_program_that_ignores_the_end_is_ended_at_its_deadline(run, watched, folder):
    """The best of some tries: a busy machine may be late by itself."""
    late = []
    (folder / "pid").write_text("")
    while not late or (min(late) >= 0.1 and len(late) < 10):
        began = time.monotonic()
        lines = (f"trap '' TERM HUP INT; echo $$ >{folder}/pid; sleep 60",)
        assert run(*lines, seconds=0.3, by=watched) == (Outcome.SILENT, LATE, None)
        late.append(time.monotonic() - began - 0.3)
        if (folder / "pid").read_text():  # it came so far
            assert holds(lambda: gone(int((folder / "pid").read_text())))
        assert buried(watched)

    assert (folder / "pid").read_text()

    assert min(late) < 0.1


def test_a_grandchild_that_holds_the_output_delays_nothing_and_is_ended_too(run, watched, folder):
    began = time.monotonic()
    answer = run("sleep 60 &", f"echo $! >{folder}/pid; echo well", by=watched)

    assert answer == (Outcome.PASS, "well", None)
    assert time.monotonic() - began < 30
    assert holds(lambda: gone(int((folder / "pid").read_text())))
    assert buried(watched)


def test_who_writes_without_end_is_not_believed(run, watched, folder):
    answer = run("yes", by=watched)
    assert answer == (Outcome.UNKNOWN, f"{folder}/check writes without end", None)


def test_much_output_that_ends_is_read_to_its_end(run):
    assert run("echo first; head -c 900000 /dev/zero") == (Outcome.PASS, "first", None)


def test_a_program_that_closes_its_output_keeps_nobody_awake(run, folder):
    turns = []

    def proceed(asking, events):
        turns.append(events)
        return programs.Running.proceed(asking, events)

    quiet = written(folder / "quiet", "#!/bin/sh", "exec >&- 2>&-; sleep 0.3")
    counted = script.kind(programs=Programs(OURS))._replace(proceed=proceed)

    assert ask(Script((str(quiet),)), RS, kind=counted) == (Outcome.PASS, "status 0", None)
    assert len(turns) <= 3


def test_a_program_that_dies_of_a_signal_says_nothing_of_the_server(run, watched, folder):
    answer = run("kill -SEGV $$", by=watched)
    assert answer == (Outcome.UNKNOWN, f"{folder}/check was ended by signal 11", None)


@pytest.mark.parametrize(
    "text, words",
    [
        ("#!/no/such/interpreter", "cannot be run: no such file or directory"),
        ("no program", "cannot be run: exec format error"),
    ],
)
def test_a_program_that_cannot_be_run_is_our_own_fault(folder, text, words):
    program = written(folder / "check", text)
    answer = ask(Script((str(program),)), RS, kind=script.kind(programs=Programs(OURS)))

    assert answer == (Outcome.UNKNOWN, f"{program} {words}", None)


def test_a_program_that_comes_back_is_asked_again(folder):
    kind = script.kind(programs=Programs(OURS))
    path = folder / "check"
    question = Script((str(path),))
    missing = Answer(Outcome.UNKNOWN, f"{path}: no such file or directory")
    well = Answer(Outcome.PASS, "status 0")

    assert ask(question, RS, kind=kind) == missing
    written(path, "#!/bin/sh")
    assert ask(question, RS, kind=kind) == well
    path.unlink()
    assert ask(question, RS, kind=kind) == missing


def test_want_of_descriptors_is_our_own_fault():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    gc.collect()  # what other tests have left must not give any back meanwhile
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        answer = ask(Script(("/bin/true",)), RS, kind=script.kind(programs=Programs(OURS)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    words = "this director could not ask: too many open files"
    assert answer == (Outcome.UNKNOWN, words, None)


def test_programs_that_will_not_die_are_not_piled_up():
    running = Programs(OURS)
    plan = script.prepare(Target(RS, Check(Script((os.path.realpath("/bin/true"),)))))
    # Not the leaders of a group, so that the signal does not find them.
    children = [subprocess.Popen(["sleep", "60"]) for _ in range(programs.STUCK)]
    try:
        for child in children:
            running.kill(child.pid, plan)
        answer = script.Scripts(running).start(plan)
        assert answer.outcome is Outcome.UNKNOWN
        assert answer.words.endswith(": 3 were killed and have not ended yet")
    finally:
        for child in children:
            child.kill()
            child.wait()


def test_two_hundred_at_once_are_all_ended(folder):
    program = str(written(folder / "check", "#!/bin/sh", "exec sleep 60"))
    running = Programs(OURS)
    scripts = script.Scripts(running)
    plan = script.prepare(Target(RS, Check(Script((program,)))))
    for one in [scripts.start(plan) for _ in range(200)]:
        one.close()

    assert buried(running)


def test_one_whose_end_somebody_else_has_seen_is_buried_too():
    by = Programs(OURS)
    child = os.posix_spawn("/bin/true", ["true"], {}, setsid=True)
    os.waitpid(child, 0)
    by.kill(child, who=RS)

    assert by.dying == {}


def buried(by):
    """Say whether all that *by* has killed come to their graves."""
    return holds(lambda: by.bury() or not by.dying)
