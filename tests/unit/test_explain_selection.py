import explain_examples
import numpy as np
import pandas as pd
import pytest

from melanoma import isic
from melanoma.errors import InputError
from melanoma.explain.selection import COLUMNS, CONFIDENT, RANDOM, select_examples


def _tables(count: int = 48):
    table = explain_examples.catalogue(count)
    raw = explain_examples.probabilities(table)
    return raw, explain_examples.probabilities(table, seed=1), table


def test_right_and_wrong_of_each_class_by_confidence():
    raw, calibrated, table = _tables()
    chosen = select_examples(raw, calibrated, table, per_class=2)
    assert tuple(chosen.columns) == COLUMNS
    assert (chosen.groupby(["diagnosis", "correct"]).size() <= 2).all()
    assert list(dict.fromkeys(chosen["diagnosis"])) == [
        name for name in isic.CLASSES if name in set(chosen["diagnosis"])
    ]
    for (_, correct), part in chosen.groupby(["diagnosis", "correct"]):
        assert (part["predicted"] == part["diagnosis"]).all() == correct
        assert part["choice"].tolist() == [CONFIDENT, RANDOM][: len(part)]
        assert part["rank"].iloc[0] == 1
        assert part["rank"].is_unique
    indexed = calibrated.set_index("image")
    expected = indexed.loc[chosen["image"], "MEL"].to_numpy()
    np.testing.assert_allclose(chosen["melanoma_probability"], expected)


def test_the_most_confident_answer_comes_first():
    raw, calibrated, table = _tables()
    table["group"] = table["image"]
    chosen = select_examples(raw, calibrated, table, per_class=1)
    full = raw.merge(table, on="image")
    full["top"] = full[list(isic.CLASSES)].max(axis=1)
    full["predicted"] = full[list(isic.CLASSES)].idxmax(axis=1)
    right = full[full["predicted"] == full["diagnosis"]].groupby("diagnosis")["top"].max()
    found = chosen[chosen["correct"]].set_index("diagnosis")["probability"]
    pd.testing.assert_series_equal(found.sort_index(), right, check_names=False)


def test_the_order_of_rows_does_not_matter():
    raw, calibrated, table = _tables()
    chosen = select_examples(raw, calibrated, table, per_class=3)
    turned = select_examples(
        raw[::-1], calibrated, table.sample(frac=1, random_state=1), per_class=3
    )
    pd.testing.assert_frame_equal(chosen, turned)


def test_one_lesion_does_not_fill_the_row():
    table = explain_examples.catalogue(8)
    table["diagnosis"] = "MEL"
    table["group"] = ["a"] * 6 + ["b", "c"]
    raw = pd.DataFrame(0.0, index=range(8), columns=["image", *isic.CLASSES])
    raw["image"] = table["image"]
    raw["MEL"] = np.linspace(0.99, 0.5, 8)
    raw["NV"] = 1 - raw["MEL"]
    confident = select_examples(raw, raw, table, per_class=8)
    confident = confident[confident["choice"] == CONFIDENT]
    assert confident["image"].tolist() == [f"ISIC_{i:07d}" for i in (0, 6, 7, 1)]
    # The confident ones show lesions a and b; of the random ones, c comes before a second of a.
    for seed in range(20):
        chosen = select_examples(raw, raw, table, per_class=3, seed=seed)
        assert chosen["image"].tolist() == [f"ISIC_{i:07d}" for i in (0, 6, 7)]
        assert chosen["rank"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("per_class", "confident", "random"), [(1, 1, 0), (2, 1, 1), (3, 2, 1), (4, 2, 2), (9, 5, 4)]
)
def test_half_of_the_examples_are_drawn_at_random(per_class, confident, random):
    raw, calibrated, table = _tables(800)
    chosen = select_examples(raw, calibrated, table, per_class=per_class)
    for _, part in chosen.groupby(["diagnosis", "correct"]):
        counts = part["choice"].value_counts()
        assert counts.to_dict() == {CONFIDENT: confident} | ({RANDOM: random} if random else {})
        ranks = part.loc[part["choice"] == CONFIDENT, "rank"]
        assert ranks.tolist() == list(range(1, confident + 1))
    assert chosen["image"].is_unique
    assert chosen["file"].is_unique


def test_random_examples_are_drawn_from_all_and_follow_the_seed():
    raw, calibrated, table = _tables(800)
    seeds = (0, 0, *range(40))
    draws = [select_examples(raw, calibrated, table, per_class=2, seed=seed) for seed in seeds]
    pd.testing.assert_frame_equal(draws[0], draws[1])
    random = pd.concat([one[(one["choice"] == RANDOM) & one["correct"]] for one in draws[2:]])
    right = raw[list(isic.CLASSES)].idxmax(axis=1) == table["diagnosis"]
    largest = table[right].groupby("diagnosis").size()
    shares = random["rank"] / random["diagnosis"].map(largest)
    # Even over the ranks: mean 1/2, deviation 0.29 / sqrt(320) = 0.016.
    assert shares.mean() == pytest.approx(0.5, abs=0.06)
    assert shares.min() < 0.1
    assert shares.max() > 0.9


def test_unknown_diagnoses_are_left_out_and_names_are_safe():
    raw, calibrated, table = _tables(16)
    table.loc[0, "diagnosis"] = isic.UNKNOWN
    odd = ["ö ../<b>", "anna/1", "anna_1", "/1", "é" * 200, "a" * 300]
    for row, name in enumerate(odd, 1):
        for each in (table, raw, calibrated):
            each.loc[row, "image"] = name
    chosen = select_examples(raw, calibrated, table, per_class=9)
    assert "ISIC_0000000" not in set(chosen["image"])
    assert set(odd) <= set(chosen["image"])
    assert chosen["file"].str.fullmatch(r"[A-Z]+_(right|wrong)_\d+_[A-Za-z0-9._-]+\.png").all()
    assert chosen["file"].str.len().max() < 200
    assert chosen["file"].is_unique


def test_no_prediction_gives_an_empty_table():
    raw, calibrated, table = _tables(8)
    chosen = select_examples(raw[:0], calibrated, table, per_class=2)
    assert tuple(chosen.columns) == COLUMNS
    assert chosen.empty


@pytest.mark.parametrize(("lost", "where"), [("catalogue", "catalogue"), ("calibrated", "calibr")])
def test_an_image_missing_elsewhere_is_named(lost, where):
    raw, calibrated, table = _tables(8)
    if lost == "catalogue":
        table = table[1:]
    else:
        calibrated = calibrated[1:]
    with pytest.raises(InputError, match=rf"ISIC_0000000.*{where}"):
        select_examples(raw, calibrated, table, per_class=2)
