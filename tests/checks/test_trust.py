import os

import pytest

from lvs_nat.checks.trust import distrusted

OURS = frozenset({0, os.getuid()})


@pytest.fixture
def folder(tmp_path):
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.fixture
def program(folder):
    path = folder / "check"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_program_that_only_its_owner_can_change_is_run(program):
    assert distrusted(str(program), OURS) == ""


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_a_folder_that_others_write_to_must_be_sticky(folder, program, mode):
    folder.chmod(mode)
    words = f"{folder} can be changed by others than its owner; chmod go-w {folder}"

    assert distrusted(str(program), OURS) == ("" if mode & 0o1000 else words)


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1757])
def test_a_program_that_others_write_to_is_not_run(program, mode):
    program.chmod(mode)
    words = f"{program} can be changed by others than its owner; chmod go-w {program}"

    assert distrusted(str(program), OURS) == words


def test_a_program_of_somebody_else_is_not_run(program):
    assert distrusted(str(program), {987654}) == (
        "/ belongs to root, not user 987654; chown user 987654 /"
    )


@pytest.mark.kernel  # where we are root and can give files away
def test_neither_the_program_nor_a_folder_nor_a_link_may_be_somebody_elses(folder, program):
    link = folder / "link"
    link.symlink_to(program)
    for given in (link, program, folder):
        os.chown(given, 1, 1, follow_symlinks=False)
        try:
            words = f"{given} belongs to daemon, not root; chown root {given}"
            assert distrusted(str(link), {0}) == words
        finally:
            os.chown(given, 0, 0, follow_symlinks=False)
    assert distrusted(str(link), {0}) == ""


def test_links_are_followed_through_every_folder_on_the_way(folder, program):
    open_to_all = folder / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (open_to_all / "middle").symlink_to(program)
    (folder / "first").symlink_to("open/middle")
    (folder / "second").symlink_to("open/../check")
    words = f"{open_to_all} can be changed by others than its owner; chmod go-w {open_to_all}"

    assert distrusted(str(folder / "first"), OURS) == words
    assert distrusted(str(folder / "second"), OURS) == words
    open_to_all.chmod(0o755)
    assert distrusted(str(folder / "first"), OURS) == ""
    assert distrusted(str(folder / "second"), OURS) == ""


def test_a_circle_of_links_has_an_end(folder):
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")

    assert distrusted(f"{folder}/a", OURS) == f"{folder}/a goes round in a circle of links"


@pytest.mark.parametrize(
    "name, words",
    [
        ("missing", "{}/missing: no such file or directory"),
        ("check/below", "{}/check/below: not a directory"),
        ("", "{}/ is no program"),
        ("plain", "{0}/plain is not executable; chmod +x {0}/plain"),
    ],
)
def test_what_is_no_program_is_called_so(folder, program, name, words):
    (folder / "plain").write_text("")

    assert distrusted(f"{folder}/{name}", OURS) == words.format(folder)
