"""What the documents tell people to type, typed.

In a block marked `console`, a line that begins with `$` is run and must print what stands below
it; `$ cat FILE` makes that file in the folder typed in, which is shown as /root; `$ make TARGET`
must be a target.  A line that begins with `#`
is root's on a real director: the files and lvs-nat commands that it names must exist.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
FENCE = re.compile(r"^```console\n(.*?)^```$", re.M | re.S)
# Documents whose numbered claims are each held by a test, and how many they make.
HELD = {"faults.md": 53, "security.md": 22}
COMMAND = re.compile(r"^([$#]) (.*)\n((?:(?![$#] ).*\n)*)", re.M)
CODE = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r});"
    " from lvs_nat.cli.main import main; sys.exit(main())"
)
PROGRAM = f'#!/bin/sh\nexec {shlex.join([sys.executable, "-c", CODE])} "$@"\n'


def commands(document, prompt):
    """Return (command, output) for each command with *prompt*, in order."""
    blocks = FENCE.findall(document.read_text())
    return [
        (command, output)
        for block in blocks
        for sign, command, output in COMMAND.findall(block)
        if sign == prompt
    ]


def cases(prompt):
    return [pytest.param(path, id=path.name) for path in DOCUMENTS if commands(path, prompt)]


@pytest.fixture
def folder(tmp_path):
    """A folder to type in, with lvs-nat on the way to it."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/lvs-nat").write_text(PROGRAM)
    (tmp_path / "bin/lvs-nat").chmod(0o755)
    return tmp_path


def typed(command, folder):
    """Return what a shell in *folder* prints for *command*."""
    path = f"{folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, env={"PATH": path}, capture_output=True, text=True
    )
    return (done.stdout + done.stderr).replace(str(folder), "/root")


@pytest.mark.parametrize("document", cases("$"))
def test_what_an_ordinary_user_is_told_to_type_prints_what_is_shown(document, folder):
    for command, output in commands(document, "$"):
        program, *words = command.split()
        if program == "make":
            subprocess.run(["make", "-n", *words], cwd=ROOT, check=True, capture_output=True)
        elif program == "cat":
            (folder / words[0]).write_text(output)
        else:
            assert (command, typed(command, folder)) == (command, output)


@pytest.mark.parametrize("document", cases("#"))
def test_what_root_is_told_to_type_is_there(document, folder):
    for command, _ in commands(document, "#"):
        program, *words = command.split()
        if program == "lvs-nat":
            assert typed(f"lvs-nat {words[0]} --help", folder).startswith("usage: lvs-nat")
        for word in words:
            if word.startswith(("packaging/", "etc/")):
                assert (ROOT / word).exists(), command


def test_an_init_script_is_told_its_runlevels_before_update_rc_d_which_else_enables_nothing(folder):
    listed = [command for command, _ in commands(ROOT / "docs/install.md", "#")]
    place = "/etc/init.d/lvs-nat"
    last = listed.index("update-rc.d lvs-nat defaults")
    first = listed.index(f"install packaging/lvs-nat.init {place}")
    packaged = (ROOT / "packaging/lvs-nat.init").read_text()
    (folder / "script").write_text(packaged)

    for command in listed[first + 1 : last]:
        assert typed(command.replace(place, "script"), folder) == ""

    _, header, rest = re.split("### (?:BEGIN|END) INIT INFO\n", (folder / "script").read_text())
    told = {"# Default-Start: 2 3 4 5", "# Default-Stop: 0 1 6"}
    assert told < set(header.splitlines())
    assert set(packaged.splitlines()) == {*(folder / "script").read_text().splitlines()} - told
    assert rest == packaged.split("### END INIT INFO\n")[1]


def test_without_the_package_ipvsadm_s_own_stop_is_replaced_before_the_first_start():
    listed = [command for command, _ in commands(ROOT / "docs/install.md", "#")]
    unit = listed.index("install -m 644 packaging/lvs-nat.service /etc/systemd/system/")
    started = listed.index("systemctl enable --now lvs-nat", unit)
    drop_in = "/etc/systemd/system/ipvsadm.service.d/lvs-nat.conf"

    assert f"install -D -m 644 packaging/ipvsadm.service.conf {drop_in}" in listed[unit:started]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_is_named_is_there(document):
    for file, name in NAMED.findall(document.read_text()):
        assert f"def {name}(" in (ROOT / file).read_text(), f"{file}::{name}"


@pytest.mark.parametrize("name, count", HELD.items())
def test_every_claim_names_the_test_that_holds_it(name, count):
    claims = re.split(r"^(\d+)\. ", (ROOT / "docs" / name).read_text(), flags=re.M)[1:]

    assert [int(number) for number in claims[::2]] == list(range(1, count + 1))
    for number, text in zip(claims[::2], claims[1::2]):
        assert NAMED.search(text.split("\n## ")[0]), f"{name}, {number}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_finds_it(document):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize(
    "title, words",
    [
        (
            "From keepalived",
            "notify_up notify_down quorum_up quorum_down smtp_alert lvs_notify_fifo "
            "virtual_server_group",
        ),
        ("From ldirectord", "emailalert callback fallbackcommand autoreload monitorfile"),
    ],
)
def test_who_comes_from_elsewhere_finds_what_has_become_of_hooks_and_alerts(title, words):
    text = (ROOT / "docs/checks.md").read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    theirs = {row.split(" | ")[0] for row in text.splitlines() if row.startswith("| ")}
    told = {word for cell in theirs for word in re.findall(r"`(\w+)`", cell)}

    assert set(words.split()) <= told


def test_both_readmes_tell_the_same_to_type():
    english, chinese = ROOT / "README.md", ROOT / "README.zh-CN.md"

    for prompt in "$#":
        assert commands(english, prompt) == commands(chinese, prompt)


def test_both_readmes_name_the_same_files_and_words_in_every_row_and_paragraph():
    told = []
    for name in ("README.md", "README.zh-CN.md"):
        text = re.sub(r"^```.*?^```$", "", (ROOT / name).read_text(), flags=re.M | re.S)
        parts = re.split(r"\n(?=\|)|\n\n+", text.replace("README.zh-CN.md", "README.md"))
        words = (re.findall(r"`([^`]+)`|\]\(([^)]+)\)", part) for part in parts)
        told.append([set(map("".join, found)) for found in words if found])

    english, chinese = told
    assert english == chinese


def test_both_readmes_show_a_demo_that_kept_its_promises():
    shown = {
        re.search(r"^```text\n(.*?)^```$", (ROOT / name).read_text(), re.M | re.S)[1]
        for name in ("README.md", "README.zh-CN.md")
    }

    assert len(shown) == 1
    assert "BROKEN" not in shown.pop()
