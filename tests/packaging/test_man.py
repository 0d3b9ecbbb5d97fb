"""The manual and the completion say what the program does, all of it and nothing else."""

import io
import re
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from lvs_nat import errors
from lvs_nat.cli import main
from lvs_nat.cli.machine import Machine
from lvs_nat.core import commands, config, rows, rules, settings
from lvs_nat.core.cluster import Cluster
from lvs_nat.core.health import State
from lvs_nat.core.questions import Connect, Dns, Http, Ping, Script, Tls, Udp
from lvs_nat.core.report import Pulse, report
from lvs_nat.core.setup import Setup
from lvs_nat.core.spelling import spell
from lvs_nat.core.sysctls import spell as spell_sysctl
from lvs_nat.core.sysctls import wanted
from lvs_nat.daemon.paths import Paths
from lvs_nat.errors import ConfigError, LvsNatError
from lvs_nat.model import WEIGHT_MAX, Ruleset, Service
from tests.builders import WEB

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "packaging/man").iterdir())
PROGRAM, CONF, RULES = (
    (ROOT / "packaging/man" / name).read_text()
    for name in ("lvs-nat.8", "lvs-nat.conf.5", "lvs-nat-rules.5")
)
BASH, ZSH = ROOT / "packaging/lvs-nat.bash", ROOT / "packaging/_lvs-nat"
MACROS = {"Ar", "Cm", "Fl", "Li", "No", "Ns", "Op", "Oo", "Oc"}


def section(page, title):
    """Return what stands below a title, .Sh or .Ss."""
    body = rf"^\.(S[hs]) {re.escape(title)}$\n(.*?)(?=^\.Sh|^\.\1|\Z)"
    found = re.search(body, page, re.M | re.S)
    return found[2]


def examples(page):
    return re.findall(r"^\.Bd -literal[^\n]*\n(.*?\n)\.Ed", page, re.M | re.S)


def flags(text):
    """Return the options that the macro Fl names: it puts a dash before each word."""
    found, flag = set(), False
    for line in text.splitlines():
        for word in line.lstrip(".").split() if line.startswith(".") else ():
            if word in MACROS:
                flag = word == "Fl"
            elif flag and word not in (",", ".", ";", ":"):
                found.add(f"-{word}")
        flag = False
    return found


