"""A fixed small share of `fuzz.py` (files), and hypothesis for tables."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import fuzz
import pytest
import texts
from hypothesis import given, settings
from hypothesis import strategies as st

from melanoma import isic
from melanoma.errors import InputError
from melanoma.image_names import composed
from melanoma.official import read_ground_truth, read_metadata
from melanoma.tables import Problems, read_table

BUDGET = {"prepare": 400, "archive": 120, "predict": 100, "tables": 400, "model": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    fuzz.checkpoint(folder / "model.ckpt")
    (folder / "decision.json").write_bytes(texts.examples()["decision.json"])
    return folder


@pytest.mark.parametrize("way", fuzz.WAYS)
@pytest.mark.filterwarnings("ignore")
def test_every_damaged_file_is_answered(way, folder, capfd):
    tally = fuzz.Tally()
    fuzz.WAYS[way][0](range(BUDGET[way]), folder, tally)
    assert tally.wrong == []
    assert tally.accepted + tally.refused == BUDGET[way]
    assert tally.accepted > 0, "the damage reaches no further than the first check"
    assert tally.refused > 0


@pytest.mark.parametrize("name", texts.examples())
def test_the_undamaged_files_are_read(name, tmp_path):
    (tmp_path / name).write_bytes(texts.examples()[name])
    assert texts.readers()[name](tmp_path / name) is not None


cells = st.one_of(
    st.sampled_from(
        ["", "1.0", "0.0", "1", "NaN", "55", "-5", "male", "head/neck", "HAM_1", "1e400"]
    ),
    st.text(max_size=8),
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(cells, min_size=9, max_size=11), max_size=6),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]),
    st.sampled_from([",", ";", "\t"]),
)
def test_any_table_is_read_or_refused_with_its_name(tmp_path_factory, rows, end, code, sign):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    lines = [list(isic.GROUND_TRUTH_COLUMNS), *rows]
    path.write_bytes(end.join(sign.join(line) for line in lines).encode(code, "replace"))
    for reader in (read_ground_truth, read_metadata):
        try:
            table = reader(path, kind="train", problems=Problems())
        except InputError as error:
            told = str(error)
        else:
            told = str(path)
            assert set(table["diagnosis"]) <= set(isic.CLASSES)
        assert told.startswith(str(path))


names = st.text(st.characters(exclude_categories=["C"], exclude_characters="\x85"), min_size=1)
values = st.dictionaries(
    names.map(composed).map(str.strip).filter(len),
    st.sampled_from(["a", "b,c", 'd"e', "f;g", ""]),
    min_size=1,
)


spellings = st.fixed_dictionaries(
    {
        "end": st.sampled_from(["\n", "\r\n"]),
        "code": st.sampled_from(["utf-8", "utf-8-sig"]),
        "columns": st.permutations(["image", "x", "other"]),
        "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        "blank": st.booleans(),
    }
)


@settings(max_examples=200, deadline=None)
@given(values, spellings)
def test_every_spelling_of_a_table_says_the_same(tmp_path_factory, values, spelling):
    end, columns = spelling["end"], spelling["columns"]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end, quoting=spelling["quoting"])
    writer.writerow(columns)
    for image, value in values.items():
        told = {"image": image, "x": value, "other": "ignored"}
        writer.writerow([told[column] for column in columns])
        text.write(end if spelling["blank"] else "")
    path = tmp_path_factory.getbasetemp() / "spelt.csv"
    path.write_bytes(text.getvalue().encode(spelling["code"]))
    table = read_table(path, required=["image", "x"], problems=Problems())
    assert dict(zip(table["image"], table["x"], strict=True)) == values
