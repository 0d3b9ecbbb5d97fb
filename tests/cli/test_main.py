"""Commands as they are typed: exit code, standard output and standard error, whole."""

import io
import os
import signal
import subprocess
import sys

import pytest

from lvs_nat.cli.machine import Machine
from lvs_nat.cli.main import main
from lvs_nat.system.pidfile import PidFile

TUTORIAL = """\
-A -t 172.25.0.10:80 -s rr
-a -t 172.25.0.10:80 -r 192.168.122.10:80 -m -w 5
-a -t 172.25.0.10:80 -r 192.168.122.20:80 -m -w 10
"""


@pytest.fixture
def say(tmp_path):
    """Type a command on a machine whose files lie in a folder of the test's own."""
    places = []
    for option, name in (
        ("--rules", "ipvsadm"),
        ("--config", "lvs-nat.conf"),
        ("--run-dir", "run"),
        ("--state-dir", "state"),
    ):
        places += [option, str(tmp_path / name)]
    (tmp_path / "ipvsadm").write_text(TUTORIAL)
    (tmp_path / "lvs-nat.conf").write_text("")
    (tmp_path / "run").mkdir()

    def type_in(command, *words, uid=0):
        out, err = io.StringIO(), io.StringIO()
        code = main([command, *words, *places], Machine(out, err, uid))
        return code, out.getvalue(), err.getvalue()

    type_in.folder = tmp_path
    return type_in


@pytest.mark.parametrize(
    "action", ["start", "stop", "restart", "try-restart", "reexec", "save", "run"]
)
def test_only_root_may_act(say, action):
    code, out, err = say(action, uid=1000)
    verb = {"try-restart": "restart"}.get(action, action)

    assert (code, out, err) == (4, "", f"lvs-nat: only root may {verb} lvs-nat\n")


@pytest.mark.parametrize("uid", [0, 1000])
def test_whether_somebody_may_reload_is_for_the_director_to_say(say, uid):
    assert say("reload", uid=uid) == (7, "", "lvs-nat: lvs-nat is not running\n")


@pytest.mark.parametrize("uid", [0, 1000])
def test_anybody_may_ask_whether_it_runs_and_test_the_files(say, uid):
    assert say("status", uid=uid) == (3, "lvs-nat is stopped\n", "")
    assert say("configtest", uid=uid)[0] == 0


def test_a_director_that_crashed_is_dead_with_a_pid_file(say):
    (say.folder / "run" / "lvs-nat.pid").write_text("12345")

    assert say("status")[0] == 1


LOCKED = 2, "lvs-nat is dead but subsys locked\n", ""
STOPPED = 3, "lvs-nat is stopped\n", ""


@pytest.mark.parametrize("way, said", [("its own", LOCKED), ("a link", STOPPED)])
def test_the_init_scripts_lock_tells_of_a_crash_where_nobody_else_can_have_put_it(say, way, said):
    run = say.folder / "run"
    (run / "subsys").touch()
    if way == "a link":
        run = run.rename(say.folder / "elsewhere")
        (say.folder / "run").symlink_to(run)

    assert say("status") == said


def test_a_director_that_runs_but_cannot_be_asked_is_of_unknown_state(say):
    with PidFile(say.folder / "run" / "lvs-nat.pid"):
        assert say("status") == (
            4,
            "",
            "lvs-nat: a director starts, ends or hangs: "
            f"nobody listens at {say.folder}/run/control\n",
        )


def test_a_stopped_director_is_said_in_json_too(say):
    assert say("status", "--json") == (
        3,
        '{"running": false, "words": "lvs-nat is stopped"}\n',
        "",
    )


@pytest.mark.parametrize("action", ["reload", "force-reload", "save"])
def test_what_needs_a_running_director_says_so_with_7(say, action):
    assert say(action) == (7, "", "lvs-nat: lvs-nat is not running\n")


@pytest.mark.parametrize("action", ["stop", "try-restart"])
def test_what_is_done_already_is_no_error(say, action):
    assert say(action)[0] == 0


