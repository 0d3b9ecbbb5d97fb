import errno
import os
import stat
import tempfile
from pathlib import Path

import pytest

from lvs_nat.errors import ConfigError
from lvs_nat.system.files import LIMIT, boot_id, open_to_all, read_text, write_atomic

FOREIGN = "there is a byte that is not UTF-8; save the file as UTF-8 text"


def refusal(path, limit=LIMIT):
    with pytest.raises(ConfigError) as caught:
        read_text(path, limit)
    return str(caught.value).replace(str(path), "FILE"), caught.value.exit_code


@pytest.mark.parametrize("data", [b"", b"-A -t 1.2.3.4:80\n", "# Gr\u00fc\u00dfe\r\n".encode()])
def test_a_text_is_read_as_it_is(tmp_path, data):
    (tmp_path / "file").write_bytes(data)

    assert read_text(tmp_path / "file").encode() == data


@pytest.mark.parametrize(
    "data, complaint",
    [
        (b"one\ntwo\0", "FILE:2: there is a NUL byte; this is not a text"),
        (b"one\n\ntwo\xff", f"FILE:3: {FOREIGN}"),
        (b"\x7fELF\2\1\1\0", "FILE:1: there is a NUL byte; this is not a text"),
        (bytes(range(256)), f"FILE:2: {FOREIGN}"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_told_with_its_line(tmp_path, data, complaint):
    (tmp_path / "file").write_bytes(data)

    assert refusal(tmp_path / "file") == (complaint, 6)


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "circle").symlink_to("circle")

    assert refusal(tmp_path / "none") == ("FILE: does not exist", 6)
    assert refusal(tmp_path) == ("FILE: is a directory; name a file", 6)
    assert refusal(tmp_path / "file/below") == (
        "FILE: lies below something that is not a directory",
        6,
    )
    assert refusal(tmp_path / "circle") == (
        "FILE: is a symbolic link that leads in a circle",
        6,
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_only_root_can_read_says_so(tmp_path):
    (tmp_path / "file").touch(0)

    assert refusal(tmp_path / "file") == ("FILE: cannot be read by this user; run as root", 6)


def test_a_file_of_the_greatest_size_is_read_and_no_larger_one(tmp_path):
    (tmp_path / "file").write_text("x" * (1 << 20))

    assert len(read_text(tmp_path / "file", 1 << 20)) == 1 << 20
    assert refusal(tmp_path / "file", (1 << 20) - 1)[1] == 6
    with (tmp_path / "file").open("w") as file:
        file.truncate(LIMIT + 1)
    complaint = "FILE: is larger than 16 MiB; this is not a file of ours"
    assert refusal(tmp_path / "file") == (complaint, 6)


def test_a_pipe_holds_nobody_up_and_is_not_taken_for_an_empty_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(ConfigError, match="pipe: is a pipe; name a file"):
        read_text(tmp_path / "pipe")


def test_an_empty_device_is_an_empty_file():
    assert read_text(Path("/dev/null")) == ""


@pytest.mark.parametrize(
    "present, asked, left", [(None, None, 0o644), (0o640, None, 0o640), (0o640, 0o600, 0o600)]
)
def test_a_written_file_has_the_text_and_keeps_its_mode(tmp_path, present, asked, left):
    path = tmp_path / "file"
    if present:
        path.write_text("old")
        path.chmod(present)

    write_atomic(path, "new\n", asked)

    assert path.read_text() == "new\n"
    assert stat.S_IMODE(path.stat().st_mode) == left
    assert os.listdir(tmp_path) == ["file"]


def test_a_written_file_keeps_its_owner(tmp_path):
    if os.geteuid():
        pytest.skip("only root can give files away")
    path = tmp_path / "file"
    path.touch()
    os.chown(path, 1234, 1235)

    write_atomic(path, "new")

    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 1235)


def test_a_symbolic_link_stays_and_its_target_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/file")

    write_atomic(tmp_path / "link", "new")

    assert os.readlink(tmp_path / "link") == "there/file"
    assert (tmp_path / "there/file").read_text() == "new"


def test_a_reader_keeps_the_old_text_whole(tmp_path):
    (tmp_path / "file").write_text("old")
    with (tmp_path / "file").open() as reader:
        write_atomic(tmp_path / "file", "new")

        assert reader.read() == "old"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "file").write_text("old")

    with pytest.raises(UnicodeEncodeError):
        write_atomic(tmp_path / "file", "new\udcff")

    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_a_directory_is_never_replaced(tmp_path):
    (tmp_path / "file").mkdir()

    with pytest.raises(OSError, match="Is a directory"):
        write_atomic(tmp_path / "file", "new")

    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.kernel
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    assert os.system(f"mount -t tmpfs -o size=8k tmpfs {tmp_path}") == 0
    try:
        (tmp_path / "file").write_text("old")

        with pytest.raises(OSError) as caught:  # noqa: PT011
            write_atomic(tmp_path / "file", "new" * 8192)

        assert caught.value.errno == errno.ENOSPC
        assert os.listdir(tmp_path) == ["file"]
        assert (tmp_path / "file").read_text() == "old"
    finally:
        os.system(f"umount {tmp_path}")


def test_a_boot_has_a_name_where_the_kernel_gives_one(tmp_path):
    assert boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert boot_id(tmp_path) == ""


@pytest.mark.parametrize("mode, passable", [(0o755, True), (0o711, True), (0o750, False)])
def test_a_folder_that_is_closed_is_on_nobodys_way(mode, passable):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder, "inner").mkdir()
        Path(folder).chmod(mode)

        assert open_to_all(Path(folder, "inner", "file")) is passable
