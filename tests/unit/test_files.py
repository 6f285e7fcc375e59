"""Atomic writing."""

import errno
import os
from pathlib import Path

import pandas as pd
import pytest

from melanoma import files
from melanoma.errors import InputError


def write_half(path):
    with files.atomic(path) as partial:
        partial.write_text("half")
        raise RuntimeError


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        write_half(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_replaces_the_file_and_makes_its_folder(tmp_path):
    path = tmp_path / "new" / "value.json"
    files.write_json(path, {"a": 1})
    files.write_json(path, {"a": 2})
    assert files.read_json(path) == {"a": 2}
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_appears_as_a_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "gradcam"
    for text in ("old", "new"):
        with files.atomic_folder(folder) as partial:
            (partial / "index.html").write_text(text)
    assert (folder / "index.html").read_text() == "new"

    def fail(partial: Path) -> None:
        (partial / "half.png").write_bytes(b"")
        raise RuntimeError

    with pytest.raises(RuntimeError), files.atomic_folder(folder) as partial:
        fail(partial)
    assert [path.name for path in folder.iterdir()] == ["index.html"]
    assert list(tmp_path.iterdir()) == [folder]


def test_what_a_kill_has_left_is_removed_and_nothing_else(tmp_path):
    left = [".table.7.part.csv", ".gradcam.7.part", ".gradcam.8.old"]
    others = [".table.x.7.part.csv", ".table.7.part.json", ".table.7x.part.csv", "table.7.part.csv"]
    for name in (*left, *others):
        (tmp_path / name).mkdir() if "gradcam" in name else (tmp_path / name).write_text("half")
    files.write_text(tmp_path / "table.csv", "text")
    with files.atomic_folder(tmp_path / "gradcam"):
        pass
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"table.csv", "gradcam", *others}


@pytest.mark.parametrize("ends", [False, True])
def test_of_two_writers_the_later_one_wins(tmp_path, ends, monkeypatch):
    path = tmp_path / "table.csv"

    def write_twice() -> None:
        with files.atomic(path) as first:
            first.write_text("first")
            with monkeypatch.context() as patch:
                patch.setattr(files.os, "getpid", lambda: 7)
                second = files.atomic(path)
                second.__enter__().write_text("second")
                if ends:
                    second.__exit__(None, None, None)

    with pytest.raises(InputError, match=r"table\.csv: another process has begun to write it"):
        write_twice()
    assert path.exists() == ends
    assert not ends or path.read_text() == "second"


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch, code):
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code), str(self))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(InputError, match=rf"{tmp_path}: table\.csv cannot be written"):
        files.write_text(tmp_path / "table.csv", "text")


def test_a_failure_to_read_is_not_told_as_one_to_write(tmp_path):
    def read_while_writing() -> None:
        with files.atomic(tmp_path / "table.csv"):
            raise PermissionError(errno.EACCES, "Permission denied", "/somewhere/input.zip")

    with pytest.raises(PermissionError):
        read_while_writing()


def test_the_mode_follows_the_umask(tmp_path):
    previous = os.umask(0o027)
    try:
        files.write_text(tmp_path / "file.txt", "text")
    finally:
        os.umask(previous)
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o640


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "value.json", float("nan"))
    assert not list(tmp_path.iterdir())


def test_tables_keep_full_precision(tmp_path):
    value = 0.1 + 0.2
    files.write_table(tmp_path / "t.csv", pd.DataFrame({"x": [value], "y": ["a"]}))
    assert (tmp_path / "t.csv").read_bytes() == f"x,y\n{value!r},a\n".encode()


def test_rows_come_back_as_text(tmp_path):
    path = tmp_path / "rows.csv"
    assert files.read_rows(path) == []
    files.write_rows(path, ("name", "n"), [{"name": "a, é", "n": 1}, {"name": "b", "n": ""}])
    assert path.read_bytes() == 'name,n\n"a, é",1\nb,\n'.encode()
    assert files.read_rows(path) == [{"name": "a, é", "n": "1"}, {"name": "b", "n": ""}]


def test_sha256_of_a_file(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert files.sha256_of(tmp_path / "empty").startswith("e3b0c44298fc1c14")