def test_configtest_tells_what_it_found(say):
    assert say("configtest") == (
        0,
        f"{say.folder}/ipvsadm: 1 virtual service, 2 real servers: OK\n",
        "",
    )


def test_all_problems_of_all_files_are_told_at_once(say):
    (say.folder / "ipvsadm").write_text("-A -t 10.0.0.1:80 -s rrr\n-a -t 10.0.0.1:80 -w 5\n")
    (say.folder / "lvs-nat.conf").write_text("intervall = 2\n")
    code, out, err = say("configtest")

    assert (code, out) == (6, "")
    assert f"{say.folder}/lvs-nat.conf:1: " in err
    assert f"{say.folder}/ipvsadm:1: " in err
    assert f"{say.folder}/ipvsadm:2: " in err


def test_a_configuration_file_that_was_named_must_be_there(say):
    (say.folder / "lvs-nat.conf").unlink()
    code, _, err = say("configtest")

    assert code == 6
    assert "lvs-nat.conf" in err


def test_a_setting_for_a_service_that_no_rule_has_is_a_warning_with_its_line(say):
    (say.folder / "lvs-nat.conf").write_text("[services]\n[[tcp 10.0.0.9:80]]\nfall = 3\n")
    code, _, err = say("configtest")

    assert code == 0
    assert f"lvs-nat: warning: {say.folder}/lvs-nat.conf:2: " in err


def test_rules_spells_the_table_that_a_file_means(say):
    (say.folder / "ipvsadm").write_text(
        TUTORIAL + "ipvsadm --edit-service -t 172.25.0.10:80 --scheduler=wrr  # as the tutorial\n"
    )

    assert say("rules") == (0, TUTORIAL.replace("-s rr", "-s wrr"), "")
    assert say("rules", str(say.folder / "ipvsadm"))[0] == 0


COMMAND = [sys.executable, "-m", "lvs_nat.cli.main"]


@pytest.mark.parametrize(
    "given, code, out, err",
    [
        (TUTORIAL.encode(), 0, TUTORIAL, ""),
        (b"", 0, "", ""),
        (b"-A -t 10.0.0.1:80\xff\n", 6, "", "standard input:1: there is a byte that is not UTF-8"),
        (b"#" * (2**24 + 1), 6, "", "standard input: is larger than 16 MiB"),
    ],
    ids=("tutorial", "nothing", "bytes", "endless"),
)
def test_rules_reads_standard_input_like_a_file(given, code, out, err):
    done = subprocess.run([*COMMAND, "rules", "-"], input=given, capture_output=True)

    assert (done.returncode, done.stdout.decode()) == (code, out)
    assert done.stderr.decode().startswith(f"lvs-nat: {err}" if err else "")
    assert done.stderr.count(b"\n") == bool(err)


def test_a_reader_that_has_seen_enough_gets_no_complaint():
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as pipe:
        done = subprocess.run(
            [*COMMAND, "rules", "-"], input=TUTORIAL.encode(), stdout=pipe, stderr=subprocess.PIPE
        )

    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize(
    "words, told",
    [([], "COMMAND"), (["frobnicate"], "frobnicate"), (["status", "--josn"], "--josn")],
)
def test_a_command_line_that_is_none_of_ours_is_an_error_of_2(words, told):
    err = io.StringIO()

    assert main(words, Machine(io.StringIO(), err, 0)) == 2
    assert told in err.getvalue()
    assert "usage:" in err.getvalue()


AFTER = ": options stand after the command"


