"""What checks need of this machine: it is told of what is missing for sure, and of nothing else."""

import os

import pytest

from lvs_nat.core import config
from lvs_nat.core.setup import Setup
from lvs_nat.daemon.unmet import unmet

OURS = frozenset({0, os.getuid()})
ENDING = "; no check that needs it can pass"


@pytest.fixture
def folder(tmp_path):
    """A folder with a program, a text, and what only root can read if we are root."""
    tmp_path.chmod(0o755)
    for name, mode in (("program", 0o755), ("group", 0o750), ("text", 0o644), ("secret", 0o600)):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(mode)
    (tmp_path / "writable").touch()
    (tmp_path / "writable").chmod(0o757)
    return tmp_path


def asked(text, folder):
    """Return what settings miss, with the folder left out."""
    setup = config.parse(text.replace("./", f"{folder}/"), "lvs-nat.conf")
    return [it.replace(f"{folder}/", "./") for it in unmet(setup, OURS)]


TLS = "check = tls\n"


@pytest.mark.parametrize(
    "text, missing",
    [
        ("", []),
        ("check = script\nprogram = ./program %h\n", []),
        ("check = script\nprogram = ./group\n", []),  # whoever asks need not be of that group
        ("check = script\nprogram = ./no %h\n", ["program = ./no: no such file or directory"]),
        ("check = script\nprogram = ./text/no\n", ["program = ./text/no: not a directory"]),
        (
            "check = script\nprogram = ./text\n",
            ["program = ./text: ./text is not executable; chmod +x ./text"],
        ),
        (
            "check = script\nprogram = ./writable\n",
            [
                "program = ./writable: ./writable can be changed by others than its owner; "
                "chmod go-w ./writable"
            ],
        ),
        (TLS + "verify = chain\nca = ./text\n", []),
        (TLS + "verify = chain\nca = ./no\n", ["ca = ./no: no such file or directory"]),
        ("check = smtp\ntls = yes\nca = ./\nverify = chain\n", ["ca = ./: is no file"]),
        (
            "check = https\ncertificate = ./no\nkey = ./neither\n",
            [
                "certificate = ./no: no such file or directory",
                "key = ./neither: no such file or directory",
            ],
        ),
        ("interface = lo\n", []),
        ("interface = nosuch0\n", ["interface = nosuch0: is not there"]),
    ],
)
def test_what_is_missing_for_sure_is_told_with_the_setting_that_names_it(folder, text, missing):
    assert asked(text, folder) == [it + ENDING for it in missing]


def test_of_a_program_that_many_are_asked_by_it_is_told_once(folder):
    services = "".join(
        f"[[tcp 10.0.0.1:{port}]]\nfall = {port % 9 + 1}\n" for port in range(80, 99)
    )
    text = "check = script\nprogram = ./no\n[services]\n" + services

    assert asked(text, folder) == ["program = ./no: no such file or directory" + ENDING]


@pytest.mark.kernel  # where we are root, and files are root's
def test_a_key_that_root_alone_can_read_is_no_use_to_whoever_asks_the_servers(folder):
    text = "check = tls\ncertificate = ./text\nkey = ./secret\n"
    words = (
        "key = ./secret: only root can read it; chgrp lvs-nat-check ./secret && chmod g+r ./secret"
    )

    assert asked(text, folder) == [words + ENDING]


def test_without_settings_nothing_is_missing():
    assert unmet(Setup()) == []
