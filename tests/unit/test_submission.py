from dataclasses import replace

import evaluation_examples as examples
import numpy as np
import pandas as pd
import pytest

from melanoma.errors import InputError
from melanoma.files import write_table
from melanoma.isic import CLASSES, UNKNOWN
from melanoma.submission import (
    check_submission,
    choose_threshold,
    ood_scores,
    read_submission,
    stand_in_scores,
    submission,
    unknown_probability,
)

NINE = [*CLASSES, UNKNOWN]


def _predictions():
    return examples.predictions(examples.catalogue(60))


@pytest.mark.parametrize("kind", ["energy", "msp"])
def test_unknown_wins_exactly_above_the_threshold(kind):
    table = _predictions()
    # A row without any idea of the class is where UNK could win by mistake.
    table.loc[0, list(CLASSES)] = 1 / 8
    scores = ood_scores(table, kind).copy()
    rule = choose_threshold(scores, kept=0.8)
    scores[0] = rule.threshold
    result = submission(table, scores, rule)
    assert list(result.columns) == ["image", *NINE]
    np.testing.assert_allclose(result[NINE].sum(axis=1), 1.0)
    decided = result[NINE].to_numpy().argmax(axis=1) == 8
    np.testing.assert_array_equal(decided, scores > rule.threshold)
    np.testing.assert_array_equal(result[UNKNOWN] > 0.5, scores > rule.threshold)
    known = ~decided
    np.testing.assert_array_equal(
        result.loc[known, list(CLASSES)].to_numpy().argmax(axis=1),
        table.loc[known, list(CLASSES)].to_numpy().argmax(axis=1),
    )
    check_submission(result, list(table["image"]), NINE)


def test_unknown_probability_rises_with_the_score():
    rule = choose_threshold(np.linspace(-5, 5, 100), kept=0.95)
    values = unknown_probability(np.linspace(-1e4, 1e4, 2001), rule)
    assert (np.diff(values) >= 0).all()
    assert values[0] == 0.0
    assert values[-1] == 1.0
    never = unknown_probability(np.linspace(-1e4, 1e4, 2001), replace(rule, never=True))
    assert (np.diff(never) >= 0).all()
    assert never[0] == 0.0
    assert 0.09 < never[-1] < 1 / 9


def test_unknown_never_wins_where_it_is_never_said():
    table = _predictions()
    table.loc[0, list(CLASSES)] = 1 / 8
    scores = ood_scores(table, "energy").copy()
    rule = replace(choose_threshold(scores, kept=0.95), never=True)
    scores[0] = 1e9
    result = submission(table, scores, rule)
    np.testing.assert_allclose(result[NINE].sum(axis=1), 1.0)
    assert (result[NINE].to_numpy().argmax(axis=1) != 8).all()
    # Images are ranked all the same: the area under UNK's curve is that of the scores.
    order = np.argsort(scores, kind="stable")
    assert (np.diff(result[UNKNOWN].to_numpy()[order]) >= 0).all()


@pytest.mark.parametrize("label", range(8))
def test_a_stand_in_is_scored_as_if_its_class_did_not_exist(label):
    rng = np.random.default_rng(label)
    logits = rng.normal(size=(40, 8)) * 4
    # So sure that a float32 softmax leaves the others next to nothing.
    logits[0, label] += 60
    table = pd.DataFrame(examples.softmax(logits), columns=list(CLASSES))
    table["energy"] = -np.log(np.exp(logits).sum(axis=1))
    others = np.delete(logits, label, axis=1)
    classes = np.full(40, label)
    masked = -np.log(np.exp(others).sum(axis=1))
    found = stand_in_scores(table, "energy", classes)
    np.testing.assert_allclose(found[1:], masked[1:], rtol=1e-9)
    assert found[0] == pytest.approx(table["energy"][0] - np.log(1e-15))
    largest = examples.softmax(others).max(axis=1)
    found = stand_in_scores(table, "msp", classes)
    np.testing.assert_allclose(found[1:], 1 - largest[1:], atol=1e-12)
    with pytest.raises(InputError, match="energy is missing"):
        stand_in_scores(table.drop(columns="energy"), "energy", classes)


def test_the_threshold_keeps_its_share_of_validation():
    scores = np.random.default_rng(0).normal(size=1000)
    rule = choose_threshold(scores, 0.9)
    assert (scores <= rule.threshold).mean() == pytest.approx(0.9, abs=0.002)
    assert choose_threshold(np.full(5, 3.0), 0.9).scale == 1.0