@pytest.mark.parametrize(
    "words, said, usage",
    [
        ("sttus", "there is no command sttus: did you mean status?", "lvs-nat ["),
        ("undrain 10.0.0.1:80", "there is no command undrain: did you mean enable?", "lvs-nat ["),
        ("undisable", "there is no command undisable: did you mean enable?", "lvs-nat ["),
        (
            "frobnicate",
            "there is no command frobnicate: lvs-nat --help has them all",
            "lvs-nat [",
        ),
        (
            "--vresion status",
            "lvs-nat has no option --vresion: did you mean --version?",
            "lvs-nat [",
        ),
        ("--frobnicate status", "lvs-nat has no option --frobnicate" + AFTER, "lvs-nat ["),
        ("--bogus", "lvs-nat has no option --bogus" + AFTER, "lvs-nat ["),
        ("--rules F rules", "lvs-nat has no option --rules" + AFTER, "lvs-nat ["),
        ("--rules=F rules", "lvs-nat has no option --rules=F" + AFTER, "lvs-nat ["),
        ("--version=2", "lvs-nat has no option --version=2: did you mean --version?", "lvs-nat ["),
        ("--json status", "lvs-nat has no option --json" + AFTER, "lvs-nat ["),
        ("-n rules", "lvs-nat has no option -n" + AFTER, "lvs-nat ["),
        ("-- status", "lvs-nat has no option --" + AFTER, "lvs-nat ["),
        ("status --josn", "has no option --josn: did you mean --json?", "lvs-nat status ["),
        (
            "drain --timeot 5 a:80",
            "has no option --timeot: did you mean --timeout?",
            "lvs-nat drain [",
        ),
        ("stop --force", "lvs-nat stop has no option --force", "lvs-nat stop ["),
        ("stop now", "lvs-nat stop has no use for now", "lvs-nat stop ["),
    ],
)
def test_what_may_be_meant_is_said_and_how_that_command_is_used(words, said, usage):
    err = io.StringIO()

    assert main(words.split(), Machine(io.StringIO(), err, 0)) == 2
    lines = err.getvalue().splitlines()
    assert lines[0].endswith(said)
    assert lines[1].startswith(f"usage: {usage}")


def test_a_diff_is_said_to_be_one_of_rules_as_it_knows_nothing_of_settings(capsys):
    with pytest.raises(SystemExit):
        main(["diff", "--help"])

    what = "show what save would write, and what reload would do to the rules"
    assert what in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", ["start", "status", "rules", "stop"])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])

    assert ended.value.code == 0
    assert "--rules FILE" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["status", "reload", "start"])
def test_a_short_command_loads_nothing_for_a_help_that_nobody_asked_for(word):
    script = f"import sys; from lvs_nat.cli.main import _parser; _parser(['{word}']); "
    script += "print(sorted({'shutil', 'lzma', 'configobj', 'pyroute2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("word", ["status", "reload", "drain"])
def test_what_is_only_asked_or_told_of_a_director_is_typed_without_loading_how_it_decides(word):
    script = f"import sys; from lvs_nat.cli.main import _parser; _parser(['{word}']); "
    script += (
        "print(sorted({'inspect', 'lvs_nat.model', 'lvs_nat.core.health'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    "columns, first", [("40", "usage: lvs-nat [-h] [--version]"), ("", "usage:")]
)
def test_help_is_as_wide_as_it_is_told(columns, first):
    done = subprocess.run(
        [sys.executable, "-m", "lvs_nat.cli.main", "--help"],
        capture_output=True, text=True, env={**os.environ, "COLUMNS": columns},
    )  # fmt: skip

    assert done.stdout.startswith("usage: lvs-nat [-h] [--version]")
    assert max(map(len, done.stdout.splitlines())) <= int(columns or "80")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("rules - <&-", 0),
        ("rules - <&- >&-", 0),
        ("rules - <&- >&- 2>&-", 0),
        ("rules /nowhere >&-", 6),
        ("rules /nowhere 2>&-", 6),
    ],
)
def test_a_command_needs_none_of_its_streams(words, code):
    done = subprocess.run(
        ["sh", "-c", f'"$@" {words}', "sh", *COMMAND], capture_output=True, text=True
    )

    assert (done.returncode, "Traceback" in done.stderr) == (code, False)


def test_what_the_terminal_cannot_spell_is_escaped(tmp_path):
    (tmp_path / "规则").write_text(TUTORIAL)
    done = subprocess.run(
        [*COMMAND, "configtest", "--rules", tmp_path / "规则", "--config", os.devnull],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        text=True,
    )

    assert done.stdout == f"{tmp_path}/\\u89c4\\u5219: 1 virtual service, 2 real servers: OK\n"
