"""Atomic writing."""

import os

import pandas as pd
import pytest

from melanoma import files


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


def test_sha256_of_a_file(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert files.sha256_of(tmp_path / "empty").startswith("e3b0c44298fc1c14")