def options_of(words, capsys):
    """Return the options that the program itself tells of."""
    with pytest.raises(SystemExit):
        main.main([*words, "--help"])
    heads = re.findall(r"^  (-\S.*?)(?:  .*)?$", capsys.readouterr().out, re.M)
    return {word for head in heads for word in re.findall(r"-[-\w]+", head)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.parametrize("words", ["mandoc -T lint -W warning", "groff -mdoc -T utf8 -ww -z"])
def test_a_page_has_no_fault_that_a_formatter_would_remark(judge, words, page):
    assert judge(*words.split(), page) == (0, "", "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_option_stands_inside_the_brackets_of_another(page):
    depth = {"Oo": 1, "Oc": -1}
    for line in page.read_text().splitlines():
        words = re.findall(r"\bO[opc]\b", line) if line.startswith(".") else []
        deep = 0
        for word in words:
            deep += depth.get(word, 0)
            assert deep in (0, 1), line
        # Op has all that follows on its line between its brackets.
        assert "Op" not in words[:-1], line


@pytest.mark.parametrize("command", main.COMMANDS)
def test_every_command_and_its_options_are_in_the_manual(command, capsys):
    heads = dict(re.findall(r"^\.It Cm (\S+)(.*)$", section(PROGRAM, "COMMANDS"), re.M))
    common = flags("\n".join(re.findall(r"^\.It Fl.*", section(PROGRAM, "OPTIONS"), re.M)))

    assert set(heads) == set(main.COMMANDS)
    assert options_of([command], capsys) == (common - {"--version"}) | flags(f".{heads[command]}")


ROOTS = ["start", "stop", "restart", "try-restart", "reexec", "save", "run"]
OPERATORS = ["reload", "force-reload", "diff", "drain", "disable", "enable", "weight"]
ANYBODYS = {"status", "configtest", "rules", "demo"}


def test_who_may_type_a_command_is_in_the_manual_twice_and_the_same():
    def listed(*commands):
        return f".Cm {' , '.join(commands[:-1])}\nand\n.Cm {commands[-1]}\n"

    told = listed(*ROOTS) + "are for root;\n"
    told += listed(*OPERATORS) + "are for the members of the group\n.Li lvs-admin\ntoo;"
    again = listed("reload", *OPERATORS[2:]) + "by root and the members of the group\n"

    assert told in one_line_a_list(section(PROGRAM, "COMMANDS"))
    assert again in one_line_a_list(section(PROGRAM, "Processes and privileges"))
    assert {*ROOTS, *OPERATORS, *ANYBODYS} == set(main.COMMANDS)


def one_line_a_list(text):
    return re.sub(r" ,\n\.Cm ", " , ", text)


@pytest.mark.parametrize("command", [*ROOTS, *OPERATORS, "status", "configtest", "rules"])
def test_no_more_commands_than_the_manual_says_are_refused_to_whoever_is_not_root(
    command, tmp_path
):
    server = ["1.2.3.4:80"]
    more = {"drain": server, "disable": server, "enable": server, "weight": [*server, "5"]}
    words = [command, *more.get(command, ()), "--run-dir", str(tmp_path)]
    code = main.main(words, Machine(io.StringIO(), io.StringIO(), 1000))

    assert (code == 4) is (command in ROOTS)


def test_options_without_a_command_are_in_the_manual(capsys):
    assert options_of([], capsys) <= flags(section(PROGRAM, "OPTIONS"))


def test_every_exit_code_is_in_the_manual_with_the_commands_that_give_it():
    text = section(PROGRAM, "EXIT STATUS")
    known = {int(code) for code in re.findall(r"^\.It (\d+)$", text.split(".It Cm")[0], re.M)}
    listed = dict(re.findall(r"^\.It Cm (\S+) No ([\d ]+)$", text, re.M))
    classes = [one for one in vars(errors).values() if isinstance(one, type)]

    assert {one.exit_code for one in classes if issubclass(one, LvsNatError)} <= known
    assert set(listed) == set(main.COMMANDS)
    del listed["status"]  # has numbers of its own
    assert {int(code) for codes in listed.values() for code in codes.split()} <= known


@pytest.mark.parametrize(
    "command, uid, ruleset, code",
    [
        ("start", 1, "-A -t 10.0.0.1:80 -s rr\n", 4),
        ("stop", 0, "", 0),
        ("restart", 0, "-A\n", 6),
        ("try-restart", 0, "", 0),
        ("reload", 0, "", 7),
        ("force-reload", 0, "", 7),
        ("status", 1, "", 3),
        ("save", 0, "", 7),
        ("configtest", 1, "", 6),
        ("configtest", 1, "-A -t 10.0.0.1:80 -s rr\n", 0),
        ("rules", 1, "-A\n", 6),
        ("rules", 1, "", 0),
        ("run", 1, "", 4),
    ],
)
def test_what_a_command_exits_with_is_listed(command, uid, ruleset, code, tmp_path):
    (tmp_path / "rules").write_text(ruleset)
    words = [command, "--rules", str(tmp_path / "rules"), "--run-dir", str(tmp_path / "run")]
    listed = re.search(rf"^\.It Cm {command} No (.*)$", section(PROGRAM, "EXIT STATUS"), re.M)[1]

    assert main.main(words, Machine(io.StringIO(), io.StringIO(), uid)) == code
    assert str(code) in listed.split()


def test_every_file_is_in_the_manual_where_it_lies():
    where = Paths(Path("/etc/sysconfig/ipvsadm"))
    files = [where.rules, where.config, where.pid_file, where.socket, where.memory]
    files += [where.sysctls, where.timeouts, where.rescue, where.backup, where.wishes]
    files += [where.addresses]
    files += [where.pid_file.with_suffix(".lock"), where.subsys, Path("/etc/ipvsadm.rules")]
    listed = re.findall(r"^\.It Pa (.*)$", section(PROGRAM, "FILES"), re.M)
    listed = {Path(path) for line in listed for path in line.split(" , ")}

    assert listed == {*files, Path("/etc/sysconfig/lvs-nat")}
    for folder in (where.run_dir, where.state_dir):
        assert f".Pa {folder} ." in section(PROGRAM, "OPTIONS")


def test_every_kernel_setting_is_in_the_manual():
    listed = re.findall(r"^\.It Li (\S+) No = (\d)$", section(PROGRAM, "Kernel settings"), re.M)
    settings_ = {
        (spell_sysctl(name.replace("/default/", "/*/")), value)
        for name, value in wanted((), ipv6_nat=True).items()
        if not name.endswith("/all/send_redirects")
    }

    assert set(listed) == settings_


def test_every_state_of_a_real_server_is_in_the_manual():
    listed = re.findall(r"^\.It Em (\w+)$", section(PROGRAM, "How servers are judged"), re.M)

    assert listed == [*(state.value for state in State), "unchecked"]


def test_every_field_of_the_report_is_in_the_manual():
    listed = re.findall(r"^\.Va (.*)", section(PROGRAM, "The report for programs"), re.M)
    listed = {word for line in listed for word in re.findall(r"\w+", line)}

    def names(value):
        if isinstance(value, dict):
            return {*value, *(name for inner in value.values() for name in names(inner))}
        return set.union(set(), *map(names, value)) if isinstance(value, list) else set()

    found = names(report(Cluster.of(WEB, Setup(), {}), Ruleset(), {}, Pulse(), 0.0))
    around = {
        "running",
        "words",
        "pid",
        "since",
        "uptime",
        "version",
        "loaded",
        "rules",
        "unsaved",
        "problems",
        "refusals",
        "quarrels",
        "names",
        "writes",
    }
    assert listed == found | around


def test_the_manual_s_examples_name_commands_that_exist():
    used = re.findall(r"^lvs-nat (\S+)", "".join(examples(PROGRAM)), re.M)

    assert used
    assert set(used) <= set(main.COMMANDS)


def test_a_server_is_taken_out_by_what_a_reload_does_not_undo():
    (text,) = (it for it in examples(PROGRAM) if "192.168.122.10" in it)
    typed = text.splitlines()

    assert [line.split()[:2] for line in typed] == [["lvs-nat", "drain"], ["lvs-nat", "enable"]]
    for line in typed:
        _, command, *words = line.split()
        main._parser([command]).parse_args([command, *words])


def of_spec(keys):
    """Return each setting of the configspec with its type and the type's arguments."""
    found = [re.fullmatch(r"(\w+) = (\w+)\((.*?)(?:, )?default=None\)", key) for key in keys]
    return {one[1]: (one[2], one[3].split(", ")) for one in found}


def in_the_manual(text):
    item = r"^\.It Cm (\w+) No = (\w\w) (.*)\n((?:(?!\.It |\.El).*\n)*)"
    return {name: (kind, value, body) for name, kind, value, body in re.findall(item, text, re.M)}


@pytest.mark.parametrize(
    "title, keys",
    [
        ("Checks", set(settings.CHECK_KEYS) - set(settings.QUESTION_KEYS)),
        ("Questions", settings.QUESTION_KEYS),
        ("Failures", set(settings.SERVICE_KEYS) - set(settings.CHECK_KEYS)),
        ("The director", set(settings.DIRECTOR_KEYS) - set(settings.SERVICE_KEYS)),
    ],
)
def test_every_setting_is_in_the_manual_below_its_level_with_what_it_may_be(title, keys):
    spec, found = of_spec(keys), in_the_manual(section(CONF, title))

    assert set(found) == set(spec)
    for name, (kind, arguments) in spec.items():
        head, value, body = found[name]
        if kind == "choice":
            assert (head, sorted(value.split(" | "))) == ("Cm", sorted(arguments))
        elif kind == "switch":
            assert (head, value) == ("Cm", "yes | no")
        else:
            word, unit = WORDS.get(kind, (value, None))
            assert (head, value) == ("Ar", word) or kind == "origin"
            assert unit is None or f"({' to '.join(arguments)}{unit})" in body


# What a value is called, and what stands behind its limits.
WORDS = {
    "seconds": ("time", " seconds"),
    "count": ("count", ""),
    "words": ("words", None),
    "headers": ("words", None),
    "ranges": ("words", None),
    "talk": ("words", None),
    "octets": ("octets", None),
    "text": ("text", None),
    "token": ("word", None),
    "share": ("percentage", None),
    "endpoints": ("endpoints", None),
}
# Settings without a value that could be shown.
SILENT = {"down_interval", "port", "address", "interface"}


def test_every_setting_is_in_the_manual_with_its_default():
    setup = Setup()
    check = setup.default.checks[0]
    values = {**vars(setup), **vars(setup.default), **vars(check)}
    values.update({"check": check.kind, "from": check.origin})
    for made in map(vars, (Connect(), Http(), Tls(), Dns(), Udp(), Ping(), Script())):
        values.update({key: value for key, value in made.items() if key not in values})
    values.update({"status": "200-299", "query": "the", "over_tcp": False, "absent": "up"})
    written = {True: "yes", False: "no"}
    found = in_the_manual(section(CONF, "SETTINGS"))

    assert found
    for name, (_, _, body) in found.items():
        value = getattr(values.get(name), "value", values.get(name))
        value = written[value] if isinstance(value, bool) else value
        value = f"{value:g}" if isinstance(value, (int, float)) else value
        (told,) = re.findall(r"^Default:\s(?:\.Cm )?(\S+)", body, re.M)
        value = f"{value}%" if name == "keep_at_least" else value
        if value and isinstance(value, str) and name not in SILENT:
            assert told == value, name
        else:
            assert told.rstrip(";") in {"none", "any", "anything", "nothing", "all", "its", "that",
                                        "the", "no"}, name  # fmt: skip


def test_the_example_of_a_configuration_is_one():
    (text,) = examples(CONF)

    assert len(config.parse(text, "").services) == 2


def test_every_option_of_the_rule_language_is_in_the_manual():
    text = section(RULES, "COMMANDS") + section(RULES, "OPTIONS")

    assert flags(text) == set(commands.KNOWN)


def test_every_word_and_limit_of_the_rule_language_is_in_the_manual():
    text = section(RULES, "COMMANDS") + section(RULES, "OPTIONS")
    words = {*rows.SCHEDULERS, *rows.ENGINES, *rows.TUNNELS, *rows.FLAGS}
    words |= {name for names in rows.FLAG_NAMES.values() for name in names}
    limits = (rows.TIMEOUT_MAX, rows.THRESHOLD_MAX, WEIGHT_MAX, rows.DEFAULT_PERSISTENCE)

    assert words | set(map(str, limits)) <= set(re.findall(r"[\w-]+", text))
    assert f"Default:\n.Li {Service.scheduler} ." in text


@pytest.mark.parametrize("text", examples(RULES))
def test_an_example_of_rules_is_understood_without_a_warning(text):
    assert rules.parse(text, "").warnings == ()


class Names:
    """Names for the rules: every port name is 80."""

    def address(self, host, say):
        raise ValueError(host)

    def port(self, service, transport):
        return 80


def differing(title):
    return re.findall(r'^\.It Li "(.*)"$', section(RULES, title), re.M)


def parsed(rule):
    """Return what the rule means; real servers get their service."""
    service = "-A -t 10.0.0.1:80 -s rr\n" if rule.startswith("-a") else ""
    return rules.parse(f"{service}{rule}\n", "", Names()).ruleset


@pytest.mark.parametrize("rule", differing("Read here, refused by ipvsadm -R"))
def test_what_only_we_are_said_to_read_is_read(rule):
    parsed(rule)


@pytest.mark.parametrize("rule", differing("Kept here, lost by ipvsadm -S or -R"))
def test_what_is_said_to_be_kept_comes_back_as_it_was(rule):
    meant = parsed(rule)

    assert meant != Ruleset()
    assert parsed(spell(meant)) == meant


@pytest.mark.parametrize("rule", differing("Refused here, changed or skipped by ipvsadm -R"))
def test_what_is_said_to_be_refused_is_refused(rule):
    with pytest.raises(ConfigError):
        parsed(rule)


def completed(folder, *words):
    """Return what bash offers for the last of *words*, as it would split them."""
    script = (
        f'source {BASH}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));'
        ' $(complete -p lvs-nat | sed "s/.*-F \\([^ ]*\\).*/\\1/");'
        ' [ ${#COMPREPLY[@]} -eq 0 ] || printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", "lvs-nat", *words],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.stderr == ""
    return set(done.stdout.splitlines())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "my rules").touch()
    (tmp_path / "more").mkdir()
    return tmp_path


def test_bash_completes_commands(folder, capsys):
    assert completed(folder, "") == {*main.COMMANDS, "--help", "--version"}
    assert completed(folder, "re") == {"restart", "reload", "reexec"}


@pytest.mark.parametrize("command", main.COMMANDS)
def test_bash_completes_the_options_of_a_command(command, folder, capsys):
    assert completed(folder, command, "-") == options_of([command], capsys) - {"-h"}


@pytest.mark.parametrize(
    "words, offered",
    [
        (("start", "--rules", "m"), {"my rules", "more"}),
        (("start", "--config", "my"), {"my rules"}),
        (("start", "--rules", "=", "my"), {"my rules"}),
        (("start", "--rules", "="), {"my rules", "more"}),
        (("start", "--run-dir", "m"), {"more"}),
        (("start", "--state-dir", ""), {"more"}),
        (("rules", "m"), {"my rules", "more"}),
        (("status", "--js"), {"--json"}),
        (("status", "m"), set()),
        (("drain", "--service", ""), set()),  # nobody can know what it may be
        (("drain", "--timeout", "-"), set()),
        (("disable", "--for", "=", ""), set()),
        (("drain", "--wait", "--ti"), {"--timeout"}),
        (("demo", "--colour", "a"), {"auto", "always"}),
        (("demo", "--colour", "=", "n"), {"never"}),
    ],
)
def test_bash_completes_files_and_words(words, offered, folder):
    assert completed(folder, *words) == offered


def test_zsh_can_read_its_completion(judge):
    assert judge("zsh", "-fn", ZSH) == (0, "", "")


def test_zsh_knows_every_command_with_its_help_and_every_option(capsys):
    text = ZSH.read_text()
    known = {option for name in main.COMMANDS for option in options_of([name], capsys)}

    offered = dict(re.findall(r"^ +['\"]([a-z-]+):(.*)['\"]$", text, re.M))
    assert offered == main.COMMANDS
    assert set(re.findall(r"--[a-z][a-z-]+", text)) == {*known, "--version"} - {"-h"}


def test_all_of_it_is_installed():
    cfg = ConfigParser()
    cfg.read(ROOT / "setup.cfg")
    installed = {folder: set(files.split()) for folder, files in cfg["options.data_files"].items()}

    for number in "58":
        pages = {str(page.relative_to(ROOT)) for page in PAGES if page.name.endswith(number)}
        assert installed[f"share/man/man{number}"] == pages
    assert installed["share/bash-completion/completions"] == {"packaging/lvs-nat.bash"}
    assert installed["share/zsh/site-functions"] == {"packaging/_lvs-nat"}
