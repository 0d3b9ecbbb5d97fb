from contextlib import closing

import pytest

from lvs_nat.system.inotify import Inotify


def test_what_happens_in_a_folder_is_told_by_name(tmp_path):
    with closing(Inotify()) as inotify:
        inotify.watch(str(tmp_path))
        (tmp_path / "one").write_text("1")
        (tmp_path / "one").rename(tmp_path / "two")
        (tmp_path / "two").unlink()

        folder = str(tmp_path)
        assert list(dict.fromkeys(inotify.changes())) == [(folder, "one"), (folder, "two")]
        assert list(inotify.changes()) == []


def test_a_folder_with_two_names_is_told_by_both(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to("real")
    with closing(Inotify()) as inotify:
        inotify.watch(str(real))
        inotify.watch(str(link))
        (real / "one").write_text("1")

        assert set(inotify.changes()) == {(str(real), "one"), (str(link), "one")}


@pytest.mark.parametrize("end", ["rmdir", "rename"])
def test_the_end_of_a_folder_is_told(tmp_path, end):
    folder = tmp_path / "folder"
    folder.mkdir()
    with closing(Inotify()) as inotify:
        inotify.watch(str(folder))
        folder.rmdir() if end == "rmdir" else folder.rename(tmp_path / "elsewhere")

        assert set(inotify.changes()) == {(str(folder), "")}
        folder.mkdir(exist_ok=True)
        inotify.watch(str(folder))
        list(inotify.changes())
        (folder / "one").write_text("1")
        assert set(inotify.changes()) == {(str(folder), "one")}


def test_more_changes_than_the_kernel_keeps_mean_that_all_may_have_changed(tmp_path):
    with closing(Inotify()) as inotify:
        inotify.watch(str(tmp_path))
        for number in range(20_000):
            (tmp_path / str(number % 2)).touch()

        seen = set()
        while changes := set(inotify.changes()):
            seen |= changes
        assert ("", "") in seen


@pytest.mark.parametrize(
    "path, error", [("missing", FileNotFoundError), ("file", NotADirectoryError)]
)
def test_what_cannot_be_watched_is_refused(tmp_path, path, error):
    (tmp_path / "file").touch()
    with closing(Inotify()) as inotify, pytest.raises(error):
        inotify.watch(str(tmp_path / path))