@pytest.mark.parametrize("count", [2, 7, 10, 20, 39])
def test_no_less_than_its_share_of_validation_is_kept(count):
    scores = np.random.default_rng(count).normal(size=count)
    kept = (scores <= choose_threshold(scores, 0.95).threshold).mean()
    assert 0.95 <= kept < 0.95 + 2 / count


@pytest.mark.parametrize("scores", [[], [1.0, np.nan]])
def test_a_threshold_needs_scores(scores):
    with pytest.raises(InputError, match="no threshold"):
        choose_threshold(np.array(scores), 0.95)


def test_scores_need_their_column():
    with pytest.raises(InputError, match="energy is missing"):
        ood_scores(_predictions().drop(columns="energy"), "energy")
    with pytest.raises(InputError, match="neither energy nor msp"):
        ood_scores(_predictions(), "odin")


def _valid():
    table = pd.DataFrame(np.full((3, 9), 0.1), columns=NINE)
    table.insert(0, "image", ["a", "b", "c"])
    return table


BROKEN = {
    "missing image column": (lambda t: t.drop(columns="image"), "column image is missing"),
    "missing column": (lambda t: t.drop(columns="NV"), "column NV is missing"),
    "extra column": (lambda t: t.assign(BAZ=0.1), "column BAZ is not allowed"),
    "misnamed column": (lambda t: t.rename(columns={"DF": "FD"}), "column DF is missing"),
    "repeated column": (lambda t: pd.concat([t, t[["NV"]]], axis=1), "column NV is there twice"),
    "missing image": (lambda t: t[:2], "image c is missing"),
    "extra image": (lambda t: pd.concat([t, t[:1].assign(image="z")]), "image z is not in"),
    "repeated image": (lambda t: pd.concat([t, t[:1]]), "image a is there twice"),
    "missing value": (lambda t: t.assign(BCC=[0.1, np.nan, 0.1]), "image b, column BCC.*missing"),
    "above one": (lambda t: t.assign(AK=[0.1, 0.1, 1.5]), "image c, column AK.*outside"),
    "below zero": (lambda t: t.assign(AK=[-0.1, 0.1, 0.5]), "image a, column AK.*outside"),
    "infinite": (lambda t: t.assign(AK=[0.1, np.inf, 0.5]), "image b, column AK.*outside"),
    "text": (lambda t: t.assign(SCC=["0.1", "x", "0.1"]), "image b, column SCC: 'x' is not a num"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_every_rule_is_checked(name):
    spoil, message = BROKEN[name]
    with pytest.raises(InputError, match=message):
        check_submission(spoil(_valid()), ["a", "b", "c"], NINE)


def test_order_and_jpg_endings_do_not_matter():
    table = _valid()[::-1].assign(image=["c.jpg", "b.JPG", "a"])[[*reversed(NINE), "image"]]
    checked = check_submission(table, ["a", "b", "c"], NINE)
    assert list(checked.index) == ["a", "b", "c"]
    assert list(checked.columns) == NINE


def test_files_are_read_by_the_rules(tmp_path):
    path = tmp_path / "submission.csv"
    write_table(path, _valid())
    pd.testing.assert_frame_equal(
        read_submission(path, ["a", "b", "c"]).reset_index(drop=True),
        _valid()[NINE],
        check_names=False,
    )
    write_table(path, _valid().assign(UNK=0))
    with pytest.raises(InputError, match="column UNK holds whole numbers"):
        read_submission(path, ["a", "b", "c"])


@pytest.mark.parametrize("ids", [["001", "010", "2"], ["NA", "nan", "x"], ["1", "2", "3"]])
def test_ids_are_text_whatever_they_look_like(tmp_path, ids):
    path = tmp_path / "submission.csv"
    write_table(path, _valid().assign(image=ids))
    assert list(read_submission(path, ids).index) == ids


@pytest.mark.parametrize("gap", ["", "NaN", "NA"])
def test_gaps_of_a_file_are_missing_values(tmp_path, gap):
    path = tmp_path / "submission.csv"
    write_table(path, _valid().astype({"BCC": object}).assign(BCC=["0.1", gap, "0.1"]))
    with pytest.raises(InputError, match=r"image b, column BCC.*missing value"):
        read_submission(path, ["a", "b", "c"])


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00image", b'image,MEL\n"a'])
def test_unreadable_files_are_named(tmp_path, content):
    path = tmp_path / "submission.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"submission\.csv"):
        read_submission(path, ["a"])
    with pytest.raises(InputError, match=r"none\.csv"):
        read_submission(tmp_path / "none.csv", ["a"])
