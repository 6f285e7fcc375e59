import re

import pytest

from melanoma import seeds
from melanoma.cli import main
from melanoma.seeds import Run


def test_names_of_trainings():
    assert [run.name for run in seeds.runs(1, 1)] == ["0"]
    assert [run.name for run in seeds.runs(2, 1)] == ["0", "1"]
    assert [run.name for run in seeds.runs(2, 3)] == [
        *("0", "1"),
        *("0-seed1", "1-seed1"),
        *("0-seed2", "1-seed2"),
    ]


@pytest.mark.parametrize(
    ("name", "run"),
    [("0", (0, 0)), ("19", (19, 0)), ("0-seed1", (0, 1)), ("4-seed12", (4, 12))],
)
def test_fold_and_seed_are_read_from_a_name(name, run):
    assert seeds.parse(name) == Run(*run)
    assert Run(*run).name == name
    assert re.fullmatch(seeds.PATTERN, name)


@pytest.mark.parametrize(
    "name", ["", "x", "-1", "0-seed", "0-seed0", "0-seed01", "0seed1", "0-seed1-seed2", "0\n", "٣"]
)
def test_other_texts_are_no_names(name):
    with pytest.raises(ValueError, match="no training's name; one is 0 or 0-seed1"):
        seeds.parse(name)


def test_commands_refuse_a_fold_that_is_none(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--fold", "0-seed0"])
    assert "'0-seed0' is no training's name" in capsys.readouterr().err
