"""What making a kernel whose clock jumps takes; `make day` makes one, and runs on it."""

import re

import pytest

from lvs_nat.errors import LvsNatError, NotInstalled, UsageError
from lvs_nat.lab import kernel, timetravel

CONFIG = "# Automatically generated\nCONFIG_64BIT=y\n"


def programs(folder, *names):
    """Make programs of these *names* in *folder*; return it as a search path."""
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return str(folder)


def test_a_machine_without_a_compiler_is_told_what_to_install(tmp_path):
    path = programs(tmp_path, "apt-get", "dpkg-deb", "perl", "tar", "xz")

    with pytest.raises(NotInstalled) as refused:
        timetravel.linux({"LVS_NAT_LAB_CACHE": str(tmp_path / "cache"), "PATH": path})

    assert str(refused.value) == (
        "the time-travelling kernel is made here once, and that takes programs that are not here"
        " (gcc, make): on Debian, apt-get install gcc libc6-dev make"
    )
    assert list((tmp_path / "cache").glob("*/linux-timetravel-*[!k]")) == []


def test_a_kernel_that_is_there_is_taken_and_nothing_is_needed(tmp_path):
    made = tmp_path / "kernels" / f"linux-timetravel-{key()}"
    made.parent.mkdir()
    made.touch()

    linux = timetravel.linux({"LVS_NAT_LAB_CACHE": str(tmp_path), "PATH": ""})

    assert (linux.program, linux.modules, linux.words) == (made, None, ("time-travel=inf-cpu",))


def key():
    return timetravel.key(timetravel.packages.release())


def test_another_release_or_another_configuration_takes_another_kernel():
    more = (*timetravel.WANTED, "MORE")
    keys = [timetravel.key(release, *wanted) for release in ("12", "13") for wanted in ([], [more])]

    assert len(set(keys)) == 4
    assert timetravel.key("12") == keys[0]


def test_nothing_is_wanted_twice_or_wanted_and_not():
    names = (*timetravel.WANTED, *timetravel.UNWANTED)

    assert sorted(set(names)) == sorted(names)
    assert all(re.fullmatch(r"[A-Z0-9_]+", name) for name in names)


@pytest.mark.parametrize(
    "line, gone",
    [("", []), ("# CONFIG_IP_VS is not set", ["IP_VS"]), ("CONFIG_IP_VS=m", ["IP_VS"])],
)
def test_what_the_sources_do_not_give_is_named(line, gone):
    config = CONFIG + timetravel.fragment()

    assert timetravel.lost(config) == []
    assert timetravel.lost(config.replace("CONFIG_IP_VS=y", line or "CONFIG_IP_VS=y")) == gone


def test_what_fails_shows_the_end_of_what_it_said_and_where_all_of_it_is(tmp_path):
    log = tmp_path / "log"
    script = "for i in $(seq 0 98); do echo step $i; done; echo broken >&2; exit 2"

    with pytest.raises(LvsNatError) as failed:
        timetravel.follow(("sh", "-c", script), tmp_path, {"PATH": "/usr/bin:/bin"}, log)

    first, *last = str(failed.value).splitlines()
    assert first.endswith(f"failed (exit status 2); all it said is in {log}, at the end:")
    assert last == [*(f"step {number}" for number in range(80, 99)), "broken"]
    assert len(log.read_text().splitlines()) == 100


def test_nobody_can_wait_at_a_terminal_for_a_clock_that_jumps():
    with pytest.raises(UsageError, match="cannot wait for somebody at a terminal"):
        kernel.run(["sh"], timeout=1, terminal=True, time_travel=True)
